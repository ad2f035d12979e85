"""Prometheus metrics: gauges that are read from the cache when scraped, and counters of the status
changes that this process wrote. The series of a FineTuneJob are deleted with it; no counter has the
name of a job.
"""

import collections
import typing
from collections.abc import Callable, Iterable

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    disable_created_metrics,
)
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from finetune_operator import __version__
from finetune_operator.api.types import Phase, Status
from finetune_operator.observe.cache import Cache


class Metrics:
    """All metrics of one operator process."""

    def __init__(
        self,
        cache: Cache,
        *,
        queue_depth: Callable[[], int],
        leading: Callable[[], bool] = lambda: True,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = registry = CollectorRegistry()
        registry.register(JobCollector(cache, leading))
        self.completed = Counter(
            "finetune_jobs_completed", "FineTuneJobs completed", ["namespace"], registry=registry
        )
        self.failed = Counter(
            "finetune_jobs_failed",
            "FineTuneJobs failed",
            ["namespace", "reason"],
            registry=registry,
        )
        self.attempts = Counter(
            "finetune_attempts", "Attempts ended", ["namespace", "reason"], registry=registry
        )
        prefix = "finetune_operator"
        self.reconcile_seconds = Histogram(
            f"{prefix}_reconcile_duration_seconds", "Time of one reconcile", registry=registry
        )
        self.reconcile_errors = Counter(
            f"{prefix}_reconcile_errors", "Reconciles that raised", registry=registry
        )
        self.stale_cache = Counter(
            f"{prefix}_stale_cache",
            "Reconciles that listed children which the watches had missed for too long",
            registry=registry,
        )
        self.watch_age = Gauge(
            f"{prefix}_watch_age_seconds",
            "Time since the most idle watch is known to have missed nothing",
            registry=registry,
        )
        self.broken_namespaces = Gauge(
            f"{prefix}_broken_namespaces",
            "Namespaces whose Jobs or pods cannot be listed or watched",
            registry=registry,
        )
        depth = Gauge(f"{prefix}_queue_depth", "Keys that wait for a worker", registry=registry)
        depth.set_function(lambda: queue_depth() if leading() else 0)
        unreadable = Gauge(
            f"{prefix}_unreadable_jobs",
            "FineTuneJobs that this version of the operator cannot read",
            registry=registry,
        )
        unreadable.set_function(lambda: len(cache.unreadable) if leading() else 0)
        leader = Gauge(f"{prefix}_leader", "1 if this operator is the leader", registry=registry)
        leader.set_function(lambda: int(leading()))
        build = Gauge(f"{prefix}_build_info", "Version", ["version"], registry=registry)
        build.labels(__version__).set(1)

    def count(self, namespace: str, old: Status, new: Status) -> None:
        """Count a status change that this process wrote."""
        if new.history[-1:] != old.history[-1:]:
            self.attempts.labels(namespace, new.history[-1].reason).inc()
        if new.finished and not old.finished:
            if new.phase == "Complete":
                self.completed.labels(namespace).inc()
            else:
                failed = new.condition("Failed")
                self.failed.labels(namespace, failed.reason if failed else "").inc()


class JobCollector(Collector):
    """The gauges of all FineTuneJobs. Only the leader has them, so each job appears once."""

    def __init__(self, cache: Cache, leading: Callable[[], bool]) -> None:
        self._cache = cache
        self._leading = leading

    def collect(self) -> Iterable[Metric]:
        """Build the gauges from the cache; it runs in the event loop: the cache cannot change."""
        names = ["namespace", "name"]
        phases = GaugeMetricFamily("finetune_jobs", "FineTuneJobs", labels=["namespace", "phase"])
        accuracy = GaugeMetricFamily(
            "finetune_job_accuracy", "Exact accuracy on the validation images", labels=names
        )
        progress = GaugeMetricFamily("finetune_job_progress_ratio", "Work done", labels=names)
        attempts = GaugeMetricFamily("finetune_job_attempts", "Attempts started", labels=names)
        remaining = GaugeMetricFamily(
            "finetune_job_remaining_seconds", "Estimated time to the end", labels=names
        )
        info = GaugeMetricFamily(
            "finetune_job_info", "Phase of each FineTuneJob", labels=[*names, "phase"]
        )
        counts: collections.Counter[tuple[str, str]] = collections.Counter()
        for (namespace, name), job in self._cache.jobs.items() if self._leading() else ():
            phase = job.phase or "Pending"
            counts[namespace, phase] += 1
            info.add_metric([namespace, name, phase], 1)
            if job.accuracy:
                accuracy.add_metric([namespace, name], float(job.accuracy))
            if job.progress_percentage is not None:
                progress.add_metric([namespace, name], job.progress_percentage / 100)
            if job.remaining_seconds is not None:
                remaining.add_metric([namespace, name], job.remaining_seconds)
            attempts.add_metric([namespace, name], job.attempts)
        for namespace in {namespace for namespace, _ in counts}:
            for phase in typing.get_args(Phase):  # zeros too, so that no line of a graph ends
                phases.add_metric([namespace, phase], counts[namespace, phase])
        return (phases, accuracy, progress, attempts, remaining, info)
