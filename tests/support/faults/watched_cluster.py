"""The real API server as seen by a test: one watch of each kind over all namespaces, and the law
that every run must keep, checked at each of its events.
"""

import asyncio
import json
from collections.abc import Callable
from contextlib import suppress
from types import TracebackType
from typing import Any, Self

import aiohttp

from tests.cluster.controlplane import ControlPlane
from tests.support.faults.connections import connector

Object = dict[str, Any]
PATHS = {
    "finetunejobs": "/apis/finetune-operator.dev/v1alpha1",
    "jobs": "/apis/batch/v1",
    "pods": "/api/v1",
}
UNWATCHED = {"workloads": "/apis/kueue.x-k8s.io/v1beta2"}
MERGE = "application/merge-patch+json"


class Namespace:
    """What is in one namespace, now."""

    def __init__(self, cluster: "WatchedCluster", name: str) -> None:
        self._cluster = cluster
        self.name = name
        self.objects: dict[str, dict[str, Object]] = {plural: {} for plural in PATHS}
        """The objects by plural and uid."""
        self.last_status: Object = {}
        """The last status of the FineTuneJob, also after its deletion."""
        self.applied = False
        """True if there is or was a FineTuneJob."""
        self.violations: list[str] = []
        self._changed = asyncio.Event()

    @property
    def job(self) -> Object | None:
        """The FineTuneJob, if it is there."""
        return next(iter(self.objects["finetunejobs"].values()), None)

    @property
    def pods(self) -> list[Object]:
        """All pods, the oldest first."""
        return list(self.objects["pods"].values())

    def take(self, plural: str, item: Object, *, deleted: bool) -> None:
        """Take in an event."""
        uid = item["metadata"]["uid"]
        if deleted:
            self.objects[plural].pop(uid, None)
        else:
            self.objects[plural][uid] = item
        if plural == "finetunejobs":
            self.applied, self.last_status = True, item.get("status", {})
        self._check()
        self._wake()

    def replace(self, plural: str, items: list[Object]) -> None:
        """Take a list in, after a gap."""
        self.objects[plural].clear()
        for item in items:
            self.take(plural, item, deleted=False)
        self._wake()

    async def until(self, what: str, found: Callable[[], Any], *, seconds: float = 30) -> Any:
        """Return the first true value of `found`."""
        try:
            async with asyncio.timeout(seconds):
                while not (value := found()):
                    await self._changed.wait()
        except TimeoutError:
            state = json.dumps([self.last_status, *map(_brief, self.pods)], indent=1)
            raise AssertionError(f"waited {seconds} s for {what} in {self.name}: {state}") from None
        return value

    async def request(self, method: str, plural: str, *names: str, **options: Any) -> Object:
        """Send a request about the objects of a kind, or about one; {} if it is not there."""
        root = (PATHS | UNWATCHED).get(plural, "/api/v1")
        path = "/".join((root, "namespaces", self.name, plural, *names))
        return await self._cluster.request(method, path, **options)

    def _wake(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()

    def _check(self) -> None:
        """Never two live Jobs of one FineTuneJob, and never trainers of two that may run."""
        jobs = [j["metadata"]["name"] for j in self.objects["jobs"].values() if _is_live_job(j)]
        pods = {_job_of(pod) for pod in self.objects["pods"].values() if _is_live_pod(pod)}
        for what, live in (("Jobs", jobs), ("pods of", sorted(pods))):
            if len(live) > 1:
                self.violations.append(f"{what} live at the same time: {', '.join(live)}")


class WatchedCluster:
    """A session with the API server as its administrator; a context manager."""

    def __init__(self, plane: ControlPlane) -> None:
        self._url = plane.url
        self._headers = {"Authorization": f"Bearer {plane.token}"}
        self._certificate_authority = plane.certificate_authority
        self._namespaces: dict[str, Namespace] = {}

    async def __aenter__(self) -> Self:
        """Connect, and watch."""
        self._session = aiohttp.ClientSession(
            headers=self._headers,
            connector=connector(self._certificate_authority),
            timeout=aiohttp.ClientTimeout(total=None, connect=10),
            read_bufsize=2**20,
        )
        self._watches = [asyncio.create_task(self._follow(plural)) for plural in PATHS]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect; fail if a watch has failed, for then nothing was checked."""
        for watch in self._watches:
            watch.cancel()
        ends = await asyncio.gather(*self._watches, return_exceptions=True)
        await self._session.close()
        for end in ends:
            if isinstance(end, Exception):
                raise end

    async def add_namespace(self, name: str) -> Namespace:
        """Create a namespace that admits pods, with a bound claim "models"."""
        namespace = self._namespaces[name] = Namespace(self, name)
        labels = {"pod-security.kubernetes.io/enforce": "restricted"}
        body: Object = {"metadata": {"name": name, "labels": labels}}
        await self.request("POST", "/api/v1/namespaces", body=body)
        for path, body in _bound_claim(name):
            await self.request("POST", path, body=body)
        while not await _is_ready(namespace):  # noqa: ASYNC110
            await asyncio.sleep(0.1)
        return namespace

    async def request(
        self, method: str, path: str, *, body: object = None, kind: str = "application/json"
    ) -> Object:
        """Send a request until it is answered; {} if there is no such object, or already is."""
        data = None if body is None else json.dumps(body)
        again = (429, 503) if method == "POST" else (409, 429, 503)
        while True:
            with suppress(aiohttp.ClientError):
                headers = {"Content-Type": kind}
                async with self._session.request(
                    method, self._url + path, data=data, headers=headers
                ) as answer:
                    text, status = await answer.text(), answer.status
                if status not in again:
                    assert status < 400 or status in (404, 409), text
                    return json.loads(text) if status < 400 else {}
            await asyncio.sleep(0.2)

    async def _follow(self, plural: str) -> None:
        while True:
            with suppress(aiohttp.ClientError):
                await self._list_and_watch(plural)
            await asyncio.sleep(0.2)

    async def _list_and_watch(self, plural: str) -> None:
        found = await self.request("GET", f"{PATHS[plural]}/{plural}")
        for namespace in self._namespaces.values():
            own = [i for i in found["items"] if i["metadata"]["namespace"] == namespace.name]
            namespace.replace(plural, own)
        version = found["metadata"]["resourceVersion"]
        url = f"{self._url}{PATHS[plural]}/{plural}?watch=1&resourceVersion={version}"
        async with self._session.get(url) as answer:
            async for line in answer.content:
                event = json.loads(line)
                if event["type"] == "ERROR":
                    return
                item = event["object"]
                if seen_by := self._namespaces.get(item["metadata"]["namespace"]):
                    seen_by.take(plural, item, deleted=event["type"] == "DELETED")


async def _is_ready(namespace: Namespace) -> bool:
    claim = await namespace.request("GET", "persistentvolumeclaims", "models")
    bound = claim.get("status", {}).get("phase") == "Bound"
    return bound and bool(await namespace.request("GET", "serviceaccounts", "default"))


def is_ended(pod: Object) -> bool:
    """Return True if all containers of a pod have ended for good."""
    return pod["status"].get("phase") in ("Succeeded", "Failed")


def _is_live_pod(pod: Object) -> bool:
    """Return True if the pod's trainer may run; other containers may take longer to end."""
    trainers = [each for each in pod["status"].get("containerStatuses", []) if _is_trainer(each)]
    return not is_ended(pod) and not any("terminated" in each["state"] for each in trainers)


def _is_trainer(container: Object) -> bool:
    return bool(container["name"] == "trainer")


def _job_of(pod: Object) -> str:
    name: str = pod["metadata"]["labels"]["job-name"]
    return name


def _is_live_job(job: Object) -> bool:
    conditions = job["status"].get("conditions", [])
    ended = any(c["type"] in ("Complete", "Failed") and c["status"] == "True" for c in conditions)
    return not ended and "deletionTimestamp" not in job["metadata"]


def _brief(pod: Object) -> Object:
    return {"pod": pod["metadata"]["name"], "phase": pod["status"].get("phase")}


def _bound_claim(namespace: str) -> list[tuple[str, Object]]:
    size, modes = {"storage": "1Gi"}, ["ReadWriteMany"]
    volume = {
        "capacity": size,
        "accessModes": modes,
        "hostPath": {"path": "/nowhere"},
        "claimRef": {"namespace": namespace, "name": "models"},
    }
    claim = {
        "accessModes": modes,
        "resources": {"requests": size},
        "storageClassName": "",
        "volumeName": f"{namespace}-models",
    }
    return [
        (
            "/api/v1/persistentvolumes",
            {"metadata": {"name": f"{namespace}-models"}, "spec": volume},
        ),
        (
            f"/api/v1/namespaces/{namespace}/persistentvolumeclaims",
            {"metadata": {"name": "models"}, "spec": claim},
        ),
    ]
