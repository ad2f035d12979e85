import time
from collections.abc import Iterator

from finetune_trainer.fit.stall import Stall


def slow_batches() -> Iterator[int]:
    for number in range(3):
        time.sleep(0.02)
        yield number
    time.sleep(0.02)  # the wait for the end counts, too


def test_the_time_until_a_batch_is_there_counts_and_the_loops_own_does_not() -> None:
    stall, received, began = Stall(), [], time.perf_counter()
    for batch in stall.watch(slow_batches()):
        received.append(batch)
        time.sleep(0.05)
    assert received == [0, 1, 2]
    assert 0.08 <= stall.seconds <= time.perf_counter() - began - 0.15
