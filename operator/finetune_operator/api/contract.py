"""What the trainer reports: the operator's side of the trainer contract.

Read leniently: a trainer image may be older or newer than the operator, and a user's own image
may send anything. What does not parse is no report.
"""

import datetime
from typing import Annotated

import msgspec

from finetune_operator.api.kubernetes import Object, Time
from finetune_operator.api.types import (
    CheckpointStatus,
    DatasetStatus,
    Metric,
    ModelStatus,
    OutputStatus,
    TrainerStatus,
)

# RecursionError: a pod that sends a thousand brackets must not end the operator.
NOT_A_REPORT = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


class JobRef(Object):
    """Whose report it is; one with other ids is discarded (pod addresses are reused)."""

    uid: str
    attempt: int
    pod_uid: str


class Progress(Object):
    """Body of GET /progress."""

    job: JobRef
    stage: str
    step: int = 0
    trainer_status: TrainerStatus | None = None
    dataset: DatasetStatus | None = None
    model: ModelStatus | None = None
    checkpoint: CheckpointStatus | None = None
    log_tail: tuple[str, ...] = ()
    read_at: Time | None = None
    """When the operator read it; written over whatever the pod says."""
    sent_at: Time | None = None
    """When that was by the pod's clock; likewise."""

    @property
    def last_work(self) -> Time | None:
        """When `step` last moved by our clock: how long before it said so is told by its own, as
        the clocks of nodes differ.
        """
        told = self.trainer_status.last_updated_time if self.trainer_status else None
        try:
            moved = datetime.datetime.fromisoformat(told or "")
        except ValueError:
            return None
        sent = self.sent_at or self.read_at
        if not (moved.tzinfo and sent and sent.tzinfo and self.read_at):
            return None
        try:
            return self.read_at - max(sent - moved, datetime.timedelta(0))
        except OverflowError:  # it says that this was before our era
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
    """The data set, of a pod that only prepares."""
    error: Error | None = None
    checkpoint: CheckpointStatus | None = None
    """Without a result: what the next attempt resumes from."""


def parse_progress(body: bytes) -> Progress | None:
    """Parse a /progress body; None if it is not one."""
    try:
        return msgspec.json.decode(body, type=Progress)
    except NOT_A_REPORT:
        return None


def parse_termination(message: str) -> Termination | None:
    """Parse a termination message; None if it is not one (then it is the end of a log)."""
    try:
        return msgspec.json.decode(message, type=Termination)
    except NOT_A_REPORT:
        return None
