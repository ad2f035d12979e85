"""The last observed FineTuneJobs, their Jobs and their pods, in slim form.

reconcile and the metrics read it. The watches write it, and reconcile after each create, so that
its next pass does not miss its own Job.
"""

import dataclasses
from collections.abc import Collection, Iterable, Iterator
from typing import Any, TypeVar

import msgspec

from finetune_operator.api import constants as c
from finetune_operator.api.contract import Progress
from finetune_operator.api.kubernetes import Job, Metadata, Pod, Workload
from finetune_operator.api.types import FineTuneJob
from finetune_operator.observe.summary import Summary, summarize
from finetune_operator.policy.plan import Attempt

C = TypeVar("C", Job, Pod)
MAX_DELETED_PODS = 1000
K = TypeVar("K")
Key = tuple[str, str]
"""Namespace and name of a FineTuneJob."""


class _Kept(msgspec.Struct, frozen=True, gc=False):
    """A FineTuneJob as JSON, which takes a third of the memory of the decoded one."""

    version: str
    body: bytes


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Children:
    """The Jobs and pods of one FineTuneJob, from the cache or from the API server."""

    attempts: tuple[Attempt, ...] = ()
    orphaned_pods: tuple[Pod, ...] = ()
    """Pods that may still run though their Job was deleted."""
    ended_pods: tuple[Pod, ...] = ()
    """Pods that ended, and are deleted, or whose Job is."""
    leftovers: tuple[Job | Pod, ...] = ()
    """Jobs and pods of an earlier FineTuneJob of this name that have no owner any more."""


class Cache:
    """All children by the uid of their FineTuneJob: a later job may have the same name.

    A child belongs to an attempt by its controller reference, as a label can be forged. An orphaned
    pod, whose Job was deleted, has no reference any more: for it alone the label is used.
    """

    def __init__(self) -> None:
        self.jobs: dict[Key, Summary] = {}
        self.reconciled: dict[Key, str] = {}
        """The version of each FineTuneJob that the last pass has read, or has written."""
        self.writing: dict[Key, str] = {}
        """The FineTuneJobs whose status is being written, each with the version that the watch has
        reported meanwhile, or nothing: it may be the echo."""
        self.unreadable: dict[Key, str] = {}
        """The version of each FineTuneJob that cannot be decoded."""
        self.progress: dict[str, Progress] = {}
        """The last report of each pod, by its uid."""
        self.unreachable: set[str] = set()
        """Uids of the pods that do not answer."""
        self.workloads: dict[str, Workload] = {}
        """The Workload of each Job that a queue suspends, by the Job's uid."""
        self.refusals: dict[Key, str] = {}
        """Uids of the FineTuneJobs of which an Event says that a write is refused."""
        self._fine_tune_jobs: dict[Key, _Kept] = {}
        self._attempts: dict[str, dict[str, Job]] = {}
        self._pods: dict[str, dict[str, Pod]] = {}
        self._deleted_pods: dict[str, Pod] = {}
        """The last deleted pods that may have left a result which no status has yet, by uid."""
        self._ownerless: dict[Key, dict[str, Job | Pod]] = {}

    def observe_fine_tune_job(self, body: dict[str, Any], *, deleted: bool) -> Key:
        """Add, replace or remove a FineTuneJob; return its key."""
        key = body["metadata"]["namespace"], body["metadata"]["name"]
        if deleted:
            self.forget(key)
            return key
        if is_older(body["metadata"]["resourceVersion"], self.version_of(key), or_same=True):
            return key
        try:
            self.keep(msgspec.convert(body, FineTuneJob))
        except msgspec.ValidationError:  # its reconcile reports it
            self.jobs.pop(key, None)
            self.drop(key)
        return key

    def keep(self, job: FineTuneJob) -> None:
        """Add or replace a FineTuneJob, if it is newer than what is here."""
        key, version = key_of(job), job.metadata.resource_version
        if not is_older(version, self.version_of(key), or_same=True):
            self.jobs[key] = summarize(job)
            self._fine_tune_jobs[key] = _Kept(version, msgspec.json.encode(job))

    def fine_tune_job(self, key: Key) -> FineTuneJob | None:
        """Return the newest version of a FineTuneJob that was read, written or watched."""
        kept = self._fine_tune_jobs.get(key)
        return msgspec.json.decode(kept.body, type=FineTuneJob) if kept else None

    def version_of(self, key: Key) -> str:
        """Return the version of what fine_tune_job returns, or nothing."""
        kept = self._fine_tune_jobs.get(key)
        return kept.version if kept else ""

    def drop(self, key: Key) -> None:
        """Drop what is known of a FineTuneJob, so that its next pass reads it."""
        self._fine_tune_jobs.pop(key, None)

    def forget(self, key: Key) -> None:
        """Remove a FineTuneJob that was deleted."""
        self.drop(key)
        for known in (self.jobs, self.reconciled, self.unreadable, self.refusals):
            known.pop(key, None)

    def is_settled(self, key: Key, version: str) -> bool:
        """Return True if the last pass had this version, and only another one can change the job:
        it is finished, or cannot be read.
        """
        job = self.jobs.get(key)
        settled = key in self.unreadable or (job is not None and job.finished)
        return settled and self.reconciled.get(key) == version

    def observe_attempt(self, job: Job, *, deleted: bool = False) -> Key | None:
        """Add, replace or remove a Job; return the key of its FineTuneJob if that is news."""
        uid, owner = job.metadata.uid, job.metadata.controller_uid
        known = self._attempts.get(owner, {}).get(uid)
        if known and not deleted and job == known:  # the echo of the operator's own create
            return None
        self._index_owner(job, deleted=deleted)
        if not owner:  # --cascade=orphan took it away
            _drop(self._attempts, job.metadata.labels.get(c.LABEL_JOB_UID, ""), uid)
        if deleted:
            _drop(self._attempts, owner, uid)
        elif not (
            known and is_older(job.metadata.resource_version, known.metadata.resource_version)
        ):
            self._attempts.setdefault(owner, {})[uid] = job
        return _key(job)

    def observe_pod(self, pod: Pod, *, deleted: bool = False) -> Key | None:
        """Add, replace or remove a pod; return the key of its FineTuneJob."""
        uid, owner = pod.metadata.uid, pod.metadata.labels.get(c.LABEL_JOB_UID, "")
        self._index_owner(pod, deleted=deleted)
        if deleted:
            _drop(self._pods, owner, uid)
            self.progress.pop(uid, None)
            self._keep_result(pod, owner)
        else:
            self._pods.setdefault(owner, {})[uid] = pod
            if pod.trainer_ended:
                self.progress.pop(uid, None)
        return _key(pod)

    def _keep_result(self, pod: Pod, owner: str) -> None:
        """Keep a deleted pod whose trainer had ended, if its FineTuneJob has not finished."""
        key = _key(pod)
        job = self.jobs.get(key) if key else None
        if job and job.uid == owner and not job.finished and pod.trainer.terminated:
            self._deleted_pods[pod.metadata.uid] = pod
            if len(self._deleted_pods) > MAX_DELETED_PODS:
                del self._deleted_pods[next(iter(self._deleted_pods))]

    def children_of(self, owner: Metadata) -> Children:
        """Return the Jobs and pods of the FineTuneJob."""
        return Children(
            attempts=self.attempts_of(owner.uid),
            orphaned_pods=self.orphaned_pods_of(owner.uid, owner.namespace),
            ended_pods=self.ended_pods_of(owner.uid, owner.namespace),
            leftovers=tuple(
                child
                for child in self._ownerless.get((owner.namespace, owner.name), {}).values()
                if isinstance(child, Job) or child.metadata.labels[c.LABEL_JOB_UID] != owner.uid
            ),
        )

    def attempts_of(self, uid: str) -> tuple[Attempt, ...]:
        """Return the attempts of the FineTuneJob, those that prepare first."""
        return attempts_in_order(
            self._attempts.get(uid, {}).values(), self._pods.get(uid, {}).values()
        )

    def orphaned_pods_of(self, uid: str, namespace: str) -> tuple[Pod, ...]:
        """Return the pods of the FineTuneJob that may still run though their Job was deleted."""
        attempts = self._attempts.get(uid, {})
        return tuple(
            pod
            for pod in self._pods.get(uid, {}).values()
            if not pod.ended
            and pod.metadata.namespace == namespace
            and pod.metadata.controller_uid not in attempts
        )

    def ended_pods_of(self, uid: str, namespace: str) -> tuple[Pod, ...]:
        """Return the pods of the FineTuneJob that ended, and are deleted, or whose Job is."""
        attempts = self._attempts.get(uid, {})
        ended = [
            pod
            for pod in self.pods_of(uid, namespace)
            if pod.ended and pod.metadata.controller_uid not in attempts
        ]
        return (*ended, *self.deleted_pods_of(uid, namespace))

    def deleted_pods_of(self, uid: str, namespace: str) -> tuple[Pod, ...]:
        """Return the deleted pods of the FineTuneJob that may have left a result."""
        return tuple(
            pod
            for pod in self._deleted_pods.values()
            if (pod.metadata.labels.get(c.LABEL_JOB_UID), pod.metadata.namespace)
            == (uid, namespace)
        )

    def pods_of(self, uid: str, namespace: str) -> tuple[Pod, ...]:
        """Return all pods of the FineTuneJob that exist."""
        pods = self._pods.get(uid, {}).values()
        return tuple(pod for pod in pods if pod.metadata.namespace == namespace)

    def _index_owner(self, child: Job | Pod, *, deleted: bool) -> None:
        key, uid, labels = _key(child), child.metadata.uid, child.metadata.labels
        if key and not deleted and not child.metadata.controller and c.LABEL_JOB_UID in labels:
            self._ownerless.setdefault(key, {})[uid] = child
        elif key:
            _drop(self._ownerless, key, uid)

    def attempts_in(self, namespace: str) -> list[Job]:
        """Return the Jobs of a namespace, or of all."""
        return _in(namespace, self._attempts)

    def pods_in(self, namespace: str) -> list[Pod]:
        """Return the pods of a namespace, or of all."""
        return _in(namespace, self._pods)

    def queued_attempts(self) -> list[Job]:
        """Return the Jobs that a queue suspends."""
        return [
            job
            for job in self.attempts_in("")
            if job.spec.suspend and not (job.metadata.deletion_timestamp or job.ended)
        ]

    def reporting_pods(self) -> Iterator[tuple[Pod, str]]:
        """Yield each running pod that reports, with the uid of its FineTuneJob."""
        for uid, pods in self._pods.items():
            attempts = self._attempts.get(uid, {})
            for pod in pods.values():
                owned = pod.metadata.controller_uid in attempts
                runs = pod.started and not pod.trainer_ended
                if owned and pod.is_leader and runs and pod.status.pod_ip:
                    yield pod, uid

    def __len__(self) -> int:
        """Return the number of Jobs and pods."""
        return sum(map(len, self._attempts.values())) + sum(map(len, self._pods.values()))


def attempts_in_order(jobs: Iterable[Job], pods: Collection[Pod]) -> tuple[Attempt, ...]:
    """Return the attempts that these Jobs are, each with its pods; those that prepare first."""
    attempts = [
        Attempt(
            number=number,
            job=job,
            pods=tuple(pod for pod in pods if pod.metadata.controller_uid == job.metadata.uid),
        )
        for job in jobs
        if (number := number_of(job))
    ]
    return tuple(sorted(attempts, key=lambda each: (not each.prepare, each.number)))


def number_of(job: Job) -> int:
    """Return the number of the attempt, 0 for a Job that is none."""
    text = job.metadata.labels.get(c.LABEL_ATTEMPT, "")
    return int(text) if text.isdigit() else 0


def key_of(job: FineTuneJob) -> Key:
    """Return the key of a FineTuneJob."""
    return job.metadata.namespace, job.metadata.name


def _key(child: Job | Pod) -> Key | None:
    name = child.metadata.labels.get(c.LABEL_JOB)
    return (child.metadata.namespace, name) if name else None


def is_older(version: str, known: str, *, or_same: bool = False) -> bool:
    """Return True if a watch reports an older version than a read or a write has returned.

    Versions are numbers that grow: https://kep.k8s.io/5504
    """
    if version == known:
        return or_same
    return version.isdigit() and known.isdigit() and int(version) < int(known)


def _in(namespace: str, table: dict[str, dict[str, C]]) -> list[C]:
    found = (child for children in table.values() for child in children.values())
    return [child for child in found if namespace in ("", child.metadata.namespace)]


def _drop(table: dict[K, dict[str, Any]], owner: K, uid: str) -> None:
    if children := table.get(owner):
        children.pop(uid, None)
        if not children:
            del table[owner]
