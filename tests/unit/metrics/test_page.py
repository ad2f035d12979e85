"""The page that Prometheus scrapes, in the formats that it may ask for."""

import asyncio
import re

import pytest
from finetune_operator.metrics import Metrics
from finetune_operator.observe.cache import Cache
from finetune_operator.observe.summary import Summary
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import (
    text_string_to_metric_families as parse_openmetrics,
)
from prometheus_client.parser import text_string_to_metric_families

OPENMETRICS = "application/openmetrics-text;version=1.0.0;q=0.5,text/plain;version=0.0.4;q=0.2"


@pytest.fixture
def metrics() -> Metrics:
    cache = Cache()
    for number in range(3):
        cache.jobs["team", f"job-{number}"] = Summary(uid="u", accuracy=0.5, model='"\\')
    metrics = Metrics(cache)
    metrics.totals.completed.labels("team").inc()
    metrics.process.count_request("list", "pods", 200, 0.1)
    return metrics


def samples(families: list[Metric]) -> dict[tuple[str, str], float]:
    return {
        (sample.name, str(sorted(sample.labels.items()))): sample.value
        for family in families
        for sample in family.samples
        if sample.name.startswith("finetune")
    }


async def test_both_formats_have_the_same_series(metrics: Metrics) -> None:
    text, text_type = await metrics.page()
    other, other_type = await metrics.page(OPENMETRICS)
    assert text_type.startswith("text/plain; version=0.0.4")
    assert other_type.startswith("application/openmetrics-text; version=1.0.0")
    found = samples(list(text_string_to_metric_families(text.decode())))
    parsed = parse_openmetrics(other.decode())  # type: ignore[no-untyped-call]
    assert found == samples(list(parsed))
    assert found.keys() >= {("finetune_jobs_completed_total", "[('namespace', 'team')]")}
    assert other.endswith(b"\n# EOF\n")
    assert other.count(b"# EOF") == 1
    assert b"# EOF" not in text
    assert b"# TYPE finetune_job info\n" in other
    assert b"# TYPE finetune_job_info gauge\n" in text


async def test_each_family_is_described_once(metrics: Metrics) -> None:
    for accept in ("", OPENMETRICS):
        body, _ = await metrics.page(accept)
        names = re.findall(rb"^# TYPE (\S+)", body, re.MULTILINE)
        assert len(names) == len(set(names)) > 50
        assert re.findall(rb"^# HELP (\S+) \S", body, re.MULTILINE) == names


async def test_other_work_goes_on_while_the_page_is_written(metrics: Metrics) -> None:
    page = asyncio.create_task(metrics.page())
    turns = 0
    while not page.done():
        turns += 1
        await asyncio.sleep(0)
    assert turns > 10


async def test_page_is_of_one_moment(metrics: Metrics) -> None:
    page = asyncio.create_task(metrics.page())
    await asyncio.sleep(0)
    metrics.series._cache.jobs.clear()
    body, _ = await page
    assert body.count(b'name="job-2"') == 6
