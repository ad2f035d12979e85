"""When each object of a kind appeared, and when it was done, as a client sees it."""

import asyncio
import time
from http import HTTPStatus

import aiohttp
import msgspec
from finetune_operator.api import constants as c

LONGEST_SECONDS = 3600


class Metadata(msgspec.Struct, frozen=True):
    uid: str = ""


class Condition(msgspec.Struct, frozen=True):
    type: str
    status: str


class Status(msgspec.Struct, frozen=True):
    conditions: tuple[Condition, ...] = ()


class Item(msgspec.Struct, frozen=True):
    metadata: Metadata
    status: Status = Status()


class Event(msgspec.Struct, frozen=True):
    type: str
    object: Item


DECODER = msgspec.json.Decoder(Event)


class Watch:
    """One watch of a path; the times are in the order in which they were met."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._changed = asyncio.Event()
        self.appeared: dict[str, float] = {}
        self.done: dict[str, float] = {}

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
        async with session.get(self._path, params={"watch": "true"}) as response:
            if response.status == HTTPStatus.TOO_MANY_REQUESTS:
                return
            response.raise_for_status()
            async for line in response.content:
                self._take(DECODER.decode(line))

    async def until(self, times: dict[str, float], count: int) -> float:
        """Return the time of the object with which there are so many."""
        async with asyncio.timeout(LONGEST_SECONDS):
            while len(times) < count:
                self._changed.clear()
                await self._changed.wait()
        return list(times.values())[count - 1]

    def _take(self, event: Event) -> None:
        now, item = time.monotonic(), event.object
        true = {each.type for each in item.status.conditions if each.status == "True"}
        if event.type == "ERROR" or c.FAILED in true:
            raise RuntimeError(f"{self._path}: {event}")
        self.appeared.setdefault(item.metadata.uid, now)
        if c.COMPLETE in true:
            self.done.setdefault(item.metadata.uid, now)
        self._changed.set()
