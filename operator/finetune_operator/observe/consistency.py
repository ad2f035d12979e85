"""Reads from the API server before a decision that a stale cache would make wrong.

A watch may deliver nothing for 90 seconds before it is restarted, and never reports a child whose
labels someone else has removed. The cache is given a moment to catch up; then the list decides.
"""

import datetime
import logging
from collections.abc import Collection, Iterable

import msgspec

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Job, Pod
from finetune_operator.api.types import CurrentAttempt, FineTuneJob, Preparation, Status
from finetune_operator.kube import urls
from finetune_operator.kube.client import Client, NotFound
from finetune_operator.observe.cache import Cache, Children, Key, attempts_in_order
from finetune_operator.policy import deadlines, outcome
from finetune_operator.policy.plan import Attempt

CATCH_UP_SECONDS = 10
"""Seconds that a stale cache has to catch up."""
log = logging.getLogger(__name__)


class StaleKeys:
    """The FineTuneJobs whose children are stale in the cache, and since when."""

    def __init__(self) -> None:
        self._since: dict[Key, datetime.datetime] = {}
        self._reported: set[Key] = set()

    def forget(self, key: Key) -> None:
        """Record that the cache is current, or that nobody needs it any more."""
        self._since.pop(key, None)
        self._reported.discard(key)

    def may_catch_up(self, key: Key, now: datetime.datetime) -> bool:
        """Record that the cache is stale; return False once it has been for too long."""
        since = self._since.setdefault(key, now)
        if (now - since).total_seconds() < CATCH_UP_SECONDS:
            return True
        if key not in self._reported:
            text = "%s/%s: the watches have missed its Jobs or pods for %d s: listing them instead"
            log.warning(text, *key, CATCH_UP_SECONDS)
        self._reported.add(key)
        return False


async def is_cache_stale(
    client: Client,
    cache: Cache,
    job: FineTuneJob,
    *,
    now: datetime.datetime,
    node_lost_seconds: float,
) -> bool:
    """Return True if the cache and the API server differ where the next decision is final.

    Such decisions are: the attempt's Job was deleted; the attempt ended without a result; its node
    is lost; it did not start in time; it is stopped, though it may just have left a result; the Job
    of an ended attempt does not finish; a suspended job has no attempt; a resumed job keeps its
    attempt. A Job with an active pod that the cache does not have is stale, too: the pod may have
    started.
    """
    status, namespace = job.status, job.metadata.namespace
    current = status.current_attempt
    name = current.job_name if current else _next_name(job)  # decide will adopt it
    attempts = cache.attempts_of(job.metadata.uid)
    live = next((attempt for attempt in attempts if attempt.name == name), None)
    if await _differ(client, namespace, [a for a in attempts if _seems_to_run_on(a, status, now)]):
        return True
    if live is None and current:
        return bool(await _read(client, job, name)) or await _has_unseen_pods(client, cache, job)
    if live is None:
        return job.spec.suspend and await _has_unseen(client, job, {a.name for a in attempts})
    resumed = status.suspending and not job.spec.suspend
    if resumed and not live.job.metadata.deletion_timestamp:
        found = await _read(client, job, name)
        return found is None or found.metadata.deletion_timestamp is not None
    lost = any(deadlines.node_lost(pod, node_lost_seconds).expired(now) for pod in live.pods)
    unseen = live.job.status.active and not live.pods
    if (
        (live.finished and not outcome.has_result(live.pods))
        or lost
        or unseen
        or _stops(job, live, now)
        or deadlines.startup(job.spec, live, status).expired(now)
    ):
        return await _differ(client, namespace, [live])
    return False


def _seems_to_run_on(attempt: Attempt, status: Status, now: datetime.datetime) -> bool:
    """Return True if the Job of an ended attempt is about to be deleted, as it does not finish."""
    late = deadlines.finish(attempt, status).expired(now)
    return late and not attempt.job.metadata.deletion_timestamp


def _stops(job: FineTuneJob, live: Attempt, now: datetime.datetime) -> bool:
    """Return True if the attempt's Job is about to be deleted."""
    late = deadlines.active(job.spec, job.status).expired(now)
    stops = late or job.spec.suspend or job.metadata.deletion_timestamp
    return bool(stops and not live.job.metadata.deletion_timestamp)


async def read_children(client: Client, cache: Cache, job: FineTuneJob) -> Children:
    """Read the Jobs and pods by their label, and those without it by their name and their Job."""
    namespace, uid = job.metadata.namespace, job.metadata.uid
    query = {"labelSelector": f"{c.LABEL_JOB_UID}={uid}"}
    listed = (await client.list(urls.jobs(namespace), Job, query=query)).items
    jobs = {each.metadata.uid: each for each in listed if each.metadata.controller_uid == uid}
    current = job.status.current_attempt
    if current and (found := await _read(client, job, current.job_name)):
        jobs[found.metadata.uid] = _labelled(found, current)
    labelled = await _list_pods(client, job)
    pods = {
        pod.metadata.uid: pod
        for pod in (*labelled, *await _pods_of(client, namespace, jobs.values()))
    }
    jobless = [pod for pod in labelled if pod.metadata.controller_uid not in jobs]
    return Children(
        attempts=attempts_in_order(jobs.values(), pods.values()),
        orphaned_pods=tuple(pod for pod in jobless if not pod.ended),
        ended_pods=(
            *(pod for pod in jobless if pod.ended),
            *cache.deleted_pods_of(uid, namespace),  # no list has them
        ),
    )


def _labelled(job: Job, current: CurrentAttempt) -> Job:
    """Return the Job with the labels of the current attempt, should it have lost them."""
    role = c.ROLE_PREPARE if current.prepare else c.ROLE_TRAIN
    own = {c.LABEL_ATTEMPT: str(current.number), c.LABEL_ROLE: role}
    metadata = msgspec.structs.replace(job.metadata, labels=job.metadata.labels | own)
    return msgspec.structs.replace(job, metadata=metadata)


async def has_running_pods(client: Client, job: FineTuneJob) -> bool:
    """Return True if the trainer of any attempt may run."""
    return any(not pod.trainer_ended for pod in await _list_pods(client, job))


async def _has_unseen_pods(client: Client, cache: Cache, job: FineTuneJob) -> bool:
    """Return True if the cache lacks the newest state of a pod: it may have left a result."""
    seen = cache.pods_of(job.metadata.uid, job.metadata.namespace)
    return _versions(await _list_pods(client, job)) != _versions(seen)


async def _has_unseen(client: Client, job: FineTuneJob, seen: set[str]) -> bool:
    """Return True if the next attempt exists already: its create succeeded without an answer."""
    names = {_next_name(job)}
    if job.status.start_time is None:  # not recorded yet: the next one may prepare or train
        names = {job.job_name(1), job.job_name(1, prepare=True)}
    return any([await _read(client, job, name) for name in sorted(names - seen)])


def _next_name(job: FineTuneJob) -> str:
    prepare = job.prepares_next
    counts = (job.status.preparation or Preparation()) if prepare else job.status
    return job.job_name(counts.attempts + 1, prepare=prepare)


async def _read(client: Client, job: FineTuneJob, name: str) -> Job | None:
    """Return the Job of this name if the FineTuneJob is its controller."""
    try:
        found = await client.get(f"{urls.jobs(job.metadata.namespace)}/{name}", Job)
    except NotFound:
        return None
    return found if found.metadata.controller_uid == job.metadata.uid else None


async def _list_pods(client: Client, job: FineTuneJob) -> list[Pod]:
    return await _list(client, job.metadata.namespace, f"{c.LABEL_JOB_UID}={job.metadata.uid}")


async def _pods_of(client: Client, namespace: str, jobs: Collection[Job]) -> list[Pod]:
    """Read the pods by the label that the Job controller gives them."""
    uids = ",".join(sorted(job.metadata.uid for job in jobs))
    selector = f"batch.kubernetes.io/controller-uid in ({uids})"
    return await _list(client, namespace, selector) if uids else []


async def _list(client: Client, namespace: str, selector: str) -> list[Pod]:
    query = {"labelSelector": selector}
    return (await client.list(urls.pods(namespace), Pod, query=query)).items


async def _differ(client: Client, namespace: str, attempts: Collection[Attempt]) -> bool:
    """Return True if the cache lacks the newest state of a pod of these attempts."""
    pods = await _pods_of(client, namespace, [attempt.job for attempt in attempts])
    return _versions(pods) != _versions(pod for attempt in attempts for pod in attempt.pods)


def _versions(pods: Iterable[Pod]) -> dict[str, str]:
    return {pod.metadata.uid: pod.metadata.resource_version for pod in pods}
