"""The last stage: gathers what the stages found into the result of the job."""

from pathlib import Path

from finetune_trainer import handoff, owner
from finetune_trainer.contract import CheckpointStatus, Result, Struct
from finetune_trainer.files import read_json, write_json
from finetune_trainer.stage import Run


class _Saved(Struct):
    """What is of interest here in a checkpoint's manifest."""

    status: CheckpointStatus


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
        metrics=(*evaluated.metrics, *fitted.metrics),
        dataset=packed.status,
        model=built.status,
        checkpoint=_newest_checkpoint(directory / "checkpoints"),
        output=exported.status,
    )
    owner.check(directory, run.job.pod_uid)
    write_json(directory / handoff.RESULT, result)


def _newest_checkpoint(directory: Path) -> CheckpointStatus | None:
    manifests = sorted(directory.glob("step-*/manifest.json"))
    return read_json(manifests[-1], _Saved).status if manifests else None
