"""The ending of an attempt: exit code and termination message, no longer than the kubelet keeps."""

import dataclasses
from decimal import Decimal

import msgspec

from finetune_trainer.contract import (
    CheckpointStatus,
    Error,
    ExitCode,
    Job,
    JobRef,
    Result,
    Termination,
    TrainerError,
)

LIMIT = 4096
_BUDGETS = ((20, 64, 2000), (12, 64, 1000), (8, 32, 700), (5, 16, 500), (3, 8, 300), (0, 0, 100))
"""Log lines, metrics and characters of text to keep: the first row that fits is taken."""
_LOG_LINE_LENGTH = 200
_WITH_LOG = (ExitCode.InternalError, ExitCode.Stalled)
"""Exit codes whose message does not tell what the stage was doing: the log does."""


@dataclasses.dataclass(frozen=True)
class Ending:
    """The exit code and the termination message of an attempt."""

    code: int
    termination: Termination


def reference(job: Job) -> JobRef:
    """Return the ids that go with everything the job reports."""
    return JobRef(uid=job.uid, attempt=job.attempt, pod_uid=job.pod_uid)


def conclude(job: Job, result: Result) -> Ending:
    """Return the ending of a job with a result, which may still be below the minimum accuracy."""
    minimum = job.training.min_accuracy
    if minimum is None or Decimal(result.accuracy) >= Decimal(minimum):
        return Ending(ExitCode.Complete, Termination(job=reference(job), result=result))
    error = Error(
        reason=ExitCode.AccuracyBelowMinimum.name,
        message=f"The accuracy {result.accuracy} is below training.minAccuracy {minimum}.",
        hint="Add photos, train for more epochs, or lower training.minAccuracy.",
    )
    return Ending(
        ExitCode.AccuracyBelowMinimum,
        Termination(job=reference(job), result=result, error=error),
    )


def fail(job: JobRef, error: TrainerError, *, log_tail: tuple[str, ...] = ()) -> Ending:
    """Return the ending of an attempt without a result."""
    return Ending(
        error.code,
        Termination(
            job=job,
            error=Error(
                reason=error.code.name,
                message=error.message,
                hint=error.hint,
                log_tail=log_tail if error.code in _WITH_LOG else (),
            ),
        ),
    )


def with_checkpoint(ending: Ending, checkpoint: CheckpointStatus | None) -> Ending:
    """Return the ending with the checkpoint that the next attempt resumes from."""
    termination = msgspec.structs.replace(ending.termination, checkpoint=checkpoint)
    return dataclasses.replace(ending, termination=termination)


def encode(termination: Termination) -> bytes:
    """Return the termination message, shortened until it fits; ids, reason and accuracy stay."""
    for lines, metrics, characters in _BUDGETS:
        data = msgspec.json.encode(
            _shorten(termination, lines=lines, metrics=metrics, characters=characters)
        )
        if len(data) <= LIMIT:
            return data
    return msgspec.json.encode(_minimal(termination))


def _shorten(termination: Termination, *, lines: int, metrics: int, characters: int) -> Termination:
    error, result = termination.error, termination.result
    if error:
        tail = error.log_tail[len(error.log_tail) - min(lines, len(error.log_tail)) :]
        error = msgspec.structs.replace(
            error,
            message=error.message[:characters],
            hint=error.hint[:characters],
            log_tail=tuple(line[:_LOG_LINE_LENGTH] for line in tail),
        )
    if result:
        result = msgspec.structs.replace(result, metrics=result.metrics[:metrics])
    return msgspec.structs.replace(termination, error=error, result=result)


def _minimal(termination: Termination) -> Termination:
    error, result = termination.error, termination.result
    return msgspec.structs.replace(
        termination,
        error=error and Error(reason=error.reason, message=""),
        result=result and Result(accuracy=result.accuracy, recipe=result.recipe),
    )
