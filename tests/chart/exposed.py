"""The names of all metrics that can be scraped: of the operator, the trainers, and others."""

import asyncio
import functools
import re

from finetune_trainer.contract import CheckpointStatus, JobRef, Metric
from finetune_trainer.pipeline import STAGES
from finetune_trainer.supervisor import metrics
from finetune_trainer.supervisor.gpus import Gpu
from finetune_trainer.supervisor.run_status import Report, RunStatus
from prometheus_client import generate_latest

from tests.chart.metrics_page import make_metrics

# Of dcgm-exporter, Prometheus itself, and of a container that has a limit.
OTHERS = {
    "DCGM_FI_DEV_GPU_UTIL",
    "DCGM_FI_DEV_POWER_USAGE",
    "ALERTS",
    "finetune_trainer_memory_limit_bytes",
}


@functools.cache
def metric_names() -> frozenset[str]:
    """Return all names, those of histograms as they are declared."""
    operator, _ = asyncio.run(make_metrics().page())
    return frozenset(_declared(operator) | _declared(_trainer_page()) | OTHERS)


def _declared(page: bytes) -> set[str]:
    return set(re.findall(r"^# TYPE (\S+)", page.decode(), flags=re.MULTILINE))


def _trainer_page() -> bytes:
    """Return the page of a trainer that has reported all there is, on a GPU."""
    status = RunStatus(JobRef(uid="", attempt=1, pod_uid=""), stages=STAGES)
    figures = tuple(Metric(name=name, value="1") for name in metrics.REPORTED)
    saved = CheckpointStatus(epoch=1, step=1, time="2026-01-01T00:00:00Z")
    status.apply(Report(stage="fit", step=1, fraction=0.5, metrics=figures, checkpoint=saved))
    gpu = Gpu(index=0, memory_used=1, memory_total=2, utilization=0.5)
    return generate_latest(metrics.registry(status, STAGES, gpus=lambda: (gpu,)))
