"""The series of the made-up operator: counters of its jobs, and its process.

The API server is away for 20 minutes.
"""

import math
from collections.abc import Callable, Iterator

from tests.grafana.made_up.jobs import ACTIVE, JOBS, Job, Stage
from tests.grafana.made_up.of_jobs import Sample

_RESOURCES = ("finetunejobs", "jobs", "pods")


def counters(at: float, began: float) -> Iterator[Sample]:
    """The counters of a process: what has happened since it began; none of what has not."""
    counts: dict[tuple[str, str, str], int] = {}
    for job in JOBS:
        for before, stage in zip(job.life, job.life[1:], strict=False):
            if not began <= stage.at <= at:
                continue
            for name, label, value in _counted(before, stage):
                key = (name, job.namespace, f"{label}={value}" if label else "")
                counts[key] = counts.get(key, 0) + 1
    for (name, namespace, label), count in counts.items():
        other = dict([label.split("=")]) if label else {}
        yield name, {"namespace": namespace, **other}, count
    for job in JOBS:
        yield from _times(job, at, began)


def _counted(before: Stage, stage: Stage) -> Iterator[tuple[str, str, str]]:
    if before.phase in ACTIVE and stage.phase not in ACTIVE:
        yield "finetune_attempts_total", "reason", stage.reason or stage.phase
    if stage.phase == "Complete":
        yield "finetune_jobs_completed_total", "", ""
    if stage.phase == "Failed":
        yield "finetune_jobs_failed_total", "reason", stage.reason


def _times(job: Job, at: float, began: float) -> Iterator[Sample]:
    """The histograms: each made-up job has its own namespace's series alone at a time."""
    queued, step = job.first({"Queued"}, at), job.first({"Training"}, at)
    left, ended = job.first(ACTIVE, at), job.first({"Complete"}, at)
    label = {"namespace": job.namespace, "pod": f"operator-{job.name}"}
    if queued is not None and left is not None and left >= began:
        yield from _histogram("finetune_job_queue_wait_seconds", label, (left - queued) * 60, 1)
    if step is not None and step >= began:
        seconds = (step - job.life[0].at) * 60
        yield from _histogram("finetune_job_time_to_first_step_seconds", label, seconds, 1)
    if ended is not None and left is not None and ended >= began:
        complete = {**label, "result": "complete"}
        yield from _histogram("finetune_job_run_seconds", complete, (ended - left) * 60, 1)


def _histogram(name: str, labels: dict[str, str], mean: float, count: float) -> Iterator[Sample]:
    """`count` observations, spread around `mean` if there is more than one."""
    for bound in (*(10 ** (power / 2) for power in range(-5, 10)), math.inf):
        share = 1 - math.exp(-bound / mean) if count > 1 else float(bound >= mean)
        text = "+Inf" if bound == math.inf else f"{bound:.4g}"
        yield f"{name}_bucket", {**labels, "le": text}, int(count * share)


def of_process(at: float, began: float) -> Iterator[Sample]:
    """The metrics of the process, its queue, and its requests."""
    seconds = (at - began) * 60
    trouble = 60 * max(0.0, min(at, 200) - max(began, 180))  # the API server restarts
    p = "finetune_operator_"
    gauges: dict[str, float] = {
        "leader": 1,
        "ready": 1,
        "workqueue_depth": max(0, int(3 * math.sin(at / 7))) + (9 if 180 < at < 200 else 0),
        "workqueue_longest_running_seconds": 0.02 + (4 if 180 < at < 200 else 0),
        "broken_namespaces": 0,
        "unreadable_jobs": 0,
        "jobs_without_series": 0,
    }
    for name, value in gauges.items():
        yield p + name, {}, value
    yield p + "build_info", {"version": "0.2.0", "commit": "4f1d0c2"}, 1
    counters: dict[str, Callable[[], list[tuple[dict[str, str], float]]]] = {
        "reconciles_total": lambda: [
            ({"result": "success"}, seconds * 0.8),
            ({"result": "conflict"}, seconds * 0.01),
            ({"result": "error"}, trouble * 0.2),
        ],
        "workqueue_adds_total": lambda: [({}, seconds * 0.82)],
        "workqueue_retries_total": lambda: [({}, seconds * 0.01 + trouble * 0.2)],
        "stale_cache_total": lambda: [({}, seconds * 0.0005)],
        "watch_errors_total": lambda: [({"resource": r}, trouble / 300) for r in _RESOURCES[1:]],
        "api_requests_total": lambda: [
            ({"verb": "patch", "resource": "finetunejobs/status", "code": "200"}, seconds * 0.3),
            ({"verb": "list", "resource": "pods", "code": "200"}, seconds * 0.1),
            ({"verb": "create", "resource": "jobs", "code": "201"}, seconds * 0.02),
            ({"verb": "create", "resource": "jobs", "code": "409"}, seconds * 0.004),
            ({"verb": "patch", "resource": "finetunejobs/status", "code": "503"}, trouble * 0.2),
            ({"verb": "list", "resource": "pods", "code": "error"}, trouble * 0.1),
        ],
    }
    for name, series in counters.items():
        for labels, value in series():
            yield p + name, labels, int(value)
    requests = {"verb": "patch", "resource": "finetunejobs/status"}
    yield from _histogram(p + "api_request_duration_seconds", requests, 0.02, seconds * 0.4)
    yield from _histogram(p + "workqueue_queue_duration_seconds", {}, 0.008, seconds * 0.8)
    yield from _histogram(p + "workqueue_work_duration_seconds", {}, 0.05, seconds * 0.8)
    for offset, resource in enumerate(_RESOURCES):
        age = (at * 60 + offset * 17) % 60 + (60 * (at - 180) if 180 < at < 186 else 0)
        yield p + "watch_age_seconds", {"resource": resource}, age
    yield "process_cpu_seconds_total", {}, seconds * 0.04
    yield "process_resident_memory_bytes", {}, (96 + at / 30) * 2**20
    yield "process_open_fds", {}, 34
    yield "process_max_fds", {}, 1024
