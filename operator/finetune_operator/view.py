"""What decide is given and what it returns."""

import dataclasses
from typing import ClassVar

from finetune_operator.api import Failure, FineTuneJob, Status
from finetune_operator.objects import Event, Job, Pod
from finetune_operator.report import Progress


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt's Job and the pods it has had; Kueue may give a Job several over time."""

    number: int
    job: Job
    pods: tuple[Pod, ...] = ()

    @property
    def pod(self) -> Pod | None:
        """The newest pod."""
        return max(self.pods, key=lambda pod: str(pod.metadata.creation_timestamp), default=None)

    @property
    def finished(self) -> bool:
        """Whether the Job controller is done with it: then all its pods have ended."""
        return bool(self.job.condition("Complete") or self.job.condition("Failed"))

    @property
    def holds_pods(self) -> bool:
        """Whether a pod of it may still run."""
        return any(not pod.ended for pod in self.pods)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observed:
    """A FineTuneJob and everything known of its children, at one moment."""

    job: FineTuneJob
    attempts: tuple[Attempt, ...] = ()
    """Live children, by number."""
    strays: tuple[Pod, ...] = ()
    """Pods that may still run though their Job is gone (deleted in the background, orphaned)."""
    progress: Progress | None = None
    """Last answer of the live attempt's newest pod."""
    events: tuple[Event, ...] = ()
    """Warnings about a child that is stuck."""


@dataclasses.dataclass(frozen=True)
class CreateAttempt:
    """Create the Job of this attempt."""

    number: int


@dataclasses.dataclass(frozen=True)
class DeleteAttempt:
    """Delete this Job and its pods, with grace."""

    name: str
    uid: str


@dataclasses.dataclass(frozen=True)
class DeleteSelf:
    """Delete the FineTuneJob: its time to live is over."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Refusal:
    """Why what an attempt needs could not be created."""

    RETRY_SECONDS: ClassVar[float] = 15.0
    WAIT_FOR_NAME_SECONDS: ClassVar[float] = 2.0

    failure: Failure
    retry_after_seconds: float | None = RETRY_SECONDS
    """None: never."""


Action = CreateAttempt | DeleteAttempt | DeleteSelf


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do now, what to say of it, and when to look again."""

    status: Status
    actions: tuple[Action, ...] = ()
    requeue_after_seconds: float | None = None

    @property
    def starts_another(self) -> bool:
        """Whether an attempt is created that is not the job's first."""
        return any(isinstance(each, CreateAttempt) and each.number > 1 for each in self.actions)
