"""One pass over one FineTuneJob: read it, decide, create, write the status once, delete.

Every step may be the last one before a crash: the next pass starts from the state it finds.
"""

import dataclasses
import datetime
import logging
from collections.abc import Callable, Iterable

import msgspec

from finetune_operator.api.kubernetes import Event, Job
from finetune_operator.api.types import FineTuneJob, Status
from finetune_operator.children.ensure import check_owner, ensure
from finetune_operator.children.gang import ensure_gang
from finetune_operator.children.job import build_job
from finetune_operator.children.manifest import Manifest
from finetune_operator.children.workspace import ensure_claim
from finetune_operator.decide import block, decide, lost_pods
from finetune_operator.events import events_of, note_of, refusal_of
from finetune_operator.kube import urls
from finetune_operator.kube.client import (
    ApiError,
    Client,
    Forbidden,
    Invalid,
    NotFound,
    Unavailable,
)
from finetune_operator.kube.merge_patch import merge_patch
from finetune_operator.metrics import Metrics
from finetune_operator.observe import consistency
from finetune_operator.observe.cache import Cache, Key, summarize
from finetune_operator.policy import deadlines
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
from finetune_operator.settings import Settings

WAIT_FOR_WATCH_SECONDS = 1.0
STUCK_POLL_SECONDS = 5
QUEUED_POLL_SECONDS = 60
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class Reconciler:
    """Reconciles one FineTuneJob at each call."""

    client: Client
    cache: Cache
    metrics: Metrics
    settings: Settings
    clock: Callable[[], datetime.datetime]

    async def __call__(self, key: Key) -> float | None:
        """Reconcile the FineTuneJob; return the seconds until it must be reconciled again."""
        namespace, name = key
        path = f"{urls.fine_tune_jobs(namespace)}/{name}"
        try:
            job = await self.client.get(path, FineTuneJob)
        except NotFound:
            self.cache.jobs.pop(key, None)
            self.cache.refusals.pop(key, None)
            return None
        self.cache.jobs[key] = summarize(job.metadata.uid, job.status)
        if job.metadata.deletion_timestamp:
            return await self._handle_deletion(job)
        now = self.clock()
        lost = self.settings.node_lost_seconds
        if await consistency.is_cache_stale(
            self.client, self.cache, job, now=now, node_lost_seconds=lost
        ):
            return WAIT_FOR_WATCH_SECONDS
        seen, requeue = await self._observe(job, now)
        plan = decide(seen, now, self.settings)
        if plan.starts_another and await consistency.has_running_pods(self.client, job):
            return WAIT_FOR_WATCH_SECONDS
        # Create, then write the status, then delete. After a crash in between, the next pass adopts
        # a Job that the status does not name, and repeats the deletions that the status implies. In
        # another order the end of an attempt could be lost.
        blocked = await self._create_planned(job, plan)
        if blocked:
            log.warning("%s/%s: %s", *key, blocked.failure.message)
            plan = block(job, plan, blocked, now)
        try:
            await self._write(key, job, plan.status, now)
            await self._change_planned(job, plan.actions)
        except (Forbidden, Invalid, Unavailable) as error:
            await self._report_refusal(key, job, error, now)
            raise
        self.cache.refusals.pop(key, None)
        if plan.note:
            await self._emit(job, note_of(job, plan.note, now))
        return deadlines.earliest(plan.requeue_after_seconds, requeue)

    async def _handle_deletion(self, job: FineTuneJob) -> float | None:
        """Delete pods on lost nodes, and leave the other children to the garbage collector.

        With foreground deletion the collector would wait for these pods for ever.
        """
        uid, namespace = job.metadata.uid, job.metadata.namespace
        pods = Observed(
            job=job,
            attempts=self.cache.attempts_of(uid),
            orphaned_pods=self.cache.orphaned_pods_of(uid, namespace),
        ).pods
        lost = lost_pods(pods, self.clock(), self.settings.node_lost_seconds)
        await self._change_planned(job, lost.actions)
        return lost.requeue_after_seconds

    async def _observe(
        self, job: FineTuneJob, now: datetime.datetime
    ) -> tuple[Observed, float | None]:
        """Return the children, the Events of one that does not start, and when to read again."""
        attempts = self.cache.attempts_of(job.metadata.uid)
        newest = attempts[-1] if attempts else None
        pod_uid = newest.pod.metadata.uid if newest and newest.pod else ""
        events: tuple[Event, ...] = ()
        requeue = None
        workload = self.cache.workloads.get(newest.job.metadata.uid) if newest else None
        wants_events = newest and not job.status.finished and workload is None
        if newest and wants_events and (poll := _event_poll_seconds(newest)):
            age = (now - (newest.job.metadata.creation_timestamp or now)).total_seconds()
            requeue = max(self.settings.stuck_after_seconds - age, poll)
            if age >= self.settings.stuck_after_seconds:
                events = await self._events_of(newest)
        seen = Observed(
            job=job,
            attempts=attempts,
            orphaned_pods=self.cache.orphaned_pods_of(job.metadata.uid, job.metadata.namespace),
            progress=self.cache.progress.get(pod_uid),
            unreachable=pod_uid in self.cache.unreachable,
            workload=workload,
            events=events,
        )
        return seen, requeue

    async def _events_of(self, attempt: Attempt) -> tuple[Event, ...]:
        child = (not attempt.job.spec.suspend and attempt.unstarted_pod) or attempt.job
        query = {"fieldSelector": f"involvedObject.uid={child.metadata.uid}", "limit": "50"}
        path = urls.core_events(child.metadata.namespace)
        return tuple((await self.client.list(path, Event, query=query)).items)

    async def _create_planned(self, job: FineTuneJob, plan: Plan) -> Blocked | None:
        for action in plan.actions:
            if isinstance(action, CreateAttempt):
                return (
                    await ensure_claim(self.client, job)
                    or (None if action.prepare else await ensure_gang(self.client, job))
                    or await self._create(job, plan.status, action)
                )
        return None

    async def _change_planned(self, job: FineTuneJob, actions: Iterable[Action]) -> None:
        namespace = job.metadata.namespace
        for action in actions:
            match action:
                case RelabelAttempt(name, uid, labels):
                    body = {"metadata": {"uid": uid, "labels": labels}}
                    await self.client.patch(f"{urls.jobs(namespace)}/{name}", body, Job)
                case DeleteAttempt(name, uid):
                    await self.client.delete(f"{urls.jobs(namespace)}/{name}", uid=uid)
                case ForceDeletePod(name, uid):
                    path = f"{urls.pods(namespace)}/{name}"
                    await self.client.delete(path, uid=uid, grace_seconds=0)
                case DeleteSelf():
                    path = f"{urls.fine_tune_jobs(namespace)}/{job.metadata.name}"
                    await self.client.delete(path, uid=job.metadata.uid)

    async def _create(
        self, job: FineTuneJob, status: Status, action: CreateAttempt
    ) -> Blocked | None:
        """Create the attempt's Job."""
        settings, preparation = self.settings, status.preparation
        image = preparation.image if action.prepare and preparation else status.image
        manifest = build_job(
            job,
            action,
            image=image,
            # An image that was resolved from an earlier default is ours, too.
            own_image=job.spec.trainer.image is None
            or image in (settings.trainer_image, settings.trainer_gpu_image),
            pull=settings.image_pull_policy,
        )
        path = urls.jobs(job.metadata.namespace)
        return await ensure(
            self.client, path, manifest, Job, check=lambda found: self._check(found, job)
        )

    def _check(self, found: Job, job: FineTuneJob) -> Blocked | None:
        blocked = check_owner("Job", found.metadata, job)
        if blocked is None:
            self.cache.observe_attempt(found)
        return blocked

    async def _write(
        self, key: Key, job: FineTuneJob, status: Status, now: datetime.datetime
    ) -> None:
        """Patch the status if it changed, on the version that was read; then emit events, count."""
        patch = merge_patch(msgspec.to_builtins(job.status), msgspec.to_builtins(status))
        if not patch:
            return
        version = {"resourceVersion": job.metadata.resource_version}
        path = f"{urls.fine_tune_jobs(key[0])}/{key[1]}/status"
        await self.client.patch(path, {"metadata": version, "status": patch}, FineTuneJob)
        self.cache.jobs[key] = summarize(job.metadata.uid, status)
        self.metrics.count(key[0], job.status, status)
        if status.phase != job.status.phase:
            log.info("%s/%s: %s", *key, status.phase)
        for event in events_of(job, status, now):
            await self._emit(job, event)

    async def _report_refusal(
        self, key: Key, job: FineTuneJob, error: ApiError, now: datetime.datetime
    ) -> None:
        """Emit one Event about a write that is refused: the status cannot say it.

        Not while the API server has no time, or no connection: it would not take the Event either.
        """
        if error.status not in (400, 403, 422, 500):
            return
        if self.cache.refusals.get(key) != job.metadata.uid:
            self.cache.refusals[key] = job.metadata.uid
            await self._emit(job, refusal_of(job, error, now))

    async def _emit(self, job: FineTuneJob, event: Manifest) -> None:
        namespace, name = job.metadata.namespace, job.metadata.name
        try:
            await self.client.create(urls.events(namespace), event, Event)
        except ApiError as error:  # an event that fails is no reason to repeat the pass
            log.warning("event of %s/%s: %s", namespace, name, error)


def _event_poll_seconds(attempt: Attempt) -> float | None:
    """Return the seconds between two reads of the attempt's Events, None for no reads."""
    if attempt.job.spec.suspend and not attempt.finished:
        return QUEUED_POLL_SECONDS
    return STUCK_POLL_SECONDS if deadlines.awaits_start(attempt) else None
