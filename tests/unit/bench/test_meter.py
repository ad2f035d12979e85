import pytest
from finetune_operator.metrics import Metrics
from finetune_operator.observe.cache import Cache

from bench.requests import Counts
from bench.scale import meter
from bench.scale.figures import REQUESTS, TOGETHER
from bench.scale.meter import Reading


def reading(at: float, page: str = "", **cpu: float) -> Reading:
    return Reading(at=at, cpu=cpu, answered=Counts({("POST", "jobs"): int(at)}), page=page)


def test_a_jobs_cost_is_that_of_the_operator_and_the_control_plane_alone() -> None:
    before, after = reading(0, etcd=1, kwok=0), reading(10, etcd=1.5, kwok=9)
    figures = meter.costs(before, after, jobs=10)
    assert figures["etcd, ms of CPU a job"] == figures[TOGETHER] == 50
    assert figures[REQUESTS] == 1


def test_the_cores_are_those_of_the_time_between_two_readings() -> None:
    before, after = reading(10, operator=1), reading(20, operator=6)
    assert meter.shares(before, after)["operator, cores"] == 0.5


async def test_the_wait_for_a_worker_is_that_between_two_readings() -> None:
    metrics = Metrics(Cache())
    pages = []
    for seconds in (100, 0.3):
        for _ in range(10):
            metrics.process.queue_seconds.observe(seconds)
        body, _ = await metrics.page("")
        pages.append(body.decode())
    ages = meter.queue_age(reading(0, pages[0]), reading(1, pages[1]))
    assert list(ages) == [f"wait for a worker {part}, s" for part in ("p50", "p95", "p99")]
    assert all(0.25 < age <= 0.5 for age in ages.values())


@pytest.mark.parametrize(("share", "value"), [(0.25, 0.5), (0.5, 1), (0.75, 1.5), (1, 2)])
def test_a_quantile_lies_on_a_line_within_its_bucket(share: float, value: float) -> None:
    assert meter.quantile({1: 2, 2: 4, float("inf"): 4}, share) == value


def test_a_quantile_beyond_the_last_limit_is_that_limit() -> None:
    assert meter.quantile({1: 2, float("inf"): 4}, 0.9) == 1
