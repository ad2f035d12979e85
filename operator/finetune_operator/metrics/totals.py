"""Metrics of the jobs together: how many there are now, and the status changes that this process
wrote. A kill between a write and its count loses that one; none is counted twice.
"""

import collections
import datetime
import typing
from collections.abc import Callable, Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from finetune_operator.api.types import FineTuneJob, Phase, Status
from finetune_operator.observe.cache import Cache
from finetune_operator.observe.summary import queued_since

MINUTE, HOUR, DAY = 60, 3600, 86400
BUCKETS = (
    *(1, 5, 15, 30, MINUTE, 2 * MINUTE, 5 * MINUTE, 10 * MINUTE, 30 * MINUTE),
    *(HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, DAY, 3 * DAY, 7 * DAY),
)
"""Seconds of waiting and of running: a second to a week."""


class Totals:
    """Metrics of all jobs, by namespace."""

    def __init__(
        self, registry: CollectorRegistry, cache: Cache, leading: Callable[[], bool]
    ) -> None:
        registry.register(PhaseCollector(cache, leading))
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

        def histogram(name: str, text: str, *labels: str) -> Histogram:
            labels = ("namespace", *labels)
            return Histogram(
                f"finetune_job_{name}", text, labels, buckets=BUCKETS, registry=registry
            )

        self.queue_wait = histogram("queue_wait_seconds", "Time in phase Queued, when it ends")
        self.first_step = histogram(
            "time_to_first_step_seconds", "Time from creation to the first report of the fit"
        )
        self.run = histogram("run_seconds", "Time from startTime to completionTime", "result")

    def count(self, job: FineTuneJob, new: Status, now: datetime.datetime) -> None:
        """Count the change of a job's status that this process has just written."""
        old, namespace = job.status, job.metadata.namespace
        if new.history[-1:] != old.history[-1:]:
            self.attempts.labels(namespace, new.history[-1].reason).inc()
        if old.phase == "Queued" != new.phase:
            _observe(self.queue_wait.labels(namespace), queued_since(job), now)
        if new.fit_start_time and not old.fit_start_time:
            created = job.metadata.creation_timestamp
            _observe(self.first_step.labels(namespace), created, new.fit_start_time)
        if new.finished and not old.finished:
            self._count_end(namespace, new)

    def _count_end(self, namespace: str, new: Status) -> None:
        complete = new.phase == "Complete"
        if complete:
            self.completed.labels(namespace).inc()
        else:
            failed = new.condition("Failed")
            self.failed.labels(namespace, failed.reason if failed else "").inc()
        run = self.run.labels(namespace, "complete" if complete else "failed")
        _observe(run, new.start_time, new.completion_time)


def _observe(
    histogram: Histogram, begin: datetime.datetime | None, end: datetime.datetime | None
) -> None:
    if begin and end:
        histogram.observe(max((end - begin).total_seconds(), 0))


class PhaseCollector(Collector):
    """The number of FineTuneJobs in each phase."""

    def __init__(self, cache: Cache, leading: Callable[[], bool]) -> None:
        self._cache = cache
        self._leading = leading

    def collect(self) -> Iterable[Metric]:
        """Count the jobs in the cache; it runs in the event loop: the cache cannot change."""
        jobs = self._cache.jobs.items() if self._leading() else ()
        counts = collections.Counter((namespace, job.phase) for (namespace, _), job in jobs)
        phases = GaugeMetricFamily("finetune_jobs", "FineTuneJobs", labels=["namespace", "phase"])
        for namespace in {namespace for namespace, _ in counts}:
            for phase in typing.get_args(Phase):  # zeros too, so that no line of a graph ends
                phases.add_metric([namespace, phase], counts[namespace, phase])
        return (phases,)
