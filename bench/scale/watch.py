"""When each object of a kind appeared, and when it was done, as a client sees it; and how it is."""

import asyncio
import datetime
import time
from collections.abc import Callable
from http import HTTPStatus

import aiohttp
import msgspec
from finetune_operator.api import constants as c

LONGEST_SECONDS = 3600


class Metadata(msgspec.Struct, frozen=True, rename="camel"):
    uid: str = ""
    name: str = ""
    namespace: str = ""
    labels: dict[str, str] = {}
    resource_version: str = ""


class Condition(msgspec.Struct, frozen=True):
    type: str
    status: str


class TrainerStatus(msgspec.Struct, frozen=True, rename="camel"):
    last_updated_time: datetime.datetime | None = None


class Status(msgspec.Struct, frozen=True, rename="camel"):
    conditions: tuple[Condition, ...] = ()
    phase: str = ""
    accuracy: str = ""
    trainer_status: TrainerStatus = TrainerStatus()
    address: str = msgspec.field(default="", name="podIP")


class Item(msgspec.Struct, frozen=True):
    metadata: Metadata
    status: Status = Status()


class Event(msgspec.Struct, frozen=True):
    type: str
    object: Item


DECODER = msgspec.json.Decoder(Event)


class Watch:
    """One watch of a path; the times are by uid, in the order in which they were met."""

    def __init__(self, path: str, *, named_by: str = "") -> None:
        """`named_by`: the label of what an object belongs to; those without are left out."""
        self._path = path
        self._query = {"watch": "true"} | ({"labelSelector": named_by} if named_by else {})
        self._named_by = named_by
        self._changed = asyncio.Event()
        self.appeared: dict[str, float] = {}
        self.done: dict[str, float] = {}
        self.latest: dict[str, Item] = {}
        """How each one is that there is, by uid."""
        self.first: dict[str, float] = {}
        """When the first one appeared that belongs to a name."""

    async def follow(self, session: aiohttp.ClientSession) -> None:
        """Record until cancelled; an object that failed ends the bench.

        A watch that ends is begun again, and first tells all that is there: the API server ends
        that of a slow client.
        """
        while True:
            await self._read(session)
            await asyncio.sleep(0.2)

    async def _read(self, session: aiohttp.ClientSession) -> None:
        """Record until the watch ends, or at once if a new kind cannot be watched yet."""
        async with session.get(self._path, params=self._query) as response:
            if response.status == HTTPStatus.TOO_MANY_REQUESTS:
                return
            response.raise_for_status()
            async for line in response.content:
                self._take(DECODER.decode(line))

    async def wait(self, is_so: Callable[[], bool]) -> None:
        """Wait until something is so, which changes with these objects alone."""
        async with asyncio.timeout(LONGEST_SECONDS):
            while not is_so():
                self._changed.clear()
                await self._changed.wait()

    async def until(self, times: dict[str, float], count: int) -> float:
        """Return the time of the object with which there are so many."""
        await self.wait(lambda: len(times) >= count)
        return list(times.values())[count - 1]

    def _take(self, event: Event) -> None:
        now, item = time.monotonic(), event.object
        true = {each.type for each in item.status.conditions if each.status == "True"}
        if event.type == "ERROR" or c.FAILED in true:
            raise RuntimeError(f"{self._path}: {event}")
        uid, labels = item.metadata.uid, item.metadata.labels
        self.appeared.setdefault(uid, now)
        self.first.setdefault(labels.get(self._named_by, item.metadata.name), now)
        self.latest[uid] = item
        if event.type == "DELETED":
            del self.latest[uid]
        if c.COMPLETE in true:
            self.done.setdefault(item.metadata.uid, now)
        self._changed.set()
