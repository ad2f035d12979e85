"""The operator's logic: from the observed state of one FineTuneJob to a plan.

Pure and level-triggered: the same observation gives the same plan, whatever happened before. No
I/O, no clock, no memory; every time comes from the objects or from `now`.
"""

import dataclasses
import datetime
from collections.abc import Iterable, Sequence

import msgspec

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Pod, Time
from finetune_operator.api.types import Failure, FineTuneJob
from finetune_operator.policy import backoff, deadlines, diagnosis, outcome
from finetune_operator.policy.plan import (
    Action,
    Attempt,
    Blocked,
    CreateAttempt,
    DeleteAttempt,
    DeleteSelf,
    ForceDeletePod,
    Observed,
    Plan,
    RelabelAttempt,
)
from finetune_operator.policy.status import StatusUpdate
from finetune_operator.settings import Settings

RETRY_SOON = datetime.timedelta(seconds=5)


def decide(seen: Observed, now: Time, settings: Settings) -> Plan:
    """Return the new status of a job, the actions on its children, and when to reconcile again.

    In this order: a finished job is only cleaned up; an ended attempt is recorded, and may finish
    the job; the active deadline may end it; a suspended job is stopped; else the live attempt is
    described, or the next one is created. In every case the pods on lost nodes are deleted.
    """
    lost = lost_pods(seen.pods, now, settings.node_lost_seconds)
    uids = frozenset(pod.uid for pod in lost.actions)
    plan = _decide(dataclasses.replace(seen, lost_pods=uids), now, settings)
    return dataclasses.replace(
        plan,
        # After the Jobs: a Job that is not being deleted would create a new pod.
        actions=(*plan.actions, *lost.actions),
        requeue_after_seconds=deadlines.earliest(
            plan.requeue_after_seconds, lost.requeue_after_seconds
        ),
    )


def block(job: FineTuneJob, planned: Plan, blocked: Blocked, now: Time) -> Plan:
    """Return the plan after its attempt could not be created: the job waits, or fails."""
    update, spec = StatusUpdate(msgspec.structs.replace(job, status=planned.status), now), job.spec
    update.undo_begin(blocked.failure, since=job.status.refused_since)
    startup = deadlines.creation(spec, update.status)
    active = deadlines.active(spec, update.status)
    if blocked.retry_after_seconds is None:
        update.fail(blocked.failure.reason, blocked.failure)
    elif active.expired(now):
        _exceed_deadline(update, spec.active_deadline_seconds, blocked.failure)
    elif startup.expired(now):
        message = (
            f"No Job was created within startupDeadlineSeconds ({spec.startup_deadline_seconds} s)."
        )
        update.fail(c.STARTUP_DEADLINE_EXCEEDED, _prefixed(message, blocked.failure))
    else:
        wait = deadlines.earliest(
            blocked.retry_after_seconds, deadlines.first(now, active, startup)
        )
        return dataclasses.replace(planned, status=update.finish(), requeue_after_seconds=wait)
    wait = deadlines.time_to_live(spec, update.status).remaining(now)
    return dataclasses.replace(planned, status=update.finish(), requeue_after_seconds=wait)


@dataclasses.dataclass(frozen=True)
class LostPods:
    """The pods to delete because their nodes are lost, and when to check again."""

    actions: tuple[ForceDeletePod, ...]
    requeue_after_seconds: float | None


def lost_pods(pods: Sequence[Pod], now: Time, seconds: float) -> LostPods:
    """Return the pods whose deletion is overdue by `seconds`: only their nodes could confirm it."""
    clocks = [deadlines.node_lost(pod, seconds) for pod in pods]
    return LostPods(
        tuple(
            ForceDeletePod(pod.metadata.name, pod.metadata.uid)
            for pod, clock in zip(pods, clocks, strict=True)
            if clock.expired(now)
        ),
        deadlines.first(now, *(_retry_soon(clock, now) for clock in clocks)),
    )


def _retry_soon(clock: deadlines.Clock, now: Time) -> deadlines.Clock:
    """Return the clock, or one a few seconds away if it is due but nothing could be done yet."""
    return deadlines.Clock(now + RETRY_SOON) if clock.expired(now) else clock


def _decide(seen: Observed, now: Time, settings: Settings) -> Plan:
    update, spec = StatusUpdate(seen.job, now), seen.job.spec
    if update.status.finished:
        return _clean_up(seen, update, now)
    update.observe(
        image=spec.trainer.image or settings.image(gpus=spec.trainer.gpus_per_node),
        prepare_image=spec.trainer.image or settings.image(gpus=0),
    )
    live = _live_attempt(seen, update)
    if live:
        update.activate(live)
        update.take_checkpoint(outcome.termination_of(live.pod))
    update.take_progress(seen.progress)
    if ended := _outcome(seen, live, update):
        _conclude(ended, update, spec.backoff_limit)
        live = None
    if not update.status.finished and deadlines.active(spec, update.status).expired(now):
        refused = seen.job.status.failure if update.status.refused_since else None
        _exceed_deadline(update, spec.active_deadline_seconds, refused)
    if update.status.finished:
        return _clean_up(seen, update, now)
    if spec.suspend:
        return _suspend(seen, update)
    if not (live and live.job.metadata.deletion_timestamp):
        update.resume()
    if live:
        return _follow(seen, live, update, now)
    return _start(seen, update, now, settings)


def _live_attempt(seen: Observed, update: StatusUpdate) -> Attempt | None:
    """Return the attempt whose end the status does not have yet, though it may have ended.

    After a crash between a create and the status write the status does not name that attempt: the
    oldest such attempt is adopted.
    """
    unrecorded = (a for a in seen.attempts if not _is_recorded(a, update))
    if not update.status.current_attempt and (oldest := next(unrecorded, None)):
        update.adopt(oldest)
    current = update.status.current_attempt
    return next((a for a in seen.attempts if current and a.name == current.job_name), None)


def _is_recorded(attempt: Attempt, update: StatusUpdate) -> bool:
    return attempt.number <= update.counts(prepare=attempt.prepare).attempts


def _outcome(seen: Observed, live: Attempt | None, update: StatusUpdate) -> outcome.Outcome | None:
    if update.status.current_attempt is None:
        return None
    by_user = seen.job.spec.suspend or update.status.suspending
    if live is None:
        return outcome.job_deleted(update.status, suspended=by_user)
    ended = (
        outcome.outcome_of(live, update.status)
        or _node_lost(seen, live, update)
        or _stalled(seen, live)
    )
    if ended and ended.reason == c.INTERRUPTED and live.job.metadata.deletion_timestamp:
        return outcome.job_deleted(update.status, suspended=by_user)
    return ended


def _node_lost(seen: Observed, live: Attempt, update: StatusUpdate) -> outcome.Outcome | None:
    """Return the outcome of an attempt whose running pods are all on lost nodes."""
    running = [pod for pod in live.pods if not pod.ended]
    if live.job.metadata.deletion_timestamp or not running:
        return None
    if any(pod.metadata.uid not in seen.lost_pods for pod in running):
        return None
    return outcome.node_lost(live, running[0], update.status)


def _stalled(seen: Observed, live: Attempt) -> outcome.Outcome | None:
    """Return the outcome of an attempt that makes no progress; _start deletes its Job."""
    spec, progress = seen.job.spec, seen.progress
    ending = spec.suspend or live.job.spec.suspend or live.job.metadata.deletion_timestamp
    if ending or not live.pod or not progress:
        return None
    if not deadlines.has_stalled(spec, progress):
        return None
    return outcome.stalled(live.pod, progress, spec.stall_deadline_seconds)


def _conclude(ended: outcome.Outcome, update: StatusUpdate, backoff_limit: int) -> None:
    """Record the attempt's end; it may finish the job."""
    assert update.status.current_attempt is not None
    counts = update.counts(prepare=update.status.current_attempt.prepare)
    update.record(ended)
    if ended.reason == c.PREPARED:
        update.complete_preparation(ended.dataset)
    elif ended.result and ended.reason == c.COMPLETE:
        update.complete(ended.result)
    elif not ended.retried:
        update.fail(ended.reason, ended.failure)
    elif counts.failures > backoff_limit:
        text = f"{counts.failures} attempts failed (backoffLimit {backoff_limit})."
        update.fail(c.BACKOFF_LIMIT_EXCEEDED, ended.failure, f"{text} The last one:")


def _exceed_deadline(
    update: StatusUpdate, seconds: int | None, refused: Failure | None = None
) -> None:
    message = f"The job was active for longer than activeDeadlineSeconds ({seconds} s)."
    hint = "Raise activeDeadlineSeconds and apply the job under another name."
    failure = Failure(reason=c.DEADLINE_EXCEEDED, message=message, hint=hint)
    update.fail(c.DEADLINE_EXCEEDED, _prefixed(message, refused) if refused else failure)


def _clean_up(seen: Observed, update: StatusUpdate, now: Time) -> Plan:
    """Delete the Jobs that still run; then wait for the time to live, and delete the job itself."""
    running = _still_running(seen, update)
    # Older Jobs are deleted when an attempt starts; a crash may have prevented it.
    before = [attempt for attempt in seen.attempts[:-1] if attempt not in running]
    actions = [*_deletions(running), *_superseded(before)]
    clock = deadlines.time_to_live(seen.job.spec, update.status)
    if not clock.expired(now):
        return Plan(update.finish(), tuple(actions), clock.remaining(now))
    if tool := seen.job.kept_by:  # which would create the job again, and it would train again
        children = _deletions(seen.attempts)
        note = f"The time to live has passed. {tool} manages the job, so only its Jobs are deleted."
        return Plan(update.finish(), tuple(children), note=note if children else "")
    return Plan(update.finish(), (*actions, DeleteSelf()))


def _suspend(seen: Observed, update: StatusUpdate) -> Plan:
    """Delete the live attempt with its grace period, in which it saves a checkpoint."""
    live = [attempt for attempt in seen.attempts if not attempt.finished]
    update.suspend(done=not live and not _pods_left(seen))
    return Plan(update.finish(), tuple(_deletions(live)))


def _follow(seen: Observed, live: Attempt, update: StatusUpdate, now: Time) -> Plan:
    """Describe the live attempt; fail the job if it does not start in time."""
    spec = seen.job.spec
    started = update.has_started(live)
    clock = deadlines.Clock(None) if started else deadlines.startup(spec, live, update.status)
    failure = _diagnosis(seen, live, started=started)
    if clock.expired(now):
        update.fail(
            c.STARTUP_DEADLINE_EXCEEDED, _not_started(failure, spec.startup_deadline_seconds)
        )
        return _clean_up(seen, update, now)
    update.describe(
        live,
        failure=failure,
        progress=seen.progress,
        unreachable=seen.unreachable,
        queued=_hold(seen, live),
    )
    stall = _retry_soon(deadlines.stall(spec, seen.progress), now)  # due: wait for a fresh report
    wait = deadlines.first(now, clock, deadlines.active(spec, update.status), stall)
    before = seen.attempts[: seen.attempts.index(live)]
    actions = (*_superseded(before), *_relabel(seen.job, live))
    return Plan(update.finish(), actions, wait)


def _diagnosis(seen: Observed, live: Attempt, *, started: bool) -> Failure | None:
    if live.job.spec.suspend:
        return diagnosis.blocked(seen.workload)
    if live.job.runs_elsewhere:
        return diagnosis.elsewhere(live.job)
    return None if started or live.gated_pod else diagnosis.diagnose(live, seen.events)


def _hold(seen: Observed, live: Attempt) -> str:
    if live.job.spec.suspend:
        return diagnosis.queued(seen.workload, seen.events)
    return diagnosis.gates(live.gated_pod) if live.gated_pod else ""


def _relabel(job: FineTuneJob, live: Attempt) -> list[Action]:
    """Pass labels for the queue on to a Job that waits; those of one that runs stay.

    A removed label stays, too: without its queue nobody would unsuspend the Job.
    """
    metadata = live.job.metadata
    wanted = {key: job.metadata.labels[key] for key in c.KUEUE_LABELS if key in job.metadata.labels}
    changed = {key: value for key, value in wanted.items() if metadata.labels.get(key) != value}
    if not (changed and live.job.spec.suspend) or metadata.deletion_timestamp:
        return []
    return [RelabelAttempt(metadata.name, metadata.uid, changed)]


def _not_started(diagnosed: Failure | None, seconds: int) -> Failure:
    message = f"No pod ran within startupDeadlineSeconds ({seconds} s)."
    if diagnosed is None:
        return Failure(reason=c.STARTUP_DEADLINE_EXCEEDED, message=message)
    return _prefixed(message, diagnosed)


def _prefixed(text: str, cause: Failure) -> Failure:
    return msgspec.structs.replace(cause, message=f"{text} {cause.message}")


def _start(seen: Observed, update: StatusUpdate, now: Time, settings: Settings) -> Plan:
    """Create the next attempt, once no pod of the last one runs and the backoff is over."""
    update.wait()
    deadline = deadlines.active(seen.job.spec, update.status)
    abandoned = [a for a in _still_running(seen, update) if _is_recorded(a, update)]
    unrecorded = any(not _is_recorded(a, update) for a in seen.attempts)
    if abandoned or unrecorded or _pods_left(seen):
        return Plan(update.finish(), tuple(_deletions(abandoned)), deadline.remaining(now))
    prepare = update.status.prepares
    counts = update.counts(prepare=prepare)
    start = backoff.next_start(update.status, counts.failures, settings.backoff_seconds)
    if start and now < start:
        wait = deadlines.first(now, deadlines.Clock(start), deadline)
        return Plan(update.finish(), (), wait)
    number = counts.attempts + 1
    update.begin(number, prepare=prepare)
    create = CreateAttempt(number, prepare, avoid=outcome.avoided_nodes(update.status))
    return Plan(update.finish(), (*_superseded(seen.attempts), create))


def _still_running(seen: Observed, update: StatusUpdate) -> list[Attempt]:
    """Return the attempts whose pods may still run.

    An attempt in the history has ended, even if the cache is stale; but the pods of one that
    stalled, or whose node was lost, may still run.
    """
    ended = {
        (record.prepare, record.number)
        for record in update.status.history
        if record.reason != c.STALLED
    }
    return [
        a
        for a in seen.attempts
        if not a.finished and ((a.prepare, a.number) not in ended or _has_lost(seen, a))
    ]


def _has_lost(seen: Observed, attempt: Attempt) -> bool:
    return any(pod.metadata.uid in seen.lost_pods for pod in attempt.pods)


def _superseded(ended: Sequence[Attempt]) -> list[Action]:
    """Return the deletions of all ended attempts but the last, which stays for `kubectl logs`."""
    return _deletions(ended[:-1])


def _pods_left(seen: Observed) -> bool:
    return bool(seen.orphaned_pods) or any(attempt.holds_pods for attempt in seen.attempts)


def _deletions(attempts: Iterable[Attempt]) -> list[Action]:
    return [
        DeleteAttempt(attempt.job.metadata.name, attempt.job.metadata.uid)
        for attempt in attempts
        if not attempt.job.metadata.deletion_timestamp
    ]
