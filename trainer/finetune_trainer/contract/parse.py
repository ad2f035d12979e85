"""Parses FINETUNE_JOB strictly; errors name the field as it is written in a manifest."""

import re

import msgspec

from finetune_trainer.contract import ExitCode, Job, JobRef, TrainerError

_ERROR = re.compile(r"^(?P<problem>.*?)(?: - at `\$(?P<path>[^`]*)`)?$", re.DOTALL)
_NUMBER_FOR_DECIMAL = re.compile(r"Expected `str[^`]*`, got `(float|int)`")


def parse_job(text: str | bytes) -> Job:
    """Return the job of FINETUNE_JOB; raise InvalidSpec with the name of the invalid field."""
    if not text:
        raise TrainerError(
            ExitCode.InvalidSpec,
            "FINETUNE_JOB is not set.",
            "The operator sets it; without a cluster use `finetune-trainer run`.",
        )
    try:
        return msgspec.json.decode(text, type=Job)
    except msgspec.ValidationError as error:
        raise invalid(error) from error
    except msgspec.DecodeError as error:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"FINETUNE_JOB is not JSON: {error}",
            "The operator sets it; without a cluster use `finetune-trainer run`.",
        ) from error


def parse_reference(text: str | bytes) -> JobRef:
    """Return the ids of a job, even of an invalid one; empty ids if it has none."""
    try:
        return msgspec.json.decode(text, type=JobRef)
    except msgspec.DecodeError:
        return JobRef(uid="", attempt=0, pod_uid="")


def invalid(error: msgspec.ValidationError) -> TrainerError:
    """Return the error with the field's path in the manifest."""
    match = _ERROR.match(str(error))
    assert match
    problem, path = match["problem"], match["path"] or ""
    hint = "See `kubectl explain finetunejob.spec`, or `finetune-trainer schema`."
    if _NUMBER_FOR_DECIMAL.search(problem):
        hint = 'Decimals are strings: put the number in quotes, as in "0.77".'
    return TrainerError(ExitCode.InvalidSpec, f"spec{path}: {problem}", hint)
