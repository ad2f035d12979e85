"""What decide is given and what it returns."""

import dataclasses
import datetime
from typing import ClassVar

from finetune_operator.api import constants as c
from finetune_operator.api.contract import Progress
from finetune_operator.api.kubernetes import Event, Job, Pod
from finetune_operator.api.types import Failure, FineTuneJob, Status


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attempt:
    """One attempt's Job and the pods it has had; Kueue may give a Job several over time."""

    number: int
    job: Job
    pods: tuple[Pod, ...] = ()

    @property
    def name(self) -> str:
        """Name of its Job."""
        return self.job.metadata.name

    @property
    def prepare(self) -> bool:
        """Whether it only prepares the data set."""
        return self.job.metadata.labels.get(c.LABEL_ROLE) == c.ROLE_PREPARE

    @property
    def pod(self) -> Pod | None:
        """The newest pod; of a gang, the newest leader: it alone reports."""
        leaders = (pod for pod in self.pods if pod.is_leader)
        return max(leaders, key=lambda pod: str(pod.metadata.creation_timestamp), default=None)

    @property
    def unstarted_pod(self) -> Pod | None:
        """A pod that does not run yet, else the one that reports."""
        return next((pod for pod in self.pods if pod.status.phase == "Pending"), self.pod)

    @property
    def started(self) -> bool:
        """Whether all its pods have run since the Job was last let run."""
        start = self.job.unsuspended_at
        if start is None:
            return False
        return sum(_ran_since(start, pod) for pod in self.pods) >= self.job.spec.parallelism

    @property
    def finished(self) -> bool:
        """Whether the Job controller is done with it: then all its pods have ended."""
        return bool(self.job.condition("Complete") or self.job.condition("Failed"))

    @property
    def holds_pods(self) -> bool:
        """Whether a pod of it may still run."""
        return any(not pod.ended for pod in self.pods)


def _ran_since(start: datetime.datetime, pod: Pod) -> bool:
    """Whether a pod has run for a Job that was let run then. A Job that a queue lets run gets its
    pods first and the time afterwards; pods of before are deleted.
    """
    if pod.status.phase not in ("Running", "Succeeded", "Failed"):
        return False
    if (pod.metadata.creation_timestamp or start) >= start:
        return True
    ended = pod.container(c.CONTAINER).terminated
    lasted = not pod.ended or bool(ended and ended.finished_at and ended.finished_at >= start)
    return lasted and not pod.metadata.deletion_timestamp


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observed:
    """A FineTuneJob and everything known of its children, at one moment."""

    job: FineTuneJob
    attempts: tuple[Attempt, ...] = ()
    """Live children, by number."""
    orphaned_pods: tuple[Pod, ...] = ()
    """Pods that may still run though their Job is gone (deleted in the background, orphaned)."""
    progress: Progress | None = None
    """Last answer of the live attempt's newest pod."""
    unreachable: bool = False
    """Whether that pod was asked many times in a row, and did not answer."""
    events: tuple[Event, ...] = ()
    """Of a child that is stuck."""
    lost_pods: frozenset[str] = frozenset()
    """Uids of the pods that should have ended long ago: their nodes do not answer."""

    @property
    def pods(self) -> tuple[Pod, ...]:
        """All pods of the job."""
        return (*self.orphaned_pods, *(pod for attempt in self.attempts for pod in attempt.pods))


@dataclasses.dataclass(frozen=True)
class CreateAttempt:
    """Create the Job of this attempt."""

    number: int
    prepare: bool = False
    avoid: tuple[str, ...] = ()
    """Nodes that its pods are kept off."""


@dataclasses.dataclass(frozen=True)
class DeleteAttempt:
    """Delete this Job and its pods, with grace."""

    name: str
    uid: str


@dataclasses.dataclass(frozen=True)
class ForceDeletePod:
    """Take this pod off the API server without its kubelet's word that it has ended."""

    name: str
    uid: str


@dataclasses.dataclass(frozen=True)
class DeleteSelf:
    """Delete the FineTuneJob: its time to live is over."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blocked:
    """Why what an attempt needs could not be created."""

    RETRY_SECONDS: ClassVar[float] = 15.0
    WAIT_FOR_NAME_SECONDS: ClassVar[float] = 2.0

    failure: Failure
    retry_after_seconds: float | None = RETRY_SECONDS
    """None: never."""


Action = CreateAttempt | DeleteAttempt | ForceDeletePod | DeleteSelf


@dataclasses.dataclass(frozen=True)
class Plan:
    """What to do now, what to say of it, and when to look again."""

    status: Status
    actions: tuple[Action, ...] = ()
    requeue_after_seconds: float | None = None
    note: str = ""
    """What an Event is to say that the status does not."""

    @property
    def starts_another(self) -> bool:
        """Whether an attempt is created that is not the job's first."""
        creates = any(isinstance(each, CreateAttempt) for each in self.actions)
        return creates and bool(self.status.history)
