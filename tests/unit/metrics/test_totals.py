"""Metrics of the jobs together: how many there are now, and counters of what this process wrote."""

import datetime
from typing import Any

import msgspec
import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Condition
from finetune_operator.api.types import AttemptRecord, FineTuneJob, Status
from finetune_operator.metrics import Metrics
from finetune_operator.observe.cache import Cache
from finetune_operator.observe.summary import Summary

from tests.support.builders import NOW, later, make_job, make_status


@pytest.fixture
def cache() -> Cache:
    return Cache()


@pytest.fixture
def metrics(cache: Cache) -> Metrics:
    return Metrics(cache)


def value(metrics: Metrics, series: str, /, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(series, labels)


def job(status: Status) -> FineTuneJob:
    found = make_job(status)
    metadata = msgspec.structs.replace(found.metadata, creation_timestamp=NOW)
    return msgspec.structs.replace(found, metadata=metadata)


def count(metrics: Metrics, old: Status, new: Status, now: datetime.datetime = NOW) -> None:
    metrics.totals.count(job(old), new, now)


def observed(metrics: Metrics, name: str, **labels: str) -> tuple[Any, Any]:
    """How many were observed, and their sum."""
    return tuple(  # type: ignore[return-value]
        value(metrics, f"finetune_job_{name}_seconds_{part}", namespace="team", **labels)
        for part in ("count", "sum")
    )


def test_phases_are_counted_with_their_zeros(cache: Cache, metrics: Metrics) -> None:
    for number, phase in enumerate(["Training", "Training", "Failed"]):
        cache.jobs["team", f"job-{number}"] = Summary(uid="u", phase=phase)
    cache.jobs["other", "job"] = Summary(uid="u", phase="Queued")
    counts = {
        phase: value(metrics, "finetune_jobs", namespace="team", phase=phase)
        for phase in ("Training", "Failed", "Complete", "Queued")
    }
    assert counts == {"Training": 2, "Failed": 1, "Complete": 0, "Queued": 0}


def test_counters_count_transitions_and_not_reconciles(metrics: Metrics) -> None:
    record = AttemptRecord(number=1, reason=c.COMPLETE, end_time=NOW)
    running = make_status(phase="Training")
    complete = make_status(phase="Complete", history=(record,), completion_time=later(5400))
    count(metrics, running, complete)
    count(metrics, complete, complete)
    assert value(metrics, "finetune_jobs_completed_total", namespace="team") == 1
    assert value(metrics, "finetune_attempts_total", namespace="team", reason="Complete") == 1
    assert observed(metrics, "run", result="complete") == (1, 5400)
    assert observed(metrics, "run", result="failed") == (None, None)


def test_failures_are_counted_by_the_reason_of_the_condition(metrics: Metrics) -> None:
    condition = Condition(type=c.FAILED, status="True", reason=c.DEADLINE_EXCEEDED)
    failed = make_status(phase="Failed", conditions=(condition,), completion_time=later(60))
    count(metrics, make_status(phase="Training"), failed)
    labels = {"namespace": "team", "reason": c.DEADLINE_EXCEEDED}
    assert value(metrics, "finetune_jobs_failed_total", **labels) == 1
    assert observed(metrics, "run", result="failed") == (1, 60)


def test_attempts_are_counted_though_history_is_full(metrics: Metrics) -> None:
    def history(first: int) -> tuple[AttemptRecord, ...]:
        return tuple(
            AttemptRecord(number=number, reason=c.STALLED, end_time=NOW)
            for number in range(first, first + 10)
        )

    count(metrics, make_status(history=history(1)), make_status(history=history(2)))
    assert value(metrics, "finetune_attempts_total", namespace="team", reason=c.STALLED) == 1


def test_wait_in_a_queue_is_observed_when_it_ends(metrics: Metrics) -> None:
    not_ready = Condition(
        type=c.PODS_READY, status="False", reason=c.QUEUED, last_transition_time=later(100)
    )
    queued = make_status(attempt=1, phase="Queued", conditions=(not_ready,))
    starting = make_status(attempt=1, phase="Starting", conditions=(not_ready,))
    count(metrics, queued, msgspec.structs.replace(queued, attempts=1), later(300))
    assert observed(metrics, "queue_wait") == (None, None)
    count(metrics, queued, starting, later(400))
    count(metrics, starting, make_status(attempt=1, phase="Training"), later(500))
    assert observed(metrics, "queue_wait") == (1, 300)


def test_time_to_the_first_step_is_observed_once_whatever_comes_after(metrics: Metrics) -> None:
    starting = make_status(attempt=1, phase="Starting")
    first = make_status(attempt=1, phase="Training", fit_start_time=later(42))
    second = make_status(attempt=2, phase="Starting", fit_start_time=later(42))
    again = make_status(attempt=2, phase="Training", fit_start_time=later(42))
    for old, new in ((starting, first), (first, second), (second, again)):
        count(metrics, old, new)
    assert observed(metrics, "time_to_first_step") == (1, 42)


def test_no_counter_and_no_histogram_has_the_name_of_a_job(metrics: Metrics) -> None:
    count(
        metrics,
        make_status(phase="Queued", attempt=1),
        make_status(phase="Complete", completion_time=NOW, fit_start_time=NOW),
    )
    samples = [sample for family in metrics.registry.collect() for sample in family.samples]
    assert len(samples) > 100
    assert not [sample for sample in samples if "name" in sample.labels]
    assert not [sample for sample in samples if "photos" in sample.labels.values()]
