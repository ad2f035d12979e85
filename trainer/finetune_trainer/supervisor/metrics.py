"""/metrics: the run status, the container's memory and its GPUs, for Prometheus."""

import contextlib
import datetime
from collections.abc import Callable, Iterator

from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from finetune_trainer.contract import CheckpointStatus, TrainerStatus
from finetune_trainer.pipeline import Stage
from finetune_trainer.run import cgroup
from finetune_trainer.run.reporter import Work
from finetune_trainer.supervisor.gpus import Gpu, read_gpus
from finetune_trainer.supervisor.run_status import RunStatus

PREFIX = "finetune_trainer_"
REPORTED = {
    "epoch": ("epoch", "Finished epochs."),
    "loss": ("train_loss", "Mean cross-entropy of the training images of that epoch, in nats."),
    "train-accuracy": ("train_accuracy", "Accuracy on the training images of that epoch."),
    "accuracy": ("accuracy", "Accuracy on the validation images."),
    "learning-rate": ("learning_rate", "Learning rate of that epoch's last update."),
    "images-per-second": ("images_per_second", "Training images per second."),
}
"""The gauges of the metrics that stages report."""
_WORK = {
    "steps": "Updates of the weights.",
    "images": "Images that were trained on.",
    "step_seconds": "Time in steps, without the wait for their images.",
    "data_wait_seconds": "Time that steps waited for their images.",
    "checkpoints": "Checkpoints that were saved.",
    "checkpoint_seconds": "Time in which they were saved.",
}


def registry(
    run_status: RunStatus,
    stages: tuple[Stage, ...],
    *,
    gpus: Callable[[], tuple[Gpu, ...]] = read_gpus,
) -> CollectorRegistry:
    """Return a registry that reads the run status and the GPUs whenever it is scraped."""
    result = CollectorRegistry()
    result.register(_Collector(run_status, stages, gpus))
    return result


class _Collector:
    """The metrics; their number does not depend on what stages report."""

    def __init__(
        self,
        run_status: RunStatus,
        stages: tuple[Stage, ...],
        gpus: Callable[[], tuple[Gpu, ...]],
    ) -> None:
        self._run_status = run_status
        self._stages = stages
        self._read_gpus = gpus

    def collect(self) -> Iterator[Metric]:
        """Yield all metrics that have a value."""
        progress = self._run_status.snapshot()
        yield _gauge(
            "progress_ratio", "Fraction of the run that is done, 0 to 1.", self._run_status.fraction
        )
        stage = GaugeMetricFamily(f"{PREFIX}stage", "1 for the current stage.", labels=["stage"])
        for known in self._stages:
            stage.add_metric([known.name], known.name == progress.stage)
        yield stage
        yield from _reported(progress.trainer_status)
        yield from _counters(self._run_status.work)
        yield from _checkpoint(progress.checkpoint)
        yield from _memory()
        yield from _gpus(self._read_gpus())


def _gauge(name: str, text: str, value: float) -> Metric:
    return GaugeMetricFamily(PREFIX + name, text, value)


def _reported(status: TrainerStatus) -> Iterator[Metric]:
    """Yield the estimate, and the newest value of each metric that is a number."""
    if (remaining := status.estimated_remaining_seconds) is not None:
        yield _gauge("estimated_remaining_seconds", "Estimated time left.", remaining)
    for metric in status.metrics:
        if metric.name in REPORTED:
            with contextlib.suppress(ValueError):
                yield _gauge(*REPORTED[metric.name], float(metric.value))


def _counters(work: Work) -> Iterator[Metric]:
    for name, text in _WORK.items():
        yield CounterMetricFamily(PREFIX + name, text, getattr(work, name))


def _checkpoint(status: CheckpointStatus | None) -> Iterator[Metric]:
    if status:
        with contextlib.suppress(ValueError):
            saved = datetime.datetime.fromisoformat(status.time).timestamp()
            yield _gauge("checkpoint_timestamp_seconds", "Time of the newest checkpoint.", saved)


def _memory() -> Iterator[Metric]:
    with contextlib.suppress(OSError):
        if (used := cgroup.working_set()) is not None:
            yield _gauge("memory_bytes", "Working set of the container's memory.", used)
        if (limit := cgroup.memory_limit()) is not None:
            yield _gauge("memory_limit_bytes", "Limit of the container's memory.", limit)


def _gpus(gpus: tuple[Gpu, ...]) -> Iterator[Metric]:
    if not gpus:
        return
    used, total, busy = (
        GaugeMetricFamily(f"{PREFIX}gpu_{name}", text, labels=["gpu"])
        for name, text in (
            ("memory_used_bytes", "Memory of the GPU that is in use."),
            ("memory_total_bytes", "Memory of the GPU."),
            ("utilization_ratio", "Fraction of the last moments in which the GPU was busy."),
        )
    )
    for gpu in gpus:
        used.add_metric([str(gpu.index)], gpu.memory_used)
        total.add_metric([str(gpu.index)], gpu.memory_total)
        if gpu.utilization is not None:
            busy.add_metric([str(gpu.index)], gpu.utilization)
    yield from (used, total, busy)
