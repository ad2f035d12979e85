"""One pass over one FineTuneJob: read it, decide, create, write the status once, delete.

Every step may be the last one before a crash: the next pass starts from the state it finds.
"""

import dataclasses
import datetime
import logging
from collections.abc import Callable, Iterable

import msgspec

from finetune_operator.api.kubernetes import Event, Job, Unread
from finetune_operator.api.types import FineTuneJob, Status
from finetune_operator.children.ensure import check_owner, ensure
from finetune_operator.children.gang import ensure_gang
from finetune_operator.children.job import build_job
from finetune_operator.children.manifest import Manifest
from finetune_operator.children.workspace import ensure_claim
from finetune_operator.decide import decide
from finetune_operator.events import events_of, note_of, unreadable_event
from finetune_operator.kube import urls
from finetune_operator.kube.client import ApiError, Client, Invalid, NotFound
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
)
from finetune_operator.policy.status import REPORTED, StatusUpdate
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
            self.cache.forget(key)
            return None
        except msgspec.ValidationError as error:
            await self._report_unreadable(key, str(error))
            return None
        self.cache.unreadable.pop(key, None)
        self._remember(key, job)
        now = self.clock()
        lost = self.settings.node_lost_seconds
        if await consistency.is_cache_stale(
            self.client, self.cache, job, now=now, node_lost_seconds=lost
        ):
            return WAIT_FOR_WATCH_SECONDS
        seen, requeue = await self._observe(job, now)
        if job.metadata.deletion_timestamp and not (seen.attempts or seen.pods or seen.ended_pods):
            return None
        plan = decide(seen, now, self.settings)
        if plan.starts_another and await consistency.has_running_pods(self.client, job):
            return WAIT_FOR_WATCH_SECONDS
        # Create, then write the status, then delete. After a crash in between, the next pass adopts
        # a Job that the status does not name, and repeats the deletions that the status implies. In
        # another order the end of an attempt could be lost.
        blocked = await self._create_planned(job, plan)
        status = _undo_begin(job, plan.status, blocked, now) if blocked else plan.status
        changed = await self._write(key, job, status, now)
        await self._delete_planned(job, plan.actions)
        if plan.note:
            await self._emit(note_of(job, plan, now))
        retry = blocked.retry_after_seconds if blocked else None
        at_once = 0.0 if changed else None
        return deadlines.earliest(plan.requeue_after_seconds, requeue, retry, at_once)

    async def _report_unreadable(self, key: Key, problem: str) -> None:
        """Report each version of a FineTuneJob that cannot be decoded once, and leave it alone."""
        path = f"{urls.fine_tune_jobs(key[0])}/{key[1]}"
        metadata = (await self.client.get(path, Unread)).metadata
        version = metadata.resource_version
        if self.cache.unreadable.get(key) != version:
            log.error("%s/%s cannot be read: %s", *key, problem)
            await self._emit(unreadable_event(metadata, problem, self.clock()))
        self.cache.unreadable[key] = self.cache.reconciled[key] = version

    def _remember(self, key: Key, job: FineTuneJob) -> None:
        """Remember what was read or written, so that the watch's event of it queues no pass."""
        self.cache.jobs[key] = summarize(job.metadata.uid, job.status)
        self.cache.reconciled[key] = job.metadata.resource_version

    async def _observe(
        self, job: FineTuneJob, now: datetime.datetime
    ) -> tuple[Observed, float | None]:
        """Return the children, the Events of one that does not start, and when to read again."""
        attempts = self.cache.attempts_of(job.metadata.uid)
        newest = attempts[-1] if attempts else None
        pod_uid = newest.pod.metadata.uid if newest and newest.pod else ""
        events: tuple[Event, ...] = ()
        requeue = None
        if newest and not job.status.finished and (poll := _event_poll_seconds(newest)):
            age = (now - (newest.job.metadata.creation_timestamp or now)).total_seconds()
            requeue = max(self.settings.stuck_after_seconds - age, poll)
            if age >= self.settings.stuck_after_seconds:
                events = await self._events_of(newest)
        seen = Observed(
            job=job,
            attempts=attempts,
            orphaned_pods=self.cache.orphaned_pods_of(job.metadata.uid, job.metadata.namespace),
            ended_pods=self.cache.ended_pods_of(job.metadata.uid, job.metadata.namespace),
            progress=self.cache.progress.get(pod_uid),
            unreachable=pod_uid in self.cache.unreachable,
            events=events,
        )
        return seen, requeue

    async def _events_of(self, attempt: Attempt) -> tuple[Event, ...]:
        child = (not attempt.job.spec.suspend and attempt.unstarted_pod) or attempt.job
        query = {"fieldSelector": f"involvedObject.uid={child.metadata.uid}"}
        path = urls.core_events(child.metadata.namespace)
        # The pages are in the order of names: the newest Event may be on any of them.
        return tuple(
            [e async for page in self.client.pages(path, Event, query=query) for e in page.items]
        )

    async def _create_planned(self, job: FineTuneJob, plan: Plan) -> Blocked | None:
        for action in plan.actions:
            if isinstance(action, CreateAttempt):
                return (
                    await ensure_claim(self.client, job)
                    or (None if action.prepare else await ensure_gang(self.client, job))
                    or await self._create(job, plan.status, action)
                )
        return None

    async def _delete_planned(self, job: FineTuneJob, actions: Iterable[Action]) -> None:
        namespace = job.metadata.namespace
        for action in actions:
            match action:
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
    ) -> bool:
        """Patch the status if it changed, on the version that was read; then emit events, count.

        Return True if someone else has changed the job since.
        """
        patch = merge_patch(msgspec.to_builtins(job.status), msgspec.to_builtins(status))
        if not patch:
            return False
        self.cache.writing[key] = ""
        try:
            self._remember(key, await self._patch_or_reduce(job, patch))
        finally:  # after an error the pass is repeated anyway
            reported = self.cache.writing.pop(key)
        self.metrics.count(key[0], job.status, status)
        if status.phase != job.status.phase:
            log.info("%s/%s: %s", *key, status.phase)
        for event in events_of(job, status, now):
            await self._emit(event)
        return reported not in ("", self.cache.reconciled.get(key))

    async def _patch_or_reduce(self, job: FineTuneJob, patch: Manifest) -> FineTuneJob:
        """Patch the status; one that is refused as a whole is written in parts."""
        try:
            return await self._patch(job, patch)
        except Invalid as error:
            return await self._write_in_parts(job, patch, error)

    async def _patch(self, job: FineTuneJob, patch: Manifest) -> FineTuneJob:
        """Patch the status on the version of the job."""
        path = f"{urls.fine_tune_jobs(job.metadata.namespace)}/{job.metadata.name}/status"
        version = {"resourceVersion": job.metadata.resource_version}
        return await self.client.patch(path, {"metadata": version, "status": patch}, FineTuneJob)

    async def _write_in_parts(
        self, job: FineTuneJob, patch: Manifest, refusal: Invalid
    ) -> FineTuneJob:
        """Write a status that the API server refuses as a whole: what the job came to, and then
        each of the trainer's figures that it does not refuse.
        """
        log.warning("%s/%s: %s", job.metadata.namespace, job.metadata.name, refusal)
        essential = {key: value for key, value in patch.items() if key not in REPORTED}
        job = await self._patch(job, essential)
        for key in patch.keys() - essential.keys():
            try:
                job = await self._patch(job, {key: patch[key]})
            except Invalid as error:
                log.warning("status.%s is left out: %s", key, error)
        return job

    async def _emit(self, event: Manifest) -> None:
        namespace, name = event["metadata"]["namespace"], event["regarding"]["name"]
        try:
            await self.client.create(urls.events(namespace), event, Event)
        except ApiError as error:  # an event that fails is no reason to repeat the pass
            log.warning("event of %s/%s: %s", namespace, name, error)


def _event_poll_seconds(attempt: Attempt) -> float | None:
    """Return the seconds between two reads of the attempt's Events, None for no reads."""
    if attempt.job.spec.suspend and not attempt.finished:
        return QUEUED_POLL_SECONDS
    return STUCK_POLL_SECONDS if deadlines.awaits_start(attempt) else None


def _undo_begin(
    job: FineTuneJob, planned: Status, blocked: Blocked, now: datetime.datetime
) -> Status:
    """Return the planned status without the attempt, which could not be created."""
    update = StatusUpdate(msgspec.structs.replace(job, status=planned), now)
    update.undo_begin(blocked.failure)
    if blocked.retry_after_seconds is None:
        update.fail(blocked.failure.reason, blocked.failure)
    return update.finish()
