"""A keyed work queue with the semantics of client-go: no two workers get the same key at the same
time, and a key that is added while a worker has it is handed out once more.
https://github.com/kubernetes/client-go/tree/master/util/workqueue
"""

import asyncio
import heapq
import itertools
import math
import random
import time
from collections.abc import Callable
from typing import Generic, NamedTuple, TypeVar

K = TypeVar("K")


class _Turn(NamedTuple):
    """The place of a key in the queue: what can wait comes after all that cannot."""

    patient: bool
    order: int


class WorkQueue(Generic[K]):
    """Keys that wait for a worker, now or from a later time of the loop's clock.

    A key that was added as `patient` is handed out once no other one waits. So what has just
    changed comes before all that a list has found, as in controller-runtime's queue.
    """

    def __init__(
        self,
        *,
        added: Callable[[], object] = lambda: None,
        waited: Callable[[float], object] = lambda _: None,
    ) -> None:
        """`added` is called for each key that begins to wait, `waited` with the seconds it did."""
        self._on_add = added
        self._on_get = waited
        self._ready: asyncio.PriorityQueue[tuple[_Turn, K]] = asyncio.PriorityQueue()
        self._turns: dict[K, _Turn] = {}  # the entry of each waiting key in _ready that counts
        self._waiting: dict[K, float] = {}  # when it was added; in _ready, unless it is active
        self._active: set[K] = set()
        self._opened = math.inf  # when the first worker came
        self._due: dict[K, tuple[float, int]] = {}  # the timer of each key that counts
        self._timers: list[tuple[tuple[float, int], K]] = []
        self._order = itertools.count()
        self._alarm: asyncio.TimerHandle | None = None

    def add(self, key: K, *, patient: bool = False) -> None:
        """Hand the key out as soon as a worker is free; a patient one, once no other waits."""
        self._due.pop(key, None)
        if key not in self._waiting:
            self._waiting[key] = time.monotonic()
            self._on_add()
        elif patient or not self._turns[key].patient:
            return
        turn = self._turns[key] = _Turn(patient, next(self._order))
        if key not in self._active:
            self._ready.put_nowait((turn, key))

    def add_after(self, key: K, seconds: float) -> None:
        """Hand the key out in `seconds` at the latest; the earliest of several times counts."""
        due = asyncio.get_running_loop().time() + max(seconds, 0), next(self._order)
        if key not in self._due or due < self._due[key]:
            self._due[key] = due
            heapq.heappush(self._timers, (due, key))
            self._drop_superseded()
            self._set_alarm()

    async def get(self) -> K:
        """Wait for a key; the caller must call done() with it.

        A standby has no workers, and its keys wait for none: their time begins with the first.
        """
        self._opened = min(self._opened, time.monotonic())
        turn, key = await self._ready.get()
        while self._turns.get(key) != turn:  # it was added again, and has had its turn
            turn, key = await self._ready.get()
        del self._turns[key]
        self._on_get(time.monotonic() - max(self._waiting.pop(key), self._opened))
        self._active.add(key)
        return key

    def done(self, key: K) -> None:
        """Take a key back from its worker; it waits again if it was added meanwhile."""
        self._active.discard(key)
        if key in self._waiting:
            self._due.pop(key, None)
            self._ready.put_nowait((self._turns[key], key))

    def __len__(self) -> int:
        """Return the number of keys that wait for a worker."""
        return len(self._waiting)

    def _set_alarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm = None
        if self._timers:
            self._alarm = asyncio.get_running_loop().call_at(self._timers[0][0][0], self._ring)

    def _drop_superseded(self) -> None:
        """Bound the heap: a key with a far deadline is added again and again."""
        if len(self._timers) > 2 * len(self._due) + 64:
            self._timers = [(due, key) for due, key in self._timers if self._due.get(key) == due]
            heapq.heapify(self._timers)

    def _ring(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._timers and self._timers[0][0][0] <= now:
            due, key = heapq.heappop(self._timers)
            if self._due.get(key) == due:  # else it was superseded
                self.add(key)
        self._set_alarm()


class Backoff(Generic[K]):
    """The delay after errors of a key: doubled from `first` to `most` seconds, with jitter."""

    def __init__(self, *, first: float = 0.5, most: float = 60) -> None:
        self._first = first
        self._most = most
        self._errors: dict[K, int] = {}

    def next(self, key: K) -> float:
        """Return the seconds to wait after one more error of the key."""
        errors = self._errors[key] = self._errors.get(key, 0) + 1
        delay = min(self._first * 2.0 ** min(errors - 1, 30), self._most)
        return delay * random.uniform(0.75, 1.0)

    def forget(self, key: K) -> None:
        """Forget the errors of the key."""
        self._errors.pop(key, None)
