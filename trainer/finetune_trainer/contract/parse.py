"""Parses FINETUNE_JOB strictly, and says what is wrong in the words of a manifest."""

import re

import msgspec

from finetune_trainer.contract import ExitCode, Job, JobRef, TrainerError

_WHERE = re.compile(r"^(?P<what>.*?)(?: - at `\$(?P<path>[^`]*)`)?$", re.DOTALL)
_NUMBER_FOR_DECIMAL = re.compile(r"Expected `str[^`]*`, got `(float|int)`")


def parse_job(text: str | bytes) -> Job:
    """Parse FINETUNE_JOB; raises InvalidSpec naming the field."""
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
        raise TrainerError(ExitCode.InvalidSpec, f"FINETUNE_JOB is not JSON: {error}") from error


def parse_reference(text: str | bytes) -> JobRef:
    """Return the ids even of a job that is not valid otherwise; empty ones if there are none."""
    try:
        return msgspec.json.decode(text, type=JobRef)
    except msgspec.DecodeError:
        return JobRef(uid="", attempt=0, pod_uid="")


def invalid(error: msgspec.ValidationError) -> TrainerError:
    """Say where and what in the manifest's words."""
    match = _WHERE.match(str(error))
    assert match
    what, path = match["what"], match["path"] or ""
    hint = "See `kubectl explain finetunejob.spec`."
    if _NUMBER_FOR_DECIMAL.search(what):
        hint = 'Decimals are strings: put the number in quotes, as in "0.77".'
    return TrainerError(ExitCode.InvalidSpec, f"spec{path}: {what}", hint)
