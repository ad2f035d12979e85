"""Lists all FineTuneJobs now and then: finds what their watch missed, drops what is gone, and
knows by that when the watch is deaf.

kopf never reports deletions that happened while its watch was down.
"""

import asyncio
import logging

import msgspec

from finetune_operator.api.kubernetes import Metadata
from finetune_operator.kube import urls
from finetune_operator.kube.client import ApiError, Client
from finetune_operator.kube.workqueue import WorkQueue
from finetune_operator.observe.cache import Cache, Key

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
log = logging.getLogger(__name__)


class _Item(msgspec.Struct):
    metadata: Metadata


class Resync:
    """Compares lists with what the watch has told. The watch is deaf when for `patience_seconds`
    it has told nothing of an object that a list had in another version.
    """

    def __init__(
        self,
        client: Client,
        cache: Cache,
        queue: WorkQueue[Key],
        *,
        namespaces: tuple[str, ...],
        interval_seconds: float,
        patience_seconds: float,
    ) -> None:
        self._client = client
        self._cache = cache
        self._queue = queue
        self._namespaces = namespaces or ("",)
        self._interval = interval_seconds
        self._patience = patience_seconds
        self._observed: dict[Key, str] = {}  # the version that the watch told last
        self._missed: dict[Key, float] = {}  # since when, in loop time

    def observe(self, key: Key, version: str, *, deleted: bool) -> None:
        """Note what the watch has told."""
        self._missed.pop(key, None)
        if deleted:
            self._observed.pop(key, None)
        else:
            self._observed[key] = version

    def missed_by_watch(self) -> str:
        """Return what the watch ought to have told long ago, or nothing."""
        if not self._missed:
            return ""
        limit = asyncio.get_running_loop().time() - self._patience
        keys = sorted(f"{ns}/{name}" for (ns, name), at in self._missed.items() if at < limit)
        return (
            f"the watch of FineTuneJobs is stale: it has missed {', '.join(keys[:5])}"
            if keys
            else ""
        )

    async def run(self) -> None:
        """Resync for ever."""
        while True:
            await asyncio.sleep(self._interval)
            try:
                await self._resync()
            except ApiError as error:
                log.warning("resync: %s", error)

    async def _resync(self) -> None:
        before, observed = set(self._cache.jobs), dict(self._observed)
        found: dict[Key, str] = {}
        for namespace in self._namespaces:
            found |= await self._list(namespace)
        for key in before | found.keys():  # reconcile forgets a key that is not there
            self._queue.add(key)
        self._compare(found, observed)

    def _compare(self, found: dict[Key, str], observed: dict[Key, str]) -> None:
        """Note what differs; what was told since the list began says nothing of the list."""
        now = asyncio.get_running_loop().time()
        for key, version in found.items():
            if self._observed.get(key) == observed.get(key) != version:
                self._missed.setdefault(key, now)
        for key in (self._observed.keys() | self._missed.keys()) - found.keys():
            if self._observed.get(key) == observed.get(key):  # a ghost
                self._observed.pop(key, None)
                self._missed.pop(key, None)

    async def _list(self, namespace: str) -> dict[Key, str]:
        path = urls.fine_tune_jobs(namespace)
        return {
            (item.metadata.namespace, item.metadata.name): item.metadata.resource_version
            async for page in self._client.pages(path, _Item, query={}, accept=METADATA_ONLY)
            for item in page.items
        }
