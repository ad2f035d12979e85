"""The series of each job: there while it is, on the leader alone, and no more than the limit."""

import logging
from typing import Any

import pytest
from finetune_operator.metrics import Metrics
from finetune_operator.observe.cache import Cache
from finetune_operator.observe.summary import Summary
from prometheus_client.parser import text_string_to_metric_families

Samples = dict[str, dict[str, Any]]
KEY = ("team", "photos")
EVERYTHING = Summary(
    uid="u",
    phase="Training",
    gpus=8,
    created=1.5e9,
    started=1.5e9,
    completed=1.5e9,
    waiting=1.5e9,
    progressed=1.5e9,
    saved=1.5e9,
    progress=0.4,
    remaining=600,
    epoch=3,
    train_loss=1e-7,
    train_accuracy=0.9,
    accuracy=0.8704,
    learning_rate=2e-05,
    images_per_second=212.4,
    data_wait=0.07,
    attempts=2,
    failures=1,
    disruptions=0,
)


@pytest.fixture
def cache() -> Cache:
    return Cache()


async def samples(metrics: Metrics) -> Samples:
    """The series of jobs: labels and value by name; each job has each name once."""
    body, _ = await metrics.page()
    found: Samples = {}
    for family in text_string_to_metric_families(body.decode()):
        for sample in family.samples:
            if "name" in sample.labels:
                key = f"{sample.labels['namespace']}/{sample.labels['name']}"
                series = found.setdefault(key, {})
                name = sample.name.removeprefix("finetune_job_")
                assert name not in series
                series[name] = sample.labels if name == "info" else sample.value
    return found


async def test_job_has_a_series_for_each_figure(cache: Cache) -> None:
    cache.jobs[KEY] = EVERYTHING
    series = (await samples(Metrics(cache)))["team/photos"]
    assert series.pop("info")["phase"] == "Training"
    assert series == {
        "gpus": 8,
        "created_timestamp_seconds": 1.5e9,
        "start_timestamp_seconds": 1.5e9,
        "completion_timestamp_seconds": 1.5e9,
        "waiting_timestamp_seconds": 1.5e9,
        "progress_timestamp_seconds": 1.5e9,
        "checkpoint_timestamp_seconds": 1.5e9,
        "progress_ratio": 0.4,
        "remaining_seconds": 600,
        "epoch": 3,
        "train_loss": 1e-7,
        "train_accuracy": 0.9,
        "accuracy": 0.8704,
        "learning_rate": 2e-05,
        "images_per_second": 212.4,
        "data_wait_ratio": 0.07,
        "attempts": 2,
        "failures": 1,
        "disruptions": 0,
    }


async def test_figure_that_a_job_does_not_have_is_left_out(cache: Cache) -> None:
    cache.jobs[KEY] = Summary(uid="u")
    series = (await samples(Metrics(cache)))["team/photos"]
    assert series.keys() == {"info", "gpus", "attempts", "failures", "disruptions"}


async def test_series_of_a_job_vanish_with_it(cache: Cache) -> None:
    metrics = Metrics(cache)
    cache.jobs[KEY] = EVERYTHING
    assert await samples(metrics)
    cache.forget(KEY)
    assert await samples(metrics) == {}


async def test_standby_has_no_series_of_jobs(cache: Cache) -> None:
    cache.jobs[KEY] = EVERYTHING
    metrics = Metrics(cache, leading=lambda: False, job_limit=0)
    assert await samples(metrics) == {}
    assert metrics.registry.get_sample_value("finetune_operator_jobs_without_series") == 0


async def test_info_says_what_is_trained_whatever_it_is_called(cache: Cache) -> None:
    labels = {
        "phase": "Starting",
        "reason": "Unschedulable",
        "recipe": "full",
        "model": 'a "model"\\n\nof mine',
        "queue": "",
        "dataset": "0123456789ab",
    }
    cache.jobs[KEY] = Summary(uid="u", **labels)  # type: ignore[arg-type]
    series = (await samples(Metrics(cache)))["team/photos"]
    assert series["info"] == {"namespace": "team", "name": "photos", **labels}


async def test_unfinished_jobs_come_first_and_then_the_newest(cache: Cache) -> None:
    for name, created, finished in (
        ("new", 9, True),
        ("old", 1, True),
        ("newer", 8, True),
        ("runs", 0, False),
    ):
        phase = "Complete" if finished else "Training"
        cache.jobs["team", name] = Summary(
            uid=name, phase=phase, finished=finished, created=created
        )
    metrics = Metrics(cache, job_limit=3)
    assert (await samples(metrics)).keys() == {"team/runs", "team/new", "team/newer"}
    assert metrics.registry.get_sample_value("finetune_operator_jobs_without_series") == 1
    labels = {"namespace": "team", "phase": "Complete"}
    assert metrics.registry.get_sample_value("finetune_jobs", labels) == 3


async def test_limit_is_logged_when_it_is_reached_and_when_it_is_over(
    cache: Cache, caplog: pytest.LogCaptureFixture
) -> None:
    metrics = Metrics(cache, job_limit=1)
    with caplog.at_level(logging.INFO):
        for count in (1, 2, 3, 1, 1):
            cache.jobs = {("team", f"job-{n}"): EVERYTHING for n in range(count)}
            await metrics.page()
    reached, over = caplog.messages
    assert "1 FineTuneJobs have no metrics of their own" in reached
    assert "METRICS_JOB_LIMIT is 1" in reached
    assert over == "all FineTuneJobs have metrics of their own again"
