"""The last stage: gathers what the stages found into the result of the job."""

from finetune_trainer.contract import Result
from finetune_trainer.run import handoff
from finetune_trainer.run.context import Run
from finetune_trainer.run.files import read_json


def report(run: Run) -> None:
    """Write result.json. Whether its accuracy suffices is decided by whoever reads it."""
    directory = run.paths.job
    packed = read_json(directory / handoff.PACKED, handoff.Packed)
    built = read_json(directory / handoff.BUILT, handoff.Built)
    fitted = read_json(directory / handoff.FITTED, handoff.Fitted)
    evaluated = read_json(directory / handoff.EVALUATED, handoff.Evaluated)
    exported = read_json(directory / handoff.EXPORTED, handoff.Exported)
    result = Result(
        accuracy=evaluated.accuracy,
        recipe=fitted.recipe,
        metrics=evaluated.metrics,
        dataset=packed.status,
        model=built.status,
        checkpoint=fitted.checkpoint,
        output=exported.status,
    )
    run.hand_on(handoff.RESULT, result)
