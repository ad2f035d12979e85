"""Metrics of this process, by the names of client-go and controller-runtime."""

import os
import time
from collections.abc import Callable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    GCCollector,
    Histogram,
    Info,
    PlatformCollector,
    ProcessCollector,
)

from finetune_operator import __version__

PREFIX = "finetune_operator"
RESULTS = ("success", "conflict", "error")
REQUEST_BUCKETS = (0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60)
WORK_BUCKETS = (0.001, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300)


class Process:
    """Metrics of this process; a gauge is read when scraped, by the function that it is given."""

    def __init__(self, registry: CollectorRegistry, leading: Callable[[], bool]) -> None:
        self._registry = registry
        self._started = time.monotonic()  # the clock of asyncio's loop
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        GCCollector(registry=registry)
        build = Info(f"{PREFIX}_build", "Version and commit of the operator", registry=registry)
        commit = os.environ.get("FINETUNE_OPERATOR_COMMIT") or "unknown"
        build.info({"version": __version__, "commit": commit})
        self._gauge("leader", "1 if this operator is the leader").set_function(
            lambda: int(leading())
        )
        self.ready = self._gauge("ready", "1 if /readyz says so")
        self._add_work()
        self._add_requests()
        self.broken_namespaces = self._gauge(
            "broken_namespaces", "Namespaces whose Jobs or pods cannot be listed or watched"
        )
        self.unreadable = self._gauge(
            "unreadable_jobs", "FineTuneJobs that this version of the operator cannot read"
        )
        self.without_series = self._gauge(
            "jobs_without_series",
            "FineTuneJobs that have no series of their own: there are too many",
        )

    def _add_work(self) -> None:
        self.reconciles = self._counter("reconciles", "Reconciles by their result", "result")
        for result in RESULTS:  # zeros too: the first error is an increase
            self.reconciles.labels(result)
        self.adds = self._counter("workqueue_adds", "Keys that began to wait for a worker")
        self.retries = self._counter("workqueue_retries", "Keys added after an error or a conflict")
        self.depth = self._gauge("workqueue_depth", "Keys that wait for a worker")
        self.queue_seconds = self._histogram(
            "workqueue_queue_duration_seconds", "Time from add to worker", WORK_BUCKETS
        )
        self.work_seconds = self._histogram(
            "workqueue_work_duration_seconds", "Time of one reconcile", WORK_BUCKETS
        )
        self.longest_running = self._gauge(
            "workqueue_longest_running_seconds", "Time of the reconcile that is longest at work"
        )

    def _add_requests(self) -> None:
        self.requests = self._counter(
            "api_requests", "Requests to the API server", "verb", "resource", "code"
        )
        self.request_seconds = self._histogram(
            "api_request_duration_seconds",
            "Time of a request; of a watch until its answer begins",
            REQUEST_BUCKETS,
            "verb",
            "resource",
        )
        self.watch_errors = self._counter(
            "watch_errors", "Watches that ended by an error after they had begun", "resource"
        )
        self.watch_age = self._gauge(
            "watch_age_seconds",
            "Time since the most idle watch is known to have missed nothing",
            "resource",
        )
        self.stale_cache = self._counter(
            "stale_cache",
            "Reconciles that listed children which the watches had missed for too long",
        )

    def show_watch_age(self, resource: str, last_heard: Callable[[], float]) -> None:
        """Show the time since the loop time `last_heard`, at most that since the start."""
        age = self.watch_age.labels(resource)
        age.set_function(lambda: time.monotonic() - max(last_heard(), self._started))

    def count_request(self, verb: str, resource: str, status: int | None, seconds: float) -> None:
        """Count a request; without a status it got no answer."""
        code = "error" if status is None else str(status)
        self.requests.labels(verb, resource, code).inc()
        self.request_seconds.labels(verb, resource).observe(seconds)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"{PREFIX}_{name}", text, labels, registry=self._registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"{PREFIX}_{name}", text, labels, registry=self._registry)

    def _histogram(
        self, name: str, text: str, buckets: tuple[float, ...], *labels: str
    ) -> Histogram:
        name = f"{PREFIX}_{name}"
        return Histogram(name, text, labels, buckets=buckets, registry=self._registry)
