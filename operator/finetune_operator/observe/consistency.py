"""Reads from the API server before a decision that a stale cache would make wrong.

A watch may deliver nothing for 90 seconds before it is restarted.
"""

import datetime
from collections.abc import Iterable

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Job, Pod
from finetune_operator.api.types import FineTuneJob, Preparation
from finetune_operator.kube import urls
from finetune_operator.kube.client import Client, NotFound
from finetune_operator.observe.cache import Cache
from finetune_operator.policy import deadlines


async def is_cache_stale(
    client: Client,
    cache: Cache,
    job: FineTuneJob,
    *,
    now: datetime.datetime,
    node_lost_seconds: float,
) -> bool:
    """Return True if the cache and the API server differ where the next decision is final.

    Such decisions are: the attempt's Job was deleted; the attempt ended; its node is lost; it did
    not start in time; a suspended job has no attempt; a resumed job keeps its attempt.
    """
    status, namespace = job.status, job.metadata.namespace
    current = status.current_attempt
    name = current.job_name if current else _next_name(job)  # decide will adopt it
    attempts = cache.attempts_of(job.metadata.uid)
    live = next((attempt for attempt in attempts if attempt.name == name), None)
    if live is None and current:
        return bool(await _read(client, job, name))
    if live is None:
        return job.spec.suspend and await _has_unseen(client, job, {a.name for a in attempts})
    resumed = status.suspending and not job.spec.suspend
    if resumed and not live.job.metadata.deletion_timestamp:
        found = await _read(client, job, name)
        return found is None or found.metadata.deletion_timestamp is not None
    lost = any(deadlines.node_lost(pod, node_lost_seconds).expired(now) for pod in live.pods)
    if live.finished or lost or deadlines.startup(job.spec, live, status).expired(now):
        selector = f"batch.kubernetes.io/controller-uid={live.job.metadata.uid}"
        return _versions(await _list(client, namespace, selector)) != _versions(live.pods)
    return False


async def has_running_pods(client: Client, job: FineTuneJob) -> bool:
    """Return True if a pod of any attempt may run."""
    selector = f"{c.LABEL_JOB_UID}={job.metadata.uid}"
    return any(not pod.ended for pod in await _list(client, job.metadata.namespace, selector))


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


async def _list(client: Client, namespace: str, selector: str) -> list[Pod]:
    query = {"labelSelector": selector}
    return (await client.list(urls.pods(namespace), Pod, query=query)).items


def _versions(pods: Iterable[Pod]) -> dict[str, str]:
    return {pod.metadata.uid: pod.metadata.resource_version for pod in pods}
