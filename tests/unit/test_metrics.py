"""What Prometheus scrapes: gauges of what is true now, counters of what this process wrote."""

from typing import Any

import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Condition
from finetune_operator.api.types import AttemptRecord
from finetune_operator.metrics import Metrics
from finetune_operator.observe.cache import Cache, Summary
from prometheus_client import generate_latest

from tests.support.builders import NOW, make_status


@pytest.fixture
def cache() -> Cache:
    return Cache()


@pytest.fixture
def metrics(cache: Cache) -> Metrics:
    return Metrics(cache, queue_depth=lambda: 3)


def summary(**fields: Any) -> Summary:
    return Summary(
        **{"uid": "u", "phase": "Training", "accuracy": "", "progress_percentage": None}
        | {"attempts": 1}
        | fields
    )


def value(metrics: Metrics, series: str, /, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(series, labels)


def page(metrics: Metrics) -> str:
    return generate_latest(metrics.registry).decode()


def test_series_of_a_job_are_there_while_it_is_and_vanish_with_it(
    cache: Cache, metrics: Metrics
) -> None:
    labels = {"namespace": "team", "name": "photos"}
    cache.jobs["team", "photos"] = summary(
        phase="Complete", accuracy="0.8704", progress_percentage=100, attempts=2
    )
    assert value(metrics, "finetune_job_accuracy", **labels) == 0.8704
    assert value(metrics, "finetune_job_progress_ratio", **labels) == 1
    assert value(metrics, "finetune_job_attempts", **labels) == 2
    assert value(metrics, "finetune_jobs", namespace="team", phase="Complete") == 1
    del cache.jobs["team", "photos"]
    assert "photos" not in page(metrics)


def test_job_without_an_accuracy_has_no_such_series(cache: Cache, metrics: Metrics) -> None:
    cache.jobs["team", "photos"] = summary(phase="")
    assert "finetune_job_accuracy{" not in page(metrics)
    assert "finetune_job_progress_ratio{" not in page(metrics)
    assert value(metrics, "finetune_jobs", namespace="team", phase="Pending") == 1


def test_job_has_its_phase_in_a_series_and_the_time_that_is_left(
    cache: Cache, metrics: Metrics
) -> None:
    labels = {"namespace": "team", "name": "photos"}
    cache.jobs["team", "photos"] = summary(phase="Starting")
    assert value(metrics, "finetune_job_info", **labels, phase="Starting") == 1
    assert value(metrics, "finetune_job_remaining_seconds", **labels) is None
    cache.jobs["team", "photos"] = summary(remaining_seconds=600)
    assert value(metrics, "finetune_job_info", **labels, phase="Starting") is None
    assert value(metrics, "finetune_job_info", **labels, phase="Training") == 1
    assert value(metrics, "finetune_job_remaining_seconds", **labels) == 600


def test_phases_are_counted_with_their_zeros(cache: Cache, metrics: Metrics) -> None:
    for number, phase in enumerate(["Training", "Training", "Failed"]):
        cache.jobs["team", f"job-{number}"] = summary(phase=phase)
    cache.jobs["other", "job"] = summary(phase="Queued")
    counts = {
        phase: value(metrics, "finetune_jobs", namespace="team", phase=phase)
        for phase in ("Training", "Failed", "Complete", "Queued")
    }
    assert counts == {"Training": 2, "Failed": 1, "Complete": 0, "Queued": 0}


def test_counters_count_transitions_and_not_reconciles(metrics: Metrics) -> None:
    record = AttemptRecord(number=1, reason=c.COMPLETE, end_time=NOW)
    running = make_status(phase="Training")
    complete = make_status(phase="Complete", history=(record,))
    metrics.count("team", running, complete)
    metrics.count("team", complete, complete)
    assert value(metrics, "finetune_jobs_completed_total", namespace="team") == 1
    assert value(metrics, "finetune_attempts_total", namespace="team", reason="Complete") == 1


def test_failures_are_counted_by_the_reason_of_the_condition(metrics: Metrics) -> None:
    condition = Condition(type=c.FAILED, status="True", reason=c.DEADLINE_EXCEEDED)
    failed = make_status(phase="Failed", conditions=(condition,))
    metrics.count("team", make_status(phase="Training"), failed)
    labels = {"namespace": "team", "reason": c.DEADLINE_EXCEEDED}
    assert value(metrics, "finetune_jobs_failed_total", **labels) == 1


def test_attempts_are_counted_though_history_is_full(metrics: Metrics) -> None:
    def history(first: int) -> tuple[AttemptRecord, ...]:
        return tuple(
            AttemptRecord(number=number, reason=c.STALLED, end_time=NOW)
            for number in range(first, first + 10)
        )

    metrics.count("team", make_status(history=history(1)), make_status(history=history(2)))
    assert value(metrics, "finetune_attempts_total", namespace="team", reason=c.STALLED) == 1


def test_jobs_that_cannot_be_read_are_counted(cache: Cache, metrics: Metrics) -> None:
    assert value(metrics, "finetune_operator_unreadable_jobs") == 0
    cache.unreadable["team", "photos"] = "7"
    assert value(metrics, "finetune_operator_unreadable_jobs") == 1


def test_queue_depth_is_read_when_scraped(metrics: Metrics) -> None:
    assert value(metrics, "finetune_operator_queue_depth") == 3
