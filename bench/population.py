"""Fills an API server with FineTuneJobs, their Jobs and their pods, as of a cluster in use.

Four in five are complete, with the termination message of a real run; the others train. No
controller runs: what it would write is written here.
"""

import asyncio
import json
import uuid
from collections.abc import Awaitable, Callable, Iterable
from typing import Any, TypeVar

import aiohttp
import msgspec
from finetune_operator.api import constants as c
from finetune_operator.api.types import FineTuneJob
from finetune_operator.children.job import build_job
from finetune_operator.kube import urls
from finetune_operator.policy.plan import CreateAttempt

from tests.cluster.controlplane import ControlPlane
from tests.support.faults.connections import connector

T = TypeVar("T")
Object = dict[str, Any]
NAMESPACE = "team-vision"
IMAGE = "registry.example.com/finetune/trainer@sha256:" + "5" * 64
CONCURRENCY = 32
TIME = "2026-11-24T06:0{}:00Z"


async def populate(plane: ControlPlane, numbers: range) -> dict[str, int]:
    """Create one object of each kind for each number; return the bytes of one of each."""
    sizes: dict[str, int] = {}
    async with connect(plane) as session:

        async def create(number: int) -> None:
            sizes.update(await _create(session, number))

        await for_each(numbers, create)
    return sizes


def connect(plane: ControlPlane) -> aiohttp.ClientSession:
    """Return a session with the API server as its administrator, without a limit of time."""
    return aiohttp.ClientSession(
        plane.url,
        headers={"Authorization": f"Bearer {plane.token}"},
        connector=connector(plane.certificate_authority),
        timeout=aiohttp.ClientTimeout(total=None, connect=10),
        read_bufsize=2**20,
    )


async def for_each(items: Iterable[T], act: Callable[[T], Awaitable[None]]) -> None:
    """Act on each item, on CONCURRENCY at a time."""
    todo = iter(items)

    async def work() -> None:
        for item in todo:
            await act(item)

    await asyncio.gather(*(work() for _ in range(CONCURRENCY)))


async def send(session: aiohttp.ClientSession, method: str, path: str, body: Object) -> Object:
    """Send a request and return its answer."""
    async with session.request(method, path, json=body) as answer:
        found: Object = await answer.json()
    if answer.status >= 400:
        raise RuntimeError(f"{method} {path}: {found['message']}")
    return found


async def _create(session: aiohttp.ClientSession, number: int) -> dict[str, int]:
    """Create a FineTuneJob, its Job and its pod; a status takes a request of its own."""
    running = number % 5 == 0

    async def put(path: str, body: Object, status: Object) -> Object:
        made = await send(session, "POST", path, body)
        name = made["metadata"]["name"]
        return await send(session, "PUT", f"{path}/{name}/status", {**made, "status": status})

    path = urls.fine_tune_jobs(NAMESPACE)
    parent = await put(path, fine_tune_job(number), job_status(number, running=running))
    manifest = build_job(
        msgspec.convert(parent, FineTuneJob),
        CreateAttempt(1),
        image=IMAGE,
        own_image=True,
        pull="Always",
    )
    attempt = await put(urls.jobs(NAMESPACE), manifest, _attempt_status(running=running))
    uid = parent["metadata"]["uid"]
    pod = await put(urls.pods(NAMESPACE), _pod(attempt), _pod_status(number, uid, running=running))
    return {each["kind"]: len(msgspec.json.encode(each)) for each in (parent, attempt, pod)}


def fine_tune_job(number: int) -> Object:
    """Return a FineTuneJob without a status."""
    return {
        "apiVersion": c.API_VERSION,
        "kind": c.KIND,
        "metadata": {"name": f"photos-of-team-{number:05}", "labels": {"team": f"t{number % 40}"}},
        "spec": {
            "model": {"name": "efficientnet-lite0"},
            "dataset": {"source": {"uri": f"pvc://photos/{number:05}"}},
            "trainer": {
                "gpusPerNode": 0,
                "resources": {
                    "requests": {"cpu": "1", "memory": "1Gi"},
                    "limits": {"memory": "4Gi"},
                },
            },
            "workspace": {"claimName": "workspace"},
            "output": {"uri": f"pvc://models/{number:05}"},
        },
    }


def _conditions(true: dict[str, str], **more: Any) -> list[Object]:
    return [
        {
            "type": name,
            "status": "True",
            "reason": reason,
            "message": "",
            "lastTransitionTime": TIME.format(index),
            **more,
        }
        for index, (name, reason) in enumerate(true.items())
    ]


def result_of(number: int) -> Object:
    """Return the result in the termination message of a trainer that succeeded."""
    digest = f"sha256:{number:064x}"
    return {
        "accuracy": f"0.{number % 10000:04}",
        "metrics": [{"name": "accuracy", "value": "0.9412"}, {"name": "loss", "value": "0.2208"}],
        "dataset": {
            "classes": 257,
            "trainImages": 15240,
            "validationImages": 15367,
            "rejectedImages": 0,
            "digest": digest,
        },
        "model": {"name": "efficientnet-lite0", "sha256": digest[7:], "head": "classifier"},
        "checkpoint": {"epoch": 10, "step": 0, "time": TIME.format(8)},
        "output": {"uri": f"pvc://models/{number:05}", "digest": digest},
    }


def job_status(number: int, *, running: bool) -> Object:
    """Return the status of a FineTuneJob that trains, or is complete."""
    result = result_of(number)
    ready = {"Suspended": "NotSuspended", "DatasetReady": "Packed", "PodsReady": "PodsReady"}
    progress = {
        "progressPercentage": 40 if running else 100,
        "metrics": result["metrics"],
        "lastUpdatedTime": TIME.format(7),
    }
    status = {
        "phase": "Training",
        "conditions": _conditions({**ready, "Running": "Training"}, observedGeneration=1),
        "observedGeneration": 1,
        "startTime": TIME.format(0),
        "activeSince": TIME.format(0),
        "image": IMAGE,
        "trainerStatus": progress,
        "attempts": 1,
        "dataset": result["dataset"],
        "model": result["model"],
        "checkpoint": result["checkpoint"],
    }
    if running:
        attempt = {"number": 1, "jobName": f"photos-of-team-{number:05}-1"}
        return {**status, "currentAttempt": attempt}
    record = {"number": 1, "reason": "Completed", "endTime": TIME.format(9)}
    return {
        **status,
        "phase": "Complete",
        "conditions": _conditions({**ready, "Complete": "Completed"}, observedGeneration=1),
        "completionTime": TIME.format(9),
        "accuracy": result["accuracy"],
        "history": [record],
        "output": result["output"],
    }


def _attempt_status(*, running: bool) -> Object:
    if running:
        return {"startTime": TIME.format(0), "active": 1, "ready": 1, "terminating": 0}
    done = {"SuccessCriteriaMet": "CompletionsReached", "Complete": "CompletionsReached"}
    return {
        "startTime": TIME.format(0),
        "completionTime": TIME.format(9),
        "succeeded": 1,
        "uncountedTerminatedPods": {},
        "conditions": _conditions(done, lastProbeTime=TIME.format(9)),
    }


def _pod(attempt: Object) -> Object:
    """Make the Job's pod as its controller would."""
    metadata, template = attempt["metadata"], attempt["spec"]["template"]
    owner = {"apiVersion": "batch/v1", "kind": "Job", "controller": True}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {
            **template["metadata"],
            "generateName": f"{metadata['name']}-",
            "finalizers": ["batch.kubernetes.io/job-tracking"],
            "ownerReferences": [
                {**owner, "name": metadata["name"], "uid": metadata["uid"]},
            ],
        },
        "spec": {**template["spec"], "nodeName": "worker-17"},
    }


def _pod_status(number: int, uid: str, *, running: bool) -> Object:
    true = {"PodReadyToStartContainers": "", "Initialized": "", "PodScheduled": ""}
    if running:
        true |= {"Ready": "", "ContainersReady": ""}
        state: Object = {"running": {"startedAt": TIME.format(1)}}
    else:
        report = {
            "job": {"uid": uid, "attempt": 1, "podUid": str(uuid.uuid4())},
            "result": result_of(number),
        }
        state = {
            "terminated": {
                "exitCode": 0,
                "reason": "Completed",
                "message": json.dumps(report, separators=(",", ":")),
                "startedAt": TIME.format(1),
                "finishedAt": TIME.format(9),
                "containerID": f"containerd://{number:064x}",
            }
        }
    address = f"127.{1 + (number >> 16)}.{number >> 8 & 255}.{number & 255}"
    return {
        "phase": "Running" if running else "Succeeded",
        "qosClass": "Burstable",
        "hostIP": "192.0.2.17",
        "hostIPs": [{"ip": "192.0.2.17"}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "startTime": TIME.format(0),
        "conditions": _conditions(true, lastProbeTime=None),
        "containerStatuses": [
            {
                "name": c.CONTAINER,
                "image": IMAGE,
                "imageID": IMAGE,
                "containerID": f"containerd://{number:064x}",
                "ready": running,
                "started": running,
                "restartCount": 0,
                "state": state,
                "lastState": {},
            }
        ],
    }
