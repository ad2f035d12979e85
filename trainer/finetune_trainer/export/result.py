"""The stage `report`: gathers the result of the job from the files of earlier stages."""

from finetune_trainer.contract import Metric, Result
from finetune_trainer.evaluate.metrics import Evaluation, as_decimal, status_metrics
from finetune_trainer.run import handoff, history
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
        metrics=_metrics(run, evaluation),
        dataset=packed.status,
        model=built.status,
        checkpoint=fitted.checkpoint,
        output=exported.status,
    )
    run.hand_on(handoff.RESULT, result)


def _metrics(run: Run, evaluation: Evaluation) -> tuple[Metric, ...]:
    """Return the figures of the model, and of the last epoch what they do not say: nobody may have
    polled this pod since.
    """
    last = history.read(run.paths.job / history.HISTORY)[-1:]
    of_epoch = {name: text for row in last for name, text in row.metrics().items()}
    of_epoch.pop("images-per-second", None)  # the fit is over
    of_model = {metric.name: metric.value for metric in status_metrics(evaluation)}
    return tuple(Metric(name=n, value=v) for n, v in {**of_epoch, **of_model}.items())
