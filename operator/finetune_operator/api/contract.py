"""The operator's side of the trainer contract: the reports that a trainer sends.

They are read leniently, as a trainer image may be older or newer than the operator, or not ours at
all. What does not parse is not a report. Its figures are bounded here, at the boundary: a status
with one that the API server refuses could not be written at all.
"""

import datetime
import functools
import math
from collections.abc import Iterable
from typing import Annotated

import msgspec

from finetune_operator.api import lenient
from finetune_operator.api.kubernetes import NEVER, Object, Time
from finetune_operator.api.types import (
    CheckpointStatus,
    DatasetStatus,
    Metric,
    ModelStatus,
    OutputStatus,
    TrainerStatus,
)

MAX_METRIC_TEXT = 128


class JobRef(Object):
    """The sender of a report; one with other uids is discarded, as pod addresses are reused."""

    uid: str
    attempt: int
    pod_uid: str


class Progress(Object):
    """The body of GET /progress."""

    job: JobRef
    stage: str
    step: int = 0
    trainer_status: TrainerStatus | None = None
    dataset: DatasetStatus | None = None
    model: ModelStatus | None = None
    checkpoint: CheckpointStatus | None = None
    log_tail: tuple[str, ...] = ()
    read_at: Time | None = None
    """The time when the operator read it; the operator sets it."""
    sent_at: Time | None = None
    """The same time by the pod's clock; the operator sets it, too."""

    @property
    def last_work(self) -> Time | None:
        """The time of the last progress, by the operator's clock.

        The pod's clock may differ: only the time between the progress and the report is taken from
        it. A zero time, as programs write one that is not set, is none.
        """
        updated = self.trainer_status.last_updated_time if self.trainer_status else None
        try:
            moved = datetime.datetime.fromisoformat(updated or "")
        except ValueError:
            return None
        sent = self.sent_at or self.read_at
        if not (moved.tzinfo and moved > NEVER and sent and sent.tzinfo and self.read_at):
            return None
        try:
            return self.read_at - max(sent - moved, datetime.timedelta(0))
        except OverflowError:  # a date before year 1
            return None


class Result(Object):
    accuracy: Annotated[str, msgspec.Meta(pattern=r"^(0(\.[0-9]{1,16})?|1(\.0{1,16})?)\Z")]
    metrics: tuple[Metric, ...] = ()
    dataset: DatasetStatus | None = None
    model: ModelStatus | None = None
    checkpoint: CheckpointStatus | None = None
    output: OutputStatus | None = None


class Error(Object):
    reason: str
    message: str = ""
    hint: str = ""
    log_tail: tuple[str, ...] = ()


class Termination(Object):
    """The termination message."""

    job: JobRef
    result: Result | None = None
    prepared: DatasetStatus | None = None
    """The data set, from a pod that only prepares."""
    error: Error | None = None
    checkpoint: CheckpointStatus | None = None
    """The checkpoint that the next attempt resumes from, if there is no result."""


def parse_progress(body: bytes) -> Progress | None:
    """Parse a /progress body; return None if it is not one."""
    report = lenient.decode(body, Progress)
    if report and (status := report.trainer_status):
        percentage = status.progress_percentage
        bounded = msgspec.structs.replace(
            status,
            progress_percentage=None if percentage is None else min(percentage, 100),
            metrics=_numbers(status.metrics),
        )
        return msgspec.structs.replace(report, trainer_status=bounded)
    return report


@functools.lru_cache(256)
def parse_termination(message: str) -> Termination | None:
    """Parse a termination message; return None if it is not one, but the end of a log.

    The last ones are kept: each pass of a job asks for that of its ended pod several times.
    """
    report = lenient.decode(message, Termination)
    if report and (result := report.result):
        bounded = msgspec.structs.replace(result, metrics=_numbers(result.metrics))
        return msgspec.structs.replace(report, result=bounded)
    return report


def _numbers(metrics: Iterable[Metric]) -> tuple[Metric, ...]:
    """Return the metrics that are finite numbers, each name once."""
    by_name = {metric.name[:MAX_METRIC_TEXT]: metric.value for metric in metrics}
    return tuple(
        Metric(name=name, value=value) for name, value in by_name.items() if _is_number(value)
    )


def _is_number(text: str) -> bool:
    try:
        return len(text) <= MAX_METRIC_TEXT and math.isfinite(float(text))
    except ValueError:
        return False
