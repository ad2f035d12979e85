"""Leader election: of several operators only the holder of a coordination.k8s.io/v1 Lease writes.

The rules are client-go's:
https://github.com/kubernetes/client-go/blob/master/tools/leaderelection/leaderelection.go

The leader renews the Lease each retry period, and stops writing a renew deadline after the begin of
its last successful renewal. The others wait until the Lease has not changed for its duration, by
their own clock: clocks of two machines are never compared. The election of the Python client uses
the wall clock, bounds no writes and does not release the Lease.
"""

import asyncio
import logging
import math
import os
import random
import uuid
from typing import Any

import msgspec

from finetune_operator.api.kubernetes import Metadata
from finetune_operator.kube import urls
from finetune_operator.kube.client import AlreadyExists, ApiError, Client, Conflict, NotFound
from finetune_operator.settings import Settings

RELEASE_SECONDS = 3
log = logging.getLogger(__name__)


class LostLease(Exception):
    """Another operator may be the leader: this process must end, and restart as a standby."""


class _Spec(msgspec.Struct, rename="camel"):
    holder_identity: str = ""
    lease_duration_seconds: int = 0
    lease_transitions: int = 0


class _Lease(msgspec.Struct):
    metadata: Metadata
    spec: _Spec


class Elector:
    """Competes for the Lease, then keeps it. It needs a client of its own: see time_to_write()."""

    def __init__(self, client: Client, settings: Settings) -> None:
        self._client = client
        self._namespace, _, self._name = settings.lease.partition("/")
        self._path = urls.leases(self._namespace)
        self._identity = f"{os.environ.get('HOSTNAME', 'finetune-operator')}_{uuid.uuid4()}"
        self._duration = settings.lease_duration_seconds
        self._deadline = settings.renew_deadline_seconds
        self._retry = settings.retry_period_seconds
        self._renewed = -math.inf  # begin of the last successful renewal
        self._held: _Lease | None = None  # as last written
        self._seen = ("", 0.0)  # version of the Lease, and when it was first seen
        self.leading = asyncio.Event()
        """Set when the Lease is taken; never cleared, as the process ends with the Lease."""

    def time_to_write(self) -> float:
        """Return how many seconds a write that begins now may take."""
        left = self._renewed + self._deadline - asyncio.get_running_loop().time()
        return max(left, 0)

    async def run(self) -> None:
        """Wait for the Lease, then renew it for ever; raise LostLease if that fails."""
        while not await self._try():
            await self._wait()
        log.info("elected as the leader, %s", self._identity)
        self.leading.set()
        while True:
            try:
                async with asyncio.timeout_at(self._renewed + self._deadline):
                    await self._wait()
                    while not await self._try():
                        await self._wait()
            except TimeoutError:
                message = f"the Lease was not renewed within {self._deadline:g} s"
                raise LostLease(message) from None

    async def release(self) -> None:
        """Release the Lease, so that a standby takes it at once; refuse all later writes."""
        self._renewed = -math.inf
        if not self.leading.is_set():
            return
        try:
            async with asyncio.timeout(RELEASE_SECONDS):
                lease = await self._read()  # a renewal may have been cut short
                if lease and lease.spec.holder_identity == self._identity:
                    await self._write(lease, holder="")
        except (ApiError, TimeoutError) as error:  # it expires by itself
            log.warning("the Lease was not released: %r", error)

    async def _wait(self) -> None:
        await asyncio.sleep(self._retry * random.uniform(1, 1.2))

    async def _try(self) -> bool:
        """Take the Lease or renew it; return True if that succeeded."""
        start, held, self._held = asyncio.get_running_loop().time(), self._held, None
        try:
            async with asyncio.timeout(self._deadline / 2):
                lease = held or await self._read()
                if lease and not self._may_take(lease):
                    return False
                self._held = await self._write(lease, holder=self._identity)
        except (
            AlreadyExists,
            Conflict,
        ):  # another was faster, or our own write was not acknowledged
            return False
        except (ApiError, TimeoutError) as error:
            log.warning("Lease %s/%s: %r", self._namespace, self._name, error)
            return False
        self._renewed = start
        return True

    def _may_take(self, lease: _Lease) -> bool:
        holder = lease.spec.holder_identity
        if holder in ("", self._identity):
            return True
        if self.leading.is_set():
            raise LostLease(f"{holder} holds the Lease")
        unchanged = asyncio.get_running_loop().time() - self._seen[1]
        return unchanged >= (lease.spec.lease_duration_seconds or self._duration)

    async def _read(self) -> _Lease | None:
        try:
            lease = await self._client.get(f"{self._path}/{self._name}", _Lease)
        except NotFound:
            return None
        if lease.metadata.resource_version != self._seen[0]:
            now = asyncio.get_running_loop().time()
            self._seen = lease.metadata.resource_version, now
        return lease

    async def _write(self, lease: _Lease | None, *, holder: str) -> _Lease:
        """Create the Lease, or patch the version that was read."""
        now = self._client.clock.precise().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        spec: dict[str, Any] = {
            "holderIdentity": holder,
            "leaseDurationSeconds": math.ceil(self._duration),
            "renewTime": now,
        }
        if holder and (lease is None or lease.spec.holder_identity != holder):
            spec["acquireTime"] = now
            spec["leaseTransitions"] = lease.spec.lease_transitions + 1 if lease else 0
        if lease:
            version = {"resourceVersion": lease.metadata.resource_version}
            change = {"metadata": version, "spec": spec}
            return await self._client.patch(f"{self._path}/{self._name}", change, _Lease)
        body = {
            "apiVersion": "coordination.k8s.io/v1",
            "kind": "Lease",
            "metadata": {"name": self._name, "namespace": self._namespace},
            "spec": spec,
        }
        return await self._client.create(self._path, body, _Lease)
