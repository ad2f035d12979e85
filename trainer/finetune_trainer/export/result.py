"""The stage `report`: gathers the result of the job from the files of earlier stages."""

from finetune_trainer.contract import Result
from finetune_trainer.evaluate.metrics import Evaluation, as_decimal, status_metrics
from finetune_trainer.run import handoff
from finetune_trainer.run.context import Run
from finetune_trainer.run.files import read_json


def report(run: Run) -> None:
    """Write result.json. The supervisor compares its accuracy with minAccuracy."""
    directory = run.paths.job
    packed = read_json(directory / handoff.PACKED, handoff.Packed)
    built = read_json(directory / handoff.BUILT, handoff.Built)
    fitted = read_json(directory / handoff.FITTED, handoff.Fitted)
    evaluation = read_json(directory / handoff.EVALUATION, Evaluation)
    exported = read_json(directory / handoff.EXPORTED, handoff.Exported)
    result = Result(
        accuracy=as_decimal(evaluation.accuracy),
        recipe=fitted.recipe,
        metrics=status_metrics(evaluation),
        dataset=packed.status,
        model=built.status,
        checkpoint=fitted.checkpoint,
        output=exported.status,
    )
    run.hand_on(handoff.RESULT, result)
