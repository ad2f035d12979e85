"""The queue and the backoff, in virtual time: minutes of timers take no time."""

import asyncio
import random
from collections.abc import Coroutine
from typing import Any

import looptime
import pytest
from finetune_operator.kube.workqueue import Backoff, WorkQueue
from hypothesis import given
from hypothesis import strategies as st


def in_virtual_time(main: Coroutine[Any, Any, None]) -> None:
    """Run to the end; waiting costs nothing."""
    loop = looptime.new_event_loop()
    try:
        loop.run_until_complete(main)
    finally:
        loop.close()


def now() -> float:
    return asyncio.get_running_loop().time()


async def taken(queue: WorkQueue[str], *, seconds: float) -> list[tuple[float, str]]:
    """Work for so long; return when each key came."""
    start, found = now(), []
    try:
        async with asyncio.timeout(seconds):
            while True:
                key = await queue.get()
                found.append((round(now() - start, 3), key))
                queue.done(key)
    except TimeoutError:
        return found


def test_key_that_is_added_twice_is_worked_on_once() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        queue.add("b")
        queue.add("a")
        assert len(queue) == 2
        assert await taken(queue, seconds=1) == [(0, "a"), (0, "b")]
        assert len(queue) == 0

    in_virtual_time(main())


def test_patient_key_comes_after_all_others_until_it_is_urgent_too() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        for key in ("old", "older", "oldest"):
            queue.add(key, patient=True)
        queue.add("new")
        queue.add("older")
        queue.add("new", patient=True)
        assert len(queue) == 4
        assert [key for _, key in await taken(queue, seconds=1)] == [
            "new",
            "older",
            "old",
            "oldest",
        ]
        assert len(queue) == 0

    in_virtual_time(main())


def test_key_that_becomes_urgent_while_it_is_worked_on_comes_before_patient_ones() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a", patient=True)
        assert await queue.get() == "a"
        queue.add("a", patient=True)
        queue.add("b", patient=True)
        queue.add("a")
        queue.done("a")
        assert [key for _, key in await taken(queue, seconds=1)] == ["a", "b"]

    in_virtual_time(main())


def test_key_that_is_added_while_it_is_worked_on_comes_once_more_and_only_after() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        assert await queue.get() == "a"
        queue.add("a")
        queue.add("a")
        assert await taken(queue, seconds=5) == []
        queue.done("a")
        assert await taken(queue, seconds=5) == [(0, "a")]

    in_virtual_time(main())


def test_earliest_of_several_times_holds() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add_after("a", 30)
        queue.add_after("a", 10)
        queue.add_after("a", 20)
        assert await taken(queue, seconds=100) == [(10, "a")]

    in_virtual_time(main())


def test_key_that_is_added_now_needs_its_timer_no_more() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add_after("a", 10)
        queue.add("a")
        assert await taken(queue, seconds=100) == [(0, "a")]
        queue.add_after("a", 30)
        assert await taken(queue, seconds=100) == [(30, "a")]

    in_virtual_time(main())


def test_superseded_timer_does_not_ring_for_the_one_that_replaced_it() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add_after("a", 10)
        queue.add("a")
        assert await queue.get() == "a"
        queue.add_after("a", 20)
        queue.done("a")
        assert await taken(queue, seconds=100) == [(20, "a")]

    in_virtual_time(main())


def test_timer_of_a_key_that_is_worked_on_rings_after_the_work() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add("a")
        await queue.get()
        queue.add_after("a", 1)
        await asyncio.sleep(5)
        queue.done("a")
        assert await taken(queue, seconds=5) == [(0, "a")]

    in_virtual_time(main())


def test_time_that_is_past_is_now() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        queue.add_after("a", -5)
        assert await taken(queue, seconds=5) == [(0, "a")]

    in_virtual_time(main())


def test_key_with_a_far_deadline_that_is_looked_at_for_days_does_not_pile_up_timers() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        for _ in range(2_000):
            queue.add_after("a", 1_000_000)
            queue.add("a")
            queue.done(await queue.get())
        assert len(queue._timers) < 100
        queue.add_after("a", 5)
        assert await taken(queue, seconds=10) == [(5, "a")]

    in_virtual_time(main())


OPERATIONS = st.lists(
    st.one_of(
        st.tuples(st.just("add"), st.sampled_from("abc"), st.just(0.0)),
        st.tuples(st.just("after"), st.sampled_from("abc"), st.sampled_from([0.0, 1.0, 2.5, 7.0])),
        st.tuples(st.just("sleep"), st.just(""), st.sampled_from([0.5, 1.0, 3.0])),
    ),
    max_size=20,
)


@given(operations=OPERATIONS, work_seconds=st.sampled_from([0.0, 0.7, 4.0]))
def test_no_key_is_with_two_workers_and_none_is_lost(
    operations: list[tuple[str, str, float]], work_seconds: float
) -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        active: set[str] = set()
        begun: dict[str, list[float]] = {"a": [], "b": [], "c": []}

        async def worker() -> None:
            while True:
                key = await queue.get()
                assert key not in active
                active.add(key)
                begun[key].append(now())
                await asyncio.sleep(work_seconds)
                active.discard(key)
                queue.done(key)

        workers = [asyncio.create_task(worker()) for _ in range(2)]
        wanted: list[tuple[str, float]] = []
        for kind, key, seconds in operations:
            if kind == "add":
                queue.add(key)
                wanted.append((key, now()))
            elif kind == "after":
                queue.add_after(key, seconds)
                wanted.append((key, now()))
            else:
                await asyncio.sleep(seconds)
        await asyncio.sleep(1000)
        for key, asked in wanted:  # the work began at or after the wish
            assert [start for start in begun[key] if start >= asked]
        assert len(queue) == 0
        for task in workers:
            assert not task.done()
            task.cancel()
        await asyncio.gather(*workers, return_exceptions=True)

    in_virtual_time(main())


class TestBackoff:
    @given(errors=st.integers(1, 200), seed=st.integers(0, 1000))
    def test_delay_grows_between_its_bounds(self, errors: int, seed: int) -> None:
        random.seed(seed)
        backoff: Backoff[str] = Backoff(first=0.5, most=60)
        delays = [backoff.next("a") for _ in range(errors)]
        for number, delay in enumerate(delays):
            whole = min(0.5 * 2**number, 60)
            assert 0.75 * whole <= delay <= whole

    def test_keys_do_not_wait_for_each_other_and_success_starts_over(self) -> None:
        backoff: Backoff[str] = Backoff(first=1, most=60)
        for _ in range(10):
            backoff.next("a")
        assert backoff.next("b") <= 1
        backoff.forget("a")
        assert backoff.next("a") <= 1
        backoff.forget("never seen")

    def test_herd_is_spread(self) -> None:
        backoff: Backoff[int] = Backoff()
        assert len({backoff.next(key) for key in range(20)}) > 10


def test_get_that_is_cancelled_loses_no_key() -> None:
    async def main() -> None:
        queue: WorkQueue[str] = WorkQueue()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(1):
                await queue.get()
        queue.add("a")
        assert await taken(queue, seconds=1) == [(0, "a")]

    in_virtual_time(main())


async def test_each_key_that_begins_to_wait_is_reported_and_how_long_it_did() -> None:
    added: list[None] = []
    waited: list[float] = []
    queue: WorkQueue[str] = WorkQueue(added=lambda: added.append(None), waited=waited.append)
    worker = asyncio.create_task(queue.get())
    await asyncio.sleep(0)
    queue.add("a")
    queue.add("a")
    assert (await worker, len(added)) == ("a", 1)
    queue.add("a")  # while it is worked on
    queue.add("a")
    assert (len(added), len(queue)) == (2, 1)
    await asyncio.sleep(0.05)
    queue.done("a")
    assert await queue.get() == "a"
    assert (len(added), len(queue)) == (2, 0)
    assert waited[0] < 0.04 < waited[1] < 5


async def test_wait_begins_with_the_first_worker() -> None:
    waited: list[float] = []
    queue: WorkQueue[str] = WorkQueue(waited=waited.append)
    queue.add("a")
    await asyncio.sleep(0.05)  # on a standby
    await queue.get()
    assert waited[0] < 0.04
