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
from finetune_operator.decide import block, decide
from finetune_operator.events import events_of, note_of, refusal_of, unreadable_event
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
from finetune_operator.logs import about
from finetune_operator.metrics import Metrics
from finetune_operator.observe import consistency
from finetune_operator.observe.cache import Cache, Children, Key, is_older, key_of
from finetune_operator.policy import deadlines
from finetune_operator.policy.plan import (
    Action,
    Attempt,
    Blocked,
    CreateAttempt,
    DeleteAttempt,
    DeletePod,
    DeleteSelf,
    ForceDeletePod,
    Observed,
    Plan,
    RelabelAttempt,
    is_count_exceeded,
)
from finetune_operator.policy.status import REPORTED
from finetune_operator.settings import Settings

WAIT_FOR_WATCH_SECONDS = 1.0
NO_POD_SECONDS = 3
"""Seconds after which a Job without a pod is stuck: its controller creates one at once, or emits an
Event that says why it cannot."""
STUCK_POLL_SECONDS = 5
QUEUED_POLL_SECONDS = 60
LATELY_SECONDS = 120
log = logging.getLogger(__name__)


@dataclasses.dataclass(frozen=True)
class _Decision:
    """What is to be done about one version of a FineTuneJob."""

    time: datetime.datetime
    job: FineTuneJob
    written: Status
    """Its status in the API server; that of `job` is empty if this one is an earlier object's."""
    plan: Plan
    read_again_seconds: float | None
    """Seconds until what no watch reports has to be read again."""


@dataclasses.dataclass(frozen=True)
class Reconciler:
    """Reconciles one FineTuneJob at each call."""

    client: Client
    cache: Cache
    metrics: Metrics
    settings: Settings
    clock: Callable[[], datetime.datetime]
    watch_is_live: Callable[[], bool] = lambda: False
    stale: consistency.StaleKeys = dataclasses.field(default_factory=consistency.StaleKeys)

    async def __call__(self, key: Key) -> float | None:
        """Reconcile the FineTuneJob; return the seconds until it must be reconciled again.

        It is decided on what the watch has reported, for a status is written on that version: one
        that is stale is refused, and the job is read. It is also read before an action, as no
        version guards that, but for the first attempt of a new job.
        """
        about(*key)
        try:
            job = self.cache.fine_tune_job(key)
            decision = await self._decide(key, job) if job else None
            if job is None or (decision and self._must_read(decision)):
                read = await self._read(key)
                if read is None:
                    return None
                if job is None or read.metadata.resource_version != job.metadata.resource_version:
                    job, decision = read, await self._decide(key, read)
            return await self._execute(key, decision) if decision else WAIT_FOR_WATCH_SECONDS
        except ApiError:
            self.cache.drop(key)
            raise

    def _must_read(self, decision: _Decision) -> bool:
        actions, is_new = decision.plan.actions, decision.written.start_time is None
        only_creates = all(isinstance(action, CreateAttempt) for action in actions)
        return bool(actions) and not (is_new and only_creates and self.watch_is_live())

    async def _read(self, key: Key) -> FineTuneJob | None:
        """Read the FineTuneJob; None if it does not exist or cannot be decoded."""
        namespace, name = key
        self.cache.drop(key)
        try:
            job = await self.client.get(f"{urls.fine_tune_jobs(namespace)}/{name}", FineTuneJob)
        except NotFound:
            self.cache.forget(key)
            self.stale.forget(key)
            return None
        except msgspec.ValidationError as error:
            await self._report_unreadable(key, str(error))
            return None
        self.cache.unreadable.pop(key, None)
        self.cache.keep(job)
        return job

    async def _execute(self, key: Key, decision: _Decision) -> float | None:
        """Carry out the plan; return the seconds until the next pass."""
        _log_about(key, decision.written)
        job, plan, now = decision.job, decision.plan, decision.time
        # Create, then write the status, then delete. After a crash in between, the next pass adopts
        # a Job that the status does not name, and repeats the deletions that the status implies. In
        # another order the end of an attempt could be lost.
        blocked = await self._create_planned(job, plan)
        if blocked:
            log.warning("%s/%s: %s", *key, blocked.failure.message)
            plan = block(job, plan, blocked, now)
        full = blocked is not None and is_count_exceeded(blocked.failure)
        spare = plan.spare if full and not plan.status.finished else ()
        try:
            changed = await self._write(key, decision, plan.status)
            await self._change_planned(job, (*plan.actions, *spare))
        except (Forbidden, Invalid, Unavailable) as error:
            await self._report_refusal(key, job, error, now)
            raise
        self.cache.refusals.pop(key, None)
        if plan.note:
            await self._emit(note_of(job, plan, now))
        retry = 0.0 if changed else None
        if full and _ended_lately(plan.status, now):  # its Job leaves its room in a moment
            retry = Blocked.WAIT_FOR_NAME_SECONDS
        return deadlines.earliest(plan.requeue_after_seconds, decision.read_again_seconds, retry)

    async def _report_unreadable(self, key: Key, problem: str) -> None:
        """Report each version of a FineTuneJob that cannot be decoded once, and leave it alone."""
        path = f"{urls.fine_tune_jobs(key[0])}/{key[1]}"
        metadata = (await self.client.get(path, Unread)).metadata
        version = metadata.resource_version
        if self.cache.unreadable.get(key) != version:
            log.error("%s/%s cannot be read: %s", *key, problem)
            await self._emit(unreadable_event(metadata, problem, self.clock()))
        self.cache.unreadable[key] = self.cache.reconciled[key] = version

    def _without_restored_status(self, job: FineTuneJob) -> FineTuneJob:
        """Return the job without the status of an earlier one that a backup tool has written to it.

        Its counts and its checkpoint are not this job's. That of a finished job is kept, so that a
        restore trains nothing again, unless an attempt was already created.
        """
        kept = job.status.finished and not self.cache.attempts_of(job.metadata.uid)
        if kept or not job.has_restored_status:
            return job
        log.info("%s/%s: its status is that of an earlier object", *key_of(job))
        return msgspec.structs.replace(job, status=Status())

    async def _decide(self, key: Key, job: FineTuneJob) -> _Decision | None:
        """Return what to do, None while a stale cache may catch up.

        One that does not is passed over: the plan is then made from what the API server lists.
        """
        self.cache.reconciled[key] = job.metadata.resource_version
        written, job, now = job.status, self._without_restored_status(job), self.clock()
        stale = await consistency.is_cache_stale(
            self.client,
            self.cache,
            job,
            now=now,
            node_lost_seconds=self.settings.node_lost_seconds,
        )
        if not stale:
            plan, requeue = await self._decide_on(job, self.cache.children_of(job.metadata), now)
            if not (plan.starts_another and await consistency.has_running_pods(self.client, job)):
                self.stale.forget(key)
                return _Decision(now, job, written, plan, requeue)
        if self.stale.may_catch_up(key, now):
            return None
        self.metrics.process.stale_cache.inc()
        listed = await consistency.read_children(self.client, self.cache, job)
        plan, requeue = await self._decide_on(job, listed, now)
        requeue = deadlines.earliest(requeue, STUCK_POLL_SECONDS)  # no watch would report it
        return _Decision(now, job, written, plan, requeue)

    async def _decide_on(
        self, job: FineTuneJob, children: Children, now: datetime.datetime
    ) -> tuple[Plan, float | None]:
        seen, requeue = await self._observe(job, children, now)
        if job.metadata.deletion_timestamp and not (seen.attempts or seen.pods or seen.ended_pods):
            return Plan(job.status), None
        return decide(seen, now, self.settings), requeue

    async def _observe(
        self, job: FineTuneJob, children: Children, now: datetime.datetime
    ) -> tuple[Observed, float | None]:
        """Return what decide needs: the Events of a child that does not start, too."""
        attempts = children.attempts
        newest = attempts[-1] if attempts else None
        pod_uid = newest.pod.metadata.uid if newest and newest.pod else ""
        events: tuple[Event, ...] = ()
        requeue = None
        workload = self.cache.workloads.get(newest.job.metadata.uid) if newest else None
        wants_events = newest and not job.status.finished and workload is None
        if newest and wants_events and (poll := _event_poll_seconds(newest)):
            age = (now - (newest.job.metadata.creation_timestamp or now)).total_seconds()
            stuck_after = self.settings.stuck_after_seconds
            if not newest.pods:
                stuck_after = min(stuck_after, NO_POD_SECONDS)
            requeue = stuck_after - age if age < stuck_after else poll
            if age >= stuck_after:
                events = await self._events_of(newest)
        seen = dataclasses.replace(
            _seen(job, children),
            progress=self.cache.progress.get(pod_uid),
            unreachable=pod_uid in self.cache.unreachable,
            workload=workload,
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

    async def _change_planned(self, job: FineTuneJob, actions: Iterable[Action]) -> None:
        namespace = job.metadata.namespace
        for action in actions:
            match action:
                case RelabelAttempt(name, uid, labels):
                    body = {"metadata": {"uid": uid, "labels": labels}}
                    await self.client.patch(f"{urls.jobs(namespace)}/{name}", body, Job)
                case DeleteAttempt(name, uid):
                    await self.client.delete(f"{urls.jobs(namespace)}/{name}", uid=uid)
                case DeletePod(name, uid):
                    await self.client.delete(f"{urls.pods(namespace)}/{name}", uid=uid)
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
            user=settings.trainer_user,
            memory=settings.trainer_memory_request,
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

    async def _write(self, key: Key, decision: _Decision, status: Status) -> bool:
        """Patch the status if it changed, on the version that was decided on; then emit events,
        count.

        Return True if someone else has changed or deleted the job since.
        """
        job, now = decision.job, decision.time
        patch = merge_patch(msgspec.to_builtins(decision.written), msgspec.to_builtins(status))
        if not patch:
            return False
        self.cache.writing[key] = ""
        try:
            written = await self._patch_or_reduce(job, patch)
        finally:  # after an error the pass is repeated anyway
            reported = self.cache.writing.pop(key)
        version = self.cache.reconciled[key] = written.metadata.resource_version
        self.cache.keep(written)
        changed = bool(reported) and not is_older(reported, version, or_same=True)
        if changed:  # or deleted
            self.cache.drop(key)
        self.metrics.totals.count(job, status, now)
        _log_about(key, status)
        if status.phase != job.status.phase:
            log.info("%s/%s: %s", *key, status.phase)
        for event in events_of(job, status, now):
            await self._emit(event)
        return changed

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
            await self._emit(refusal_of(job, error, now))

    async def _emit(self, event: Manifest) -> None:
        namespace, name = event["metadata"]["namespace"], event["regarding"]["name"]
        try:
            await self.client.create(urls.events(namespace), event, Event)
        except ApiError as error:  # an event that fails is no reason to repeat the pass
            log.warning("event of %s/%s: %s", namespace, name, error)


def _log_about(key: Key, status: Status) -> None:
    """Let the log say what this status is."""
    current = status.current_attempt
    about(*key, attempt=current.number if current else status.attempts, phase=status.phase)


def _seen(job: FineTuneJob, children: Children) -> Observed:
    return Observed(
        job=job,
        attempts=children.attempts,
        orphaned_pods=children.orphaned_pods,
        ended_pods=children.ended_pods,
        leftovers=children.leftovers,
    )


def _ended_lately(status: Status, now: datetime.datetime) -> bool:
    ended = status.history[-1].end_time if status.history else None
    return ended is not None and (now - ended).total_seconds() < LATELY_SECONDS


def _event_poll_seconds(attempt: Attempt) -> float | None:
    """Return the seconds between two reads of the attempt's Events, None for no reads."""
    if attempt.job.spec.suspend and not attempt.finished:
        return QUEUED_POLL_SECONDS
    return STUCK_POLL_SECONDS if deadlines.awaits_start(attempt) else None
