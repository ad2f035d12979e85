"""The types of decide: Observed goes in, Plan comes out."""

import dataclasses
import datetime
from typing import ClassVar

from finetune_operator.api import constants as c
from finetune_operator.api.contract import Progress
from finetune_operator.api.kubernetes import Event, Job, Pod, Workload
from finetune_operator.api.types import AttemptRecord, CurrentAttempt, Failure, FineTuneJob, Status


@dataclasses.dataclass(frozen=True, kw_only=True)
class Attempt:
    """The Job of one attempt and its pods; Kueue may give it new pods several times."""

    number: int
    job: Job
    pods: tuple[Pod, ...] = ()

    @property
    def name(self) -> str:
        """Name of the Job."""
        return self.job.metadata.name

    @property
    def prepare(self) -> bool:
        """True if the attempt only prepares the data set."""
        return self.job.metadata.labels.get(c.LABEL_ROLE) == c.ROLE_PREPARE

    @property
    def pod(self) -> Pod | None:
        """The newest pod that reports: in a gang only the leader does."""
        leaders = (pod for pod in self.pods if pod.is_leader)
        return max(leaders, key=lambda pod: str(pod.metadata.creation_timestamp), default=None)

    @property
    def unstarted_pod(self) -> Pod | None:
        """The first pod whose trainer does not run yet, else the pod that reports."""
        return next((pod for pod in self.pods if not pod.started), self.pod)

    @property
    def started(self) -> bool:
        """True if all its trainers have run since the Job was last unsuspended."""
        start = self.job.unsuspended_at
        if start is None:
            return False
        if self.job.runs_elsewhere:
            return self.job.status.ready >= self.job.spec.parallelism
        return sum(_ran_since(start, pod) for pod in self.pods) >= self.job.spec.parallelism

    @property
    def finished(self) -> bool:
        """True if the Job is complete or failed: then all its pods have ended."""
        return self.job.ended

    @property
    def gated_pod(self) -> Pod | None:
        """The first pod that a scheduling gate holds back."""
        return next((pod for pod in self.pods if pod.gated and not pod.ended), None)

    @property
    def finishes(self) -> bool:
        """True if its Job finishes by itself: its controller is ending the pods that are left.

        These conditions come before Complete and Failed: https://kep.k8s.io/3998
        """
        return bool(self.job.condition("SuccessCriteriaMet") or self.job.condition("FailureTarget"))

    @property
    def undisturbed(self) -> bool:
        """True if its Job has all its pods, and nobody suspends or deletes it or them."""
        job = self.job
        disturbed = job.spec.suspend or job.metadata.deletion_timestamp
        return (
            not disturbed
            and len(self.pods) >= job.spec.parallelism
            and not any(pod.metadata.deletion_timestamp for pod in self.pods)
        )

    @property
    def finishes_soon(self) -> bool:
        """True if all its pods have ended, and its Job's condition must follow."""
        ended = bool(self.pods) and all(pod.ended for pod in self.pods)
        return ended and self.undisturbed and not self.finished

    @property
    def trains(self) -> bool:
        """True if the trainer of one of its pods may still run."""
        return any(not pod.trainer_ended for pod in self.pods)

    @property
    def kept_by(self) -> tuple[str, ...]:
        """Names of the other containers that keep its pods, though all its trainers have ended."""
        if self.trains:
            return ()
        return tuple(sorted({name for pod in self.pods for name in pod.kept_by}))

    def record_in(self, status: Status) -> AttemptRecord | None:
        """Return its recorded end."""
        records = (record for record in status.history if record.prepare == self.prepare)
        return next((record for record in records if record.number == self.number), None)


def _ran_since(start: datetime.datetime, pod: Pod) -> bool:
    """Return True if the trainer has run since the Job was unsuspended at `start`.

    The Job controller may create the pods a moment before it sets `startTime`, so an older pod
    counts too, unless it ended before or is being deleted: then it is of the time before.
    """
    if not pod.started:
        return False
    if (pod.metadata.creation_timestamp or start) >= start:
        return True
    ended = pod.trainer.terminated
    lasted = not pod.trainer_ended or bool(
        ended and ended.finished_at and ended.finished_at >= start
    )
    return lasted and not pod.metadata.deletion_timestamp


@dataclasses.dataclass(frozen=True, kw_only=True)
class Observed:
    """A FineTuneJob and its children, as observed at one moment."""

    job: FineTuneJob
    attempts: tuple[Attempt, ...] = ()
    """The attempts whose Jobs exist, by number."""
    orphaned_pods: tuple[Pod, ...] = ()
    """Pods that may still run though their Job was deleted (--cascade=background or orphan)."""
    ended_pods: tuple[Pod, ...] = ()
    """Pods whose trainer has ended, and that were deleted, or whose Job was."""
    leftovers: tuple[Job | Pod, ...] = ()
    """Jobs and pods of an earlier FineTuneJob of this name that have no owner any more."""
    progress: Progress | None = None
    """The last report of the newest attempt's pod."""
    unreachable: bool = False
    """True if that pod did not answer many requests in a row."""
    workload: Workload | None = None
    """Kueue's Workload of the newest attempt, while it is suspended."""
    events: tuple[Event, ...] = ()
    """Events of a child that does not start."""
    lost_pods: frozenset[str] = frozenset()
    """Uids of the pods on lost nodes: their deletion is long overdue."""

    @property
    def pods(self) -> tuple[Pod, ...]:
        """All pods of the job."""
        return (*self.orphaned_pods, *(pod for attempt in self.attempts for pod in attempt.pods))

    def remains_of(self, attempt: CurrentAttempt) -> tuple[Pod, ...]:
        """Return the pods of the attempt that have outlived its Job, or are deleted themselves.

        They are known by their labels: the reference to a deleted Job may have been removed.
        """
        wanted = str(attempt.number), c.ROLE_PREPARE if attempt.prepare else c.ROLE_TRAIN
        return tuple(
            pod
            for pod in (*self.orphaned_pods, *self.ended_pods)
            if tuple(map(pod.metadata.labels.get, (c.LABEL_ATTEMPT, c.LABEL_ROLE))) == wanted
        )


@dataclasses.dataclass(frozen=True)
class CreateAttempt:
    """Create the Job of this attempt."""

    number: int
    prepare: bool = False
    avoid: tuple[str, ...] = ()
    """Nodes that its pods must avoid."""
    unpreferred: tuple[str, ...] = ()
    """Nodes that its pods avoid if others have room."""


@dataclasses.dataclass(frozen=True)
class DeleteAttempt:
    """Delete this Job and its pods, with their grace period."""

    name: str
    uid: str


@dataclasses.dataclass(frozen=True)
class RelabelAttempt:
    """Set these labels of this Job, which its queue reads."""

    name: str
    uid: str
    labels: dict[str, str]


@dataclasses.dataclass(frozen=True)
class DeletePod:
    """Delete this pod, with its grace period."""

    name: str
    uid: str


@dataclasses.dataclass(frozen=True)
class ForceDeletePod:
    """Delete this pod from the API server without waiting for its kubelet."""

    name: str
    uid: str


@dataclasses.dataclass(frozen=True)
class DeleteSelf:
    """Delete the FineTuneJob: its time to live is over."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Blocked:
    """The reason why an object that an attempt needs could not be created."""

    RETRY_SECONDS: ClassVar[float] = 15.0
    RETRY_SOON_SECONDS: ClassVar[float] = 5.0
    WAIT_FOR_NAME_SECONDS: ClassVar[float] = 2.0

    failure: Failure
    retry_after_seconds: float | None = RETRY_SECONDS
    """None: retrying does not help."""


def is_count_exceeded(failure: Failure) -> bool:
    """Return True if a ResourceQuota counts too many Jobs or pods: it counts ended ones, too.

    https://kubernetes.io/docs/concepts/policy/resource-quotas/#object-count-quota
    """
    counted = "count/jobs.batch" in failure.message or "count/pods" in failure.message
    return counted and "exceeded quota" in failure.message


Action = CreateAttempt | DeleteAttempt | RelabelAttempt | DeletePod | ForceDeletePod | DeleteSelf


@dataclasses.dataclass(frozen=True)
class Plan:
    """The new status, the actions, and when to reconcile again."""

    status: Status
    actions: tuple[Action, ...] = ()
    requeue_after_seconds: float | None = None
    note: str = ""
    """Text of an Event about something that the status does not show."""
    note_reason: str = c.TIME_TO_LIVE_ENDED
    spare: tuple[Action, ...] = ()
    """Deletions of ended Jobs, if a quota leaves no room for the one to create."""

    @property
    def starts_another(self) -> bool:
        """True if the plan creates an attempt that is not the job's first."""
        creates = any(isinstance(each, CreateAttempt) for each in self.actions)
        return creates and bool(self.status.history)
