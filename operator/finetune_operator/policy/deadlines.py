"""Clocks that run on timestamps in the objects, so that a restarted operator continues them."""

import dataclasses
import datetime

from finetune_operator.api.contract import Progress
from finetune_operator.api.kubernetes import Pod, Time
from finetune_operator.api.types import Spec, Status
from finetune_operator.policy.plan import Attempt


@dataclasses.dataclass(frozen=True)
class Clock:
    """A time that is to come, or has come."""

    due: Time | None

    def expired(self, now: Time) -> bool:
        """Whether it has come."""
        return self.due is not None and now >= self.due

    def remaining(self, now: Time) -> float | None:
        """Return the seconds until then, None if it never comes."""
        return max((self.due - now).total_seconds(), 0) if self.due else None


def active(spec: Spec, status: Status) -> Clock:
    """Return the clock of activeDeadlineSeconds: from the first start, without the time in a queue;
    reset by a resume.
    """
    limit = spec.active_deadline_seconds
    left = None if limit is None else limit - status.active_seconds
    return _clock(status.active_since, left)


def startup(spec: Spec, attempt: Attempt) -> Clock:
    """Return the clock of startupDeadlineSeconds: from the Job's own start until a pod runs.

    For a Job that a queue holds the clock does not run.
    """
    if not awaits_start(attempt):
        return Clock(None)
    return _clock(attempt.job.unsuspended_at, spec.startup_deadline_seconds)


def stall(spec: Spec, progress: Progress | None) -> Clock:
    """Return the clock of stallDeadlineSeconds: from the last work that the trainer reported."""
    return _clock(progress.last_work if progress else None, spec.stall_deadline_seconds)


def has_stalled(spec: Spec, progress: Progress) -> bool:
    """Whether the trainer itself, asked after the deadline, had not worked: silence is no proof."""
    return bool(progress.read_at and stall(spec, progress).expired(progress.read_at))


def time_to_live(spec: Spec, status: Status) -> Clock:
    """Return the clock of ttlSecondsAfterFinished."""
    return _clock(status.completion_time, spec.ttl_seconds_after_finished)


def first(now: Time, *clocks: Clock) -> float | None:
    """Return the seconds until the first of them, None if none ever comes."""
    return earliest(*(clock.remaining(now) for clock in clocks))


def earliest(*waits: float | None) -> float | None:
    """Return the shortest wait, None if there is none."""
    return min((wait for wait in waits if wait is not None), default=None)


def awaits_start(attempt: Attempt) -> bool:
    """Whether a pod of it should run soon: it was let run, and neither started nor ended."""
    held = attempt.job.spec.suspend or attempt.finished or attempt.started
    return not (held or attempt.job.metadata.deletion_timestamp)


def node_lost(pod: Pod, seconds: float) -> Clock:
    """Return the clock of a pod that should have ended: deletionTimestamp has its grace in it."""
    deleted = None if pod.ended else pod.metadata.deletion_timestamp
    return Clock(deleted + datetime.timedelta(seconds=seconds) if deleted else None)


def _clock(start: Time | None, seconds: int | None) -> Clock:
    if start is None or seconds is None:
        return Clock(None)
    return Clock(start + datetime.timedelta(seconds=seconds))
