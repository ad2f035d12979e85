"""Metrics of the process: what it asks the API server, what it is, and what it costs."""

import functools
import math
import time

import pytest
from finetune_operator import __version__
from finetune_operator.metrics import Metrics
from finetune_operator.observe.cache import Cache


def value(metrics: Metrics, series: str, /, **labels: str) -> float | None:
    return metrics.registry.get_sample_value(series, labels)


def test_requests_are_counted_by_what_they_ask_and_what_is_answered() -> None:
    metrics = Metrics(Cache())
    kind = {"verb": "patch", "resource": "finetunejobs/status"}
    for status, seconds in ((200, 0.2), (200, 0.3), (409, 0.1), (None, 15)):
        metrics.process.count_request(kind["verb"], kind["resource"], status, seconds)
    name = "finetune_operator_api_requests_total"
    counts = {code: value(metrics, name, **kind, code=code) for code in ("200", "409", "error")}
    assert counts == {"200": 2, "409": 1, "error": 1}
    duration = "finetune_operator_api_request_duration_seconds"
    assert value(metrics, f"{duration}_count", **kind) == 4
    assert value(metrics, f"{duration}_bucket", **kind, le="0.25") == 2


@pytest.mark.parametrize(("commit", "shown"), [("f660a9f", "f660a9f"), ("", "unknown")])
def test_build_is_named_by_version_and_commit(
    monkeypatch: pytest.MonkeyPatch, commit: str, shown: str
) -> None:
    monkeypatch.setenv("FINETUNE_OPERATOR_COMMIT", commit)
    labels = {"version": __version__, "commit": shown}
    assert value(Metrics(Cache()), "finetune_operator_build_info", **labels) == 1


@pytest.mark.parametrize("leads", [True, False])
def test_leader_says_so_and_the_jobs_that_it_cannot_read(leads: bool) -> None:
    cache = Cache()
    cache.unreadable["team", "photos"] = "7"
    metrics = Metrics(cache, leading=lambda: leads)
    assert value(metrics, "finetune_operator_leader") == leads
    assert value(metrics, "finetune_operator_unreadable_jobs") == leads


def test_memory_and_garbage_collection_of_the_process_are_shown() -> None:
    metrics = Metrics(Cache())
    memory = value(metrics, "process_resident_memory_bytes")
    assert memory
    assert memory > 10_000_000
    assert value(metrics, "python_gc_collections_total", generation="0") is not None


def test_age_of_a_watch_that_was_never_heard_from_is_that_of_the_process() -> None:
    metrics = Metrics(Cache())
    name = "finetune_operator_watch_age_seconds"
    heard = {"pods": -math.inf, "jobs": 0.0, "finetunejobs": time.monotonic()}
    for resource, last_heard in heard.items():
        metrics.process.show_watch_age(resource, functools.partial(float, last_heard))
    metrics.process._started -= 100
    ages = {resource: value(metrics, name, resource=resource) or 0 for resource in heard}
    assert 100 <= ages["pods"] < 105
    assert 100 <= ages["jobs"] < 105  # not the machine's uptime
    assert ages["finetunejobs"] < 5
