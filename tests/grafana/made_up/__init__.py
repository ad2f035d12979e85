"""Six hours of made-up jobs that succeed, fail, retry, wait and are disrupted, as Prometheus has
them after it has scraped operator and trainers, in the text that promtool makes blocks from.

The operator's process is replaced after four hours: its counters begin again.
"""

from collections.abc import Iterator

from tests.grafana.made_up.jobs import JOBS, MINUTES, PHASES
from tests.grafana.made_up.of_jobs import Sample, of_job, of_pods
from tests.grafana.made_up.of_operator import counters, of_process

SCRAPE_SECONDS = 30
OPERATORS = ((0, 240), (240, MINUTES))
"""From when to when each process of the operator runs."""


def samples(at: float, start: float) -> Iterator[Sample]:
    """All samples `at` minutes after `start`, a Unix time."""
    for job in JOBS:
        yield from of_job(job, at, start)
        yield from of_pods(job, at)
    for namespace in sorted({job.namespace for job in JOBS}):
        for phase in PHASES:
            stages = [job.stage(at) for job in JOBS if job.namespace == namespace]
            count = sum(stage is not None and stage.phase == phase for stage in stages)
            yield "finetune_jobs", {"namespace": namespace, "phase": phase}, count
    (began,) = [began for began, ended in OPERATORS if began <= at < ended]
    yield from counters(at, began)
    yield from of_process(at, began)
    yield from _alerts(at)


def open_metrics(start: float) -> str:
    """All samples of the six hours, with their times."""
    lines = []
    for step in range(MINUTES * 60 // SCRAPE_SECONDS):
        seconds = step * SCRAPE_SECONDS
        pod = sum(began * 60 <= seconds for began, _ in OPERATORS)
        own = {"job": "finetune-operator", "namespace": "finetune-system", "pod": f"operator-{pod}"}
        for name, labels, value in samples(seconds / 60, start):
            every = labels if "job" in labels or name == "ALERTS" else own | labels
            text = ",".join(f'{label}="{every[label]}"' for label in every)
            lines.append(f"{name}{{{text}}} {value:.12g} {start + seconds:.0f}\n")
    return "".join([*lines, "# EOF\n"])


def _alerts(at: float) -> Iterator[Sample]:
    """Alerts that fire: Prometheus' own series, not those of a scrape."""
    fires = {"alertstate": "firing", "severity": "warning"}
    leaves = {"namespace": "team-b", "name": "leaves", "reason": "QueueBlocked"}
    if at > 335:
        yield "ALERTS", {"alertname": "FineTuneJobWaitingTooLong", **fires, **leaves}, 1
    if at > 333:
        failed = {"namespace": "team-b", "name": "mushrooms", "reason": "BackoffLimitExceeded"}
        yield "ALERTS", {"alertname": "FineTuneJobFailed", **fires, **failed}, 1
