"""The kubelet of one namespace: each pod lives as the scenario says for its attempt."""

import asyncio
import json
from collections.abc import Callable
from dataclasses import dataclass, replace

from tests.support.faults.watched_cluster import MERGE, Namespace, Object, is_ended
from tests.support.kubelet_world import ended, error_of, ids_of, rejected, result_of, running

SIGTERM = 143
DATASET = {
    "classes": 10,
    "trainImages": 215,
    "validationImages": 53,
    "rejectedImages": 0,
    "digest": "sha256:0",
}


@dataclass(frozen=True, kw_only=True)
class Trains:
    """What the trainer of an attempt does once it runs."""

    code: int | None = 0
    """How it exits; None: it runs until it is asked to end."""
    accuracy: str = "0.8704"
    seconds: float = 0.3
    evicted: bool = False
    orphaned: bool = False
    """It ends only after its Job is deleted and the pod belongs to nobody."""
    lost: bool = False
    """Its node does not answer any more, whoever deletes it."""
    rejected: bool = False
    """Its kubelet does not admit the pod: nothing of it runs."""
    kept: bool = False
    """An injected container keeps the pod, until it is deleted."""
    peers: int | None = 0
    """How the other pods of a gang exit."""
    then: "Trains | None" = None
    """What the Job's next pod does, when a queue has taken the first back."""


class Kubelet:
    """Reacts to the pods of a namespace; `attempts` as many as the scenario needs."""

    def __init__(
        self,
        namespace: Namespace,
        attempts: tuple[Trains, ...],
        preparations: tuple[Trains, ...] = (),
    ) -> None:
        self._namespace = namespace
        self._attempts = {"train": attempts, "prepare": preparations}
        self._started: set[str] = set()

    async def run(self) -> None:
        """Play for ever."""
        known: set[str] = set()
        async with asyncio.TaskGroup() as group:
            while True:
                pods = self._namespace.objects["pods"]
                for uid in pods.keys() - known:
                    known.add(uid)
                    group.create_task(self._live(uid))
                await self._namespace.until(
                    "pods", lambda: self._namespace.objects["pods"].keys() - known, seconds=3600
                )

    async def _live(self, uid: str) -> None:
        """A pod's life: bound, running, ended by itself or by a deletion, taken away."""
        await self._until(uid, lambda pod: "nodeName" in pod["spec"])
        pod = self._namespace.objects["pods"].get(uid)
        if pod is None:
            return
        does = self._choose(pod)
        if not _is_deleted(pod):
            await self._report(pod, rejected() if does.rejected else running(pod))
        if does.lost:
            return
        if does.orphaned:
            await self._until(uid, lambda pod: not pod["metadata"].get("ownerReferences"))
        exits = does.code is not None and not does.rejected
        exits = exits and not await self._is_deleted_within(uid, does.seconds)
        if exits:
            await self._report(pod, self._end(pod, does))
        await self._until(uid, _is_deleted)
        if pod := self._namespace.objects["pods"].get(uid):
            if not is_ended(pod):
                last = self._end(pod, replace(does, kept=False)) if exits else ended(pod, SIGTERM)
                await self._report(pod, last)
            now = {"gracePeriodSeconds": 0}
            await self._namespace.request("DELETE", "pods", pod["metadata"]["name"], body=now)

    def _choose(self, pod: Object) -> Trains:
        labels, job = pod["metadata"]["labels"], pod["metadata"]["labels"]["job-name"]
        number = int(labels["finetune-operator.dev/attempt"])
        does = self._attempts[labels["finetune-operator.dev/role"]][number - 1]
        if labels.get("batch.kubernetes.io/job-completion-index", "0") != "0":
            return Trains(code=does.peers)
        if does.then and job in self._started:
            return does.then
        self._started.add(job)
        return does

    def _end(self, pod: Object, does: Trains) -> Object:
        job = {"metadata": {"uid": pod["metadata"]["labels"]["finetune-operator.dev/job-uid"]}}
        if does.code == 0 and pod["metadata"]["labels"]["finetune-operator.dev/role"] == "prepare":
            message = json.dumps({"job": ids_of(pod, job), "prepared": DATASET})
            return ended(pod, 0, message, kept=does.kept)
        if does.code == 0:
            message = json.dumps(result_of(pod, job, does.accuracy))
            return ended(pod, 0, message, kept=does.kept)
        message = json.dumps(error_of(pod, job, "Any", "What happened."))
        status = ended(pod, does.code or 0, message, kept=does.kept)
        if does.evicted:
            condition = {"type": "DisruptionTarget", "status": "True", "reason": "EvictionByTest"}
            status["conditions"] = [condition]
        return status

    async def _until(self, uid: str, found: Callable[[Object], bool]) -> None:
        """Wait until it is true, or the pod is deleted."""

        def is_so() -> bool:
            pod = self._namespace.objects["pods"].get(uid)
            return pod is None or found(pod)

        await self._namespace.until("a pod", is_so, seconds=3600)

    async def _is_deleted_within(self, uid: str, seconds: float) -> bool:
        try:
            async with asyncio.timeout(seconds):
                await self._until(uid, _is_deleted)
        except TimeoutError:
            return False
        return True

    async def _report(self, pod: Object, status: Object) -> None:
        name = pod["metadata"]["name"]
        body = {"status": status}
        await self._namespace.request("PATCH", "pods", name, "status", body=body, kind=MERGE)


def _is_deleted(pod: Object) -> bool:
    return "deletionTimestamp" in pod["metadata"]
