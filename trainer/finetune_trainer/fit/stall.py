"""Time that a training loop waits for its batches: a faster reader could save it."""

import dataclasses
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


@dataclasses.dataclass
class Stall:
    """The time that a loop has waited for batches."""

    seconds: float = 0.0

    def watch(self, batches: Iterable[T]) -> Iterator[T]:
        """Yield the batches, and add up the time that each takes to arrive."""
        source = iter(batches)
        while True:
            began = time.perf_counter()
            try:
                batch = next(source)
            except StopIteration:
                return
            finally:
                self.seconds += time.perf_counter() - began
            yield batch
