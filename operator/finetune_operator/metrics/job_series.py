"""The series of each FineTuneJob, written as text: they are most of the page, and as objects of
prometheus-client they would be most of the time that it takes.
"""

import logging
import operator
from collections.abc import Callable, Iterator

from finetune_operator.observe.cache import Cache, Key
from finetune_operator.observe.summary import Summary

INFO = "Phase of the job, what it waits for or why it ended, and what it trains"
INFO_LABELS = ("phase", "reason", "recipe", "model", "queue", "dataset")
GAUGES = (
    ("gpus", "gpus", "GPUs asked for: gpusPerNode x numNodes"),
    ("created_timestamp_seconds", "created", "creationTimestamp"),
    ("start_timestamp_seconds", "started", "startTime"),
    ("completion_timestamp_seconds", "completed", "completionTime"),
    (
        "waiting_timestamp_seconds",
        "waiting",
        "Time since which the job is Pending, Queued or Starting",
    ),
    ("progress_timestamp_seconds", "progressed", "Time of the last progress, while it runs"),
    ("checkpoint_timestamp_seconds", "saved", "Time of the newest checkpoint, while it runs"),
    ("progress_ratio", "progress", "Work done"),
    ("remaining_seconds", "remaining", "Estimated time to the end"),
    ("epoch", "epoch", "Finished epochs"),
    ("train_loss", "train_loss", "Loss on the training images in the last epoch"),
    ("train_accuracy", "train_accuracy", "Accuracy on the training images in the last epoch"),
    ("accuracy", "accuracy", "Accuracy on the validation images after the last epoch"),
    ("learning_rate", "learning_rate", "Learning rate in the last epoch"),
    ("images_per_second", "images_per_second", "Training images per second"),
    (
        "data_wait_ratio",
        "data_wait",
        "Share of the last epoch in which the fit waited for data",
    ),
    ("attempts", "attempts", "Attempts started"),
    ("failures", "failures", "Failures that count against backoffLimit"),
    ("disruptions", "disruptions", "Disrupted attempts, which do not count as failures"),
)
"""Name, field of the Summary and description of each gauge."""
Jobs = list[tuple[str, Summary]]
"""Each job after its labels, as text."""
log = logging.getLogger(__name__)


class JobSeries:
    """The series of at most `limit` jobs: those that are not finished first, then the newest."""

    def __init__(self, cache: Cache, *, limit: int, leading: Callable[[], bool]) -> None:
        self._cache = cache
        self._limit = limit
        self._leading = leading
        self._warned = False

    @property
    def left_out(self) -> int:
        """The number of jobs that have no series."""
        return max(len(self._cache.jobs) - self._limit, 0) if self._leading() else 0

    def families(self, *, openmetrics: bool) -> Iterator[str]:
        """Yield the text of one family after the other, all of the same moment."""
        jobs = [(_names(key), job) for key, job in self._chosen()]
        yield _info(jobs, openmetrics=openmetrics)
        for name, field, description in GAUGES:
            yield _gauge(f"finetune_job_{name}", field, description, jobs)

    def _chosen(self) -> list[tuple[Key, Summary]]:
        jobs = list(self._cache.jobs.items()) if self._leading() else []
        self._report()
        if self.left_out:
            jobs.sort(key=lambda item: (item[1].finished, -(item[1].created or 0)))
        return jobs[: self._limit]

    def _report(self) -> None:
        """Log that the limit is reached, and that it is over, once each."""
        if self.left_out and not self._warned:
            log.warning(
                "%d FineTuneJobs have no metrics of their own: FINETUNE_OPERATOR_METRICS_JOB_LIMIT"
                " is %d",
                self.left_out,
                self._limit,
            )
        elif self._warned and not self.left_out:
            log.info("all FineTuneJobs have metrics of their own again")
        self._warned = self.left_out > 0


def _info(jobs: Jobs, *, openmetrics: bool) -> str:
    values = operator.attrgetter(*INFO_LABELS)
    lines = []
    for names, job in jobs:
        pairs = zip(INFO_LABELS, values(job), strict=True)
        labels = ",".join(f'{name}="{_escaped(value)}"' for name, value in pairs)
        lines.append(f"finetune_job_info{{{names},{labels}}} 1\n")
    family, kind = ("finetune_job", "info") if openmetrics else ("finetune_job_info", "gauge")
    return _head(family, kind, INFO) + "".join(lines)


def _gauge(name: str, field: str, description: str, jobs: Jobs) -> str:
    get = operator.attrgetter(field)
    values = ((names, get(job)) for names, job in jobs)
    return _head(name, "gauge", description) + "".join(
        [f"{name}{{{names}}} {value}\n" for names, value in values if value is not None]
    )


def _head(name: str, kind: str, description: str) -> str:
    return f"# HELP {name} {description}\n# TYPE {name} {kind}\n"


def _names(key: Key) -> str:
    namespace, name = map(_escaped, key)
    return f'name="{name}",namespace="{namespace}"'


def _escaped(value: str) -> str:
    """Escape a label's value, as both formats have it."""
    return value.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
