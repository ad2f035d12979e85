"""How long a training loop waits for its batches: what a faster reader could win."""

import dataclasses
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


@dataclasses.dataclass
class Stall:
    """The time in which a loop had nothing to do."""

    seconds: float = 0.0

    def watch(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the batches, and count the time until each of them is there."""
        rest = iter(batches)
        while True:
            began = time.perf_counter()
            try:
                batch = next(rest)
            except StopIteration:
                return
            finally:
                self.seconds += time.perf_counter() - began
            yield batch
