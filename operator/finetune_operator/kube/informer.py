"""List and watch one kind of child object, decoded into slim structs.

Each list also reports what was deleted while no watch ran, so the cache keeps no deleted object. An
idle watch is closed and resumed. kopf's watch reports no such deletions and keeps whole objects in
memory: docs/design/20261124-watching.md.
"""

import asyncio
import logging
import math
from collections.abc import Callable, Iterable
from typing import Generic, TypeVar

import msgspec

from finetune_operator.api.kubernetes import Job, Pod, Unread
from finetune_operator.kube import urls
from finetune_operator.kube.client import ApiError, Client, Forbidden, Gone, NotFound
from finetune_operator.kube.workqueue import Backoff

T = TypeVar("T", bound=Job | Pod)
SHORT_SECONDS = 10.0  # a watch that ends sooner has failed
WATCH_IDLE_SECONDS = 90.0
"""Time without an event after which a watch is closed; a bookmark comes each minute
(https://kep.k8s.io/956)."""
log = logging.getLogger(__name__)


def watch_idle_seconds(lasts: float) -> float:
    """Return the seconds without an event after which a watch is closed that the API server ends
    after `lasts` seconds: it is given the time to do so.
    """
    return min(WATCH_IDLE_SECONDS, 1.5 * lasts)


class _Line(msgspec.Struct):
    type: str
    object: msgspec.Raw


class _Status(msgspec.Struct):
    code: int = 0
    message: str = ""


class Informer(Generic[T]):
    """Calls `observe(object, deleted=..., listed=...)` for every change of an object of one kind.

    `known` returns the objects in the cache. Those that a list does not contain are reported as
    deleted, whoever put them into the cache. `watch_failed` is called when a watch that had begun
    ends by an error.
    """

    def __init__(
        self,
        client: Client,
        path: str,
        kind: type[T],
        *,
        selector: str,
        observe: Callable[..., None],
        known: Callable[[], Iterable[T]],
        relist_seconds: float = 300,
        watch_failed: Callable[[], object] = lambda: None,
    ) -> None:
        self._client = client
        self._path = path
        self._kind = kind
        self._decoder = msgspec.json.Decoder(kind)
        self._query = {"labelSelector": selector}
        self._observe = observe
        self._known = known
        self._relist_seconds = relist_seconds
        self._watch_failed = watch_failed
        self._listed = 0.0
        self._version = ""
        self.resource = urls.verb_and_resource("GET", path, {})[1]
        self.synced = asyncio.Event()
        """Set once the first list is complete."""
        self.problem = ""
        """The last error of a list, or refusal of a watch, until a list succeeds."""
        self.last_heard = -math.inf
        """The loop time of the last list, watch event or refusal; at first of the start."""

    async def run(self) -> None:
        """List and watch for ever, with a backoff after errors and after short watches."""
        backoff: Backoff[str] = Backoff(first=0.5, most=30)
        loop = asyncio.get_running_loop()
        self._heard()
        while True:
            start, least = loop.time(), 0.0
            try:
                self._version = self._version or await self._list()
                await self._watch()
            except Gone:
                self._version = ""
            except (ApiError, msgspec.DecodeError) as error:
                least = getattr(error, "retry_after", None) or 0.0
                self._report(error)
            if loop.time() - start >= min(SHORT_SECONDS, self._relist_seconds):
                backoff.forget(self._path)
            if loop.time() - self._listed >= self._relist_seconds:
                self._version = ""
            await asyncio.sleep(max(backoff.next(self._path), least))

    async def _list(self) -> str:
        """Read all pages; report what changed, and as deleted what is not listed any more."""
        seen: set[str] = set()
        known = {each.metadata.uid: each.metadata.resource_version for each in self._known()}
        version = ""
        async for page in self._client.pages(self._path, msgspec.Raw, query=self._query):
            self._heard()
            for item in map(self._decode, page.items):
                seen.add(item.metadata.uid)
                is_new = known.get(item.metadata.uid) != item.metadata.resource_version
                if is_new and isinstance(item, self._kind):
                    self._observe(item, deleted=False, listed=True)
            version = page.metadata.resource_version
        for item in [item for item in self._known() if item.metadata.uid not in seen]:
            self._observe(item, deleted=True, listed=True)
        self._listed = asyncio.get_running_loop().time()
        self._recover()
        self.synced.set()
        return version

    async def _watch(self) -> None:
        """Report the changes since the last resource version."""
        query = {
            **self._query,
            "resourceVersion": self._version,
            "allowWatchBookmarks": "true",
            "timeoutSeconds": f"{self._relist_seconds:.0f}",
        }
        idle_seconds = watch_idle_seconds(self._relist_seconds)
        async with self._client.watch(self._path, query=query, idle_seconds=idle_seconds) as lines:
            try:
                async for text in lines:
                    self._take(text)
            except (ApiError, msgspec.DecodeError):
                self._watch_failed()
                raise

    def _take(self, text: bytes) -> None:
        """Report the change that one line of a watch is."""
        self._heard()
        line = msgspec.json.decode(text, type=_Line)
        if line.type == "ERROR":
            status = msgspec.json.decode(line.object, type=_Status)
            raise (Gone if status.code == 410 else ApiError)(status.message, status=status.code)
        if line.type == "BOOKMARK":
            bookmark = msgspec.json.decode(line.object, type=Unread)
            self._version = bookmark.metadata.resource_version
            return
        item = self._decode(line.object)
        self._version = item.metadata.resource_version
        if isinstance(item, self._kind):
            self._observe(item, deleted=line.type == "DELETED", listed=False)

    def _decode(self, body: msgspec.Raw) -> T | Unread:
        """Decode one object; one that cannot be decoded is left out, and harms no other."""
        try:
            return self._decoder.decode(body)
        except msgspec.ValidationError as error:
            unread = msgspec.json.decode(body, type=Unread)
            name = f"{unread.metadata.namespace}/{unread.metadata.name}"
            log.error("%s %s cannot be read: %s", self._kind.__name__, name, error)
            return unread

    def _report(self, error: Exception) -> None:
        """Log the error; if it hinders a list, keep it, and log it once, not at each try."""
        if isinstance(error, Forbidden | NotFound):  # the server is there, the namespace is not
            self._heard()
            self._version = ""
        if str(error) != self.problem:
            log.warning("watch of %s: %s", self._path, error)
        if not self._version:
            self.problem = str(error)

    def _recover(self) -> None:
        if self.problem:
            log.info("watch of %s: it works again", self._path)
        self.problem = ""

    def _heard(self) -> None:
        self.last_heard = asyncio.get_running_loop().time()
