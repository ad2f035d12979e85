"""Workers in virtual time: what comes again, when, and what never stops them."""

import asyncio
import itertools
import logging
from collections.abc import Callable

import looptime
import pytest
from finetune_operator.kube.client import Conflict, Unavailable
from finetune_operator.kube.workqueue import WorkQueue
from finetune_operator.metrics import Metrics
from finetune_operator.observe.cache import Cache, Key
from finetune_operator.workers import Workers

KEY = ("team", "photos")


def starts(
    answer: Callable[[int], float | None], *, seconds: float, busy_seconds: float = 0
) -> tuple[list[float], Metrics]:
    """Queue one key, work for so long; return when it was worked on.

    `answer` gets the number of the pass; it returns what reconcile does, or raises.
    """
    found: list[float] = []
    queue: WorkQueue[Key] = WorkQueue()
    metrics = Metrics(Cache())

    async def reconcile(key: Key) -> float | None:
        found.append(asyncio.get_running_loop().time())
        await asyncio.sleep(busy_seconds)
        return answer(len(found))

    async def main() -> None:
        queue.add(KEY)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(seconds):
                await Workers(queue, reconcile, metrics.process).run(2)

    loop = looptime.new_event_loop()
    try:
        loop.run_until_complete(main())
    finally:
        loop.close()
    return found, metrics


def results(metrics: Metrics) -> dict[str, float | None]:
    name = "finetune_operator_reconciles_total"
    return {
        result: metrics.registry.get_sample_value(name, {"result": result})
        for result in ("success", "conflict", "error")
    }


def value(metrics: Metrics, series: str) -> float | None:
    return metrics.registry.get_sample_value(f"finetune_operator_{series}")


def failing(error: Exception, *, times: int) -> Callable[[int], float | None]:
    def answer(number: int) -> float | None:
        if number <= times:
            raise error
        return None

    return answer


def test_key_comes_again_when_the_reconcile_says_so() -> None:
    found, metrics = starts(lambda number: 10 if number < 3 else None, seconds=100)
    assert [round(start) for start in found] == [0, 10, 20]
    assert results(metrics)["success"] == 3
    assert value(metrics, "workqueue_retries_total") == 0
    assert value(metrics, "workqueue_work_duration_seconds_count") == 3


def test_conflict_is_tried_again_soon_and_is_no_error() -> None:
    found, metrics = starts(failing(Conflict("changed", status=409), times=1), seconds=100)
    assert len(found) == 2
    assert found[1] <= 0.5
    assert results(metrics) == {"success": 1, "conflict": 1, "error": 0}
    assert value(metrics, "workqueue_retries_total") == 1


def test_api_server_that_asks_for_time_gets_it() -> None:
    error = Unavailable("busy", status=429, retry_after=30)
    found, metrics = starts(failing(error, times=1), seconds=100)
    assert [round(start) for start in found] == [0, 30]
    assert results(metrics) == {"success": 1, "conflict": 0, "error": 1}


def test_bug_is_logged_and_tried_again_ever_more_rarely(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with caplog.at_level(logging.ERROR):
        found, metrics = starts(failing(ValueError("a bug"), times=99), seconds=600)
    pauses = [after - before for before, after in itertools.pairwise(found)]
    assert len(found) < 25
    assert 45 <= pauses[-1] <= 60
    assert results(metrics)["error"] == value(metrics, "workqueue_retries_total") == len(found)
    assert "a bug" in caplog.text


def test_success_starts_the_backoff_over() -> None:
    def answer(number: int) -> float | None:
        if number == 5:
            return 0
        raise ValueError

    found, _ = starts(answer, seconds=8)
    assert found[6] - found[5] <= 0.5


def test_what_is_worked_on_for_too_long_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    async def main() -> None:
        queue: WorkQueue[Key] = WorkQueue()

        async def hang(key: Key) -> None:
            await asyncio.sleep(1000)

        workers = Workers(queue, hang, Metrics(Cache()).process)
        task = asyncio.create_task(workers.run(1))
        assert (workers.stuck(), workers.longest_running()) == ("", 0)
        queue.add(KEY)
        await asyncio.sleep(0.05)
        assert 0.02 < workers.longest_running() < 5
        assert workers.stuck() == ""
        monkeypatch.setattr("finetune_operator.workers.STUCK_SECONDS", 0.01)
        assert workers.stuck() == "stuck: team/photos"
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        assert workers.stuck() == ""

    asyncio.run(main())
