"""The periodic resync: lists all FineTuneJobs, and queues what their watch has missed.

It also detects a stale watch, and deletions that happened while the watch was down: kopf never
reports those.
"""

import asyncio
import logging
import math

from finetune_operator.api.kubernetes import Unread
from finetune_operator.kube import urls
from finetune_operator.kube.client import ApiError, Client, Forbidden, NotFound
from finetune_operator.kube.workqueue import WorkQueue
from finetune_operator.observe.cache import Cache, Key

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
log = logging.getLogger(__name__)


class Resync:
    """Compares lists with the events of the watch.

    The watch is stale if a list has an object in a newer version, and the watch reports no event of
    it for `patience_seconds`.
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
        self._observed: dict[Key, str] = {}  # the last version from the watch
        self._missed: dict[Key, float] = {}  # loop time of the list that had it
        self.last_heard = -math.inf
        """The loop time of the watch's last event, or of a list that it had missed nothing of."""
        self._refused: set[str] = set()  # namespaces that cannot be listed

    def observe(self, key: Key, version: str, *, deleted: bool) -> None:
        """Record an event of the watch."""
        self.last_heard = asyncio.get_running_loop().time()
        self._missed.pop(key, None)
        if deleted:
            self._observed.pop(key, None)
        else:
            self._observed[key] = version

    def seconds_since_heard(self) -> float:
        """Return the time since the watch's last event, or since it was found to miss nothing."""
        return asyncio.get_running_loop().time() - self.last_heard

    def missed_by_watch(self) -> str:
        """Return which objects the watch has missed for too long, or nothing."""
        if not self._missed:
            return ""
        limit = asyncio.get_running_loop().time() - self._patience
        keys = sorted(f"{ns}/{name}" for (ns, name), at in self._missed.items() if at < limit)
        names = ", ".join(keys[:5])
        return f"the watch of FineTuneJobs is stale: it has missed {names}" if keys else ""

    async def run(self) -> None:
        """List at each interval, for ever."""
        self.last_heard = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(self._interval)
            for namespace in self._namespaces:
                try:
                    await self._resync(namespace)
                except (Forbidden, NotFound) as error:
                    self._give_up(namespace, error)
                except ApiError as error:
                    log.warning("resync of %s: %s", namespace or "all namespaces", error)

    async def _resync(self, namespace: str) -> None:
        known = self._cache.jobs.keys() | self._cache.unreadable.keys()
        before = {key for key in known if namespace in ("", key[0])}
        observed = dict(self._observed)
        found = await self._list(namespace)
        self._refused.discard(namespace)
        for key in before | found.keys():  # reconcile drops a key that does not exist
            version = found.get(key, "")
            no_event = self._observed.get(key) == observed.get(key)
            if no_event and version != self._cache.version_of(key):
                self._cache.drop(key)
            if not self._cache.is_settled(key, version):
                self._queue.add(key, patient=True)
        self._compare(namespace, found, observed)

    def _give_up(self, namespace: str, error: ApiError) -> None:
        """Report a namespace that cannot be listed once; what its watch misses is no news."""
        if namespace not in self._refused:
            log.warning("resync of %s: %s", namespace or "all namespaces", error)
        self._refused.add(namespace)
        for key in [key for key in self._missed if namespace in ("", key[0])]:
            del self._missed[key]

    def _compare(self, namespace: str, found: dict[Key, str], observed: dict[Key, str]) -> None:
        """Record the objects that differ, except those with an event since the list began."""
        now = asyncio.get_running_loop().time()
        for key, version in found.items():
            if self._observed.get(key) == observed.get(key) != version:
                self._missed.setdefault(key, now)
        known = self._observed.keys() | self._missed.keys()
        for key in {key for key in known if namespace in ("", key[0])} - found.keys():
            if self._observed.get(key) == observed.get(key):  # deleted unseen
                self._observed.pop(key, None)
                self._missed.pop(key, None)
        if not self._missed:
            self.last_heard = now

    async def _list(self, namespace: str) -> dict[Key, str]:
        path = urls.fine_tune_jobs(namespace)
        return {
            (item.metadata.namespace, item.metadata.name): item.metadata.resource_version
            async for page in self._client.pages(path, Unread, query={}, accept=METADATA_ONLY)
            for item in page.items
        }
