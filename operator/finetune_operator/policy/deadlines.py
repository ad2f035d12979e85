"""Deadlines. They run on timestamps in the objects, so a restarted operator continues them."""

import dataclasses
import datetime

from finetune_operator.api.contract import Progress
from finetune_operator.api.kubernetes import Pod, Time
from finetune_operator.api.types import Spec, Status
from finetune_operator.policy.plan import Attempt


@dataclasses.dataclass(frozen=True)
class Clock:
    """A moment at which something is due, or never."""

    due: Time | None

    def expired(self, now: Time) -> bool:
        """Return True if the moment has come."""
        return self.due is not None and now >= self.due

    def remaining(self, now: Time) -> float | None:
        """Return the seconds that remain, None if it is never due."""
        return max((self.due - now).total_seconds(), 0) if self.due else None


def active(spec: Spec, status: Status) -> Clock:
    """Return the clock of activeDeadlineSeconds.

    It starts with the first attempt, stops while a queue suspends the Job, and is reset when the
    user resumes the job.
    """
    limit = spec.active_deadline_seconds
    left = None if limit is None else limit - status.active_seconds
    return _clock(status.active_since, left)


def startup(spec: Spec, attempt: Attempt, status: Status) -> Clock:
    """Return the clock of startupDeadlineSeconds: from the Job's start until its pods run.

    It does not run while a queue suspends the Job, or gates hold back its pods: it starts over when
    the job becomes active again.
    """
    start = attempt.job.unsuspended_at
    if start is None or not awaits_start(attempt):
        return Clock(None)
    return _clock(max(start, status.active_since or start), spec.startup_deadline_seconds)


FINISH_SECONDS = 5
"""Time from the recorded end of an attempt in which its Job finishes, and other containers end."""


def finish(attempt: Attempt, status: Status) -> Clock:
    """Return the clock from the recorded end of an attempt until its Job must have finished, if it
    does not finish by itself.
    """
    if attempt.finished or attempt.finishes or attempt.finishes_soon:
        return Clock(None)
    record = attempt.record_in(status)
    return _clock(record.end_time if record else None, FINISH_SECONDS)


def creation(spec: Spec, status: Status) -> Clock:
    """Return the clock of startupDeadlineSeconds of a refused attempt, until its Job exists."""
    return _clock(status.refused_since, spec.startup_deadline_seconds)


def stall(spec: Spec, progress: Progress | None) -> Clock:
    """Return the clock of stallDeadlineSeconds: from the last work that the trainer reports."""
    return _clock(progress.last_work if progress else None, spec.stall_deadline_seconds)


def has_stalled(spec: Spec, progress: Progress) -> bool:
    """Return True if a report that was read after the deadline shows no work since.

    A trainer that does not answer has not stalled for that reason alone.
    """
    return bool(progress.read_at and stall(spec, progress).expired(progress.read_at))


def time_to_live(spec: Spec, status: Status) -> Clock:
    """Return the clock of ttlSecondsAfterFinished."""
    return _clock(status.completion_time, spec.ttl_seconds_after_finished)


def first(now: Time, *clocks: Clock) -> float | None:
    """Return the seconds until the first clock is due, None if none ever is."""
    return earliest(*(clock.remaining(now) for clock in clocks))


def earliest(*waits: float | None) -> float | None:
    """Return the shortest wait, None if there is none."""
    return min((wait for wait in waits if wait is not None), default=None)


def awaits_start(attempt: Attempt) -> bool:
    """Return True if the Job is unsuspended and its pods may start, but do not run yet."""
    job = attempt.job
    held_or_deleted = job.spec.suspend or attempt.gated_pod or job.metadata.deletion_timestamp
    return not (held_or_deleted or attempt.started or attempt.finished)


def node_lost(pod: Pod, seconds: float) -> Clock:
    """Return the clock after which the node of a pod that is being deleted counts as lost.

    The grace period is part of deletionTimestamp.
    """
    deleted = None if pod.ended else pod.metadata.deletion_timestamp
    return Clock(deleted + datetime.timedelta(seconds=seconds) if deleted else None)


def _clock(start: Time | None, seconds: int | None) -> Clock:
    if start is None or seconds is None:
        return Clock(None)
    return Clock(start + datetime.timedelta(seconds=seconds))
