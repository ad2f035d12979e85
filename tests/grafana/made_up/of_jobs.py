"""The series of each made-up job and of its pods: operator, trainer and dcgm-exporter."""

import math
from collections.abc import Iterator

from tests.grafana.made_up.jobs import ACTIVE, EPOCHS, FINISHED, WAITING, Job

Sample = tuple[str, dict[str, str], float]


def of_job(job: Job, at: float, start: float) -> Iterator[Sample]:
    """What the operator says of a job."""
    stage = job.stage(at)
    if not stage:
        return
    labels = {"namespace": job.namespace, "name": job.name}
    info = {
        "phase": stage.phase,
        "reason": stage.reason,
        "recipe": job.recipe,
        "model": "efficientnet-lite0",
        "queue": job.queue,
        "dataset": "sha256:4f1d0",
    }
    yield "finetune_job_info", labels | info, 1
    done = job.trained(at) / job.fit_minutes
    running = stage.phase in ("Preparing", "Training")
    values: dict[str, float | None] = {
        "gpus": job.gpus,
        "created_timestamp_seconds": start + job.life[0].at * 60,
        "start_timestamp_seconds": _seconds(start, job.first(ACTIVE, at)),
        "completion_timestamp_seconds": _seconds(start, job.first(FINISHED, at)),
        "waiting_timestamp_seconds": start + stage.at * 60 if stage.phase in WAITING else None,
        "progress_timestamp_seconds": start + at * 60 if running else None,
        "checkpoint_timestamp_seconds": _saved(job, at, start) if running else None,
        "progress_ratio": 1 if stage.phase == "Complete" else min(1, 0.05 + 0.93 * done),
        "remaining_seconds": 60 * job.fit_minutes * (1 - done) if running else None,
        "attempts": stage.attempt,
        "failures": job.retries("OutOfMemory", at),
        "disruptions": job.retries("Disrupted", at),
        **(_learned(job, job.epoch(at)) if job.epoch(at) else {}),
    }
    for name, value in values.items():
        if value is not None:
            yield f"finetune_job_{name}", labels, value


def _learned(job: Job, epoch: int) -> dict[str, float]:
    wobble = 0.01 * math.sin(epoch * 1.7)
    return {
        "epoch": epoch,
        "train_loss": 2.2 * math.exp(-epoch / 6) + 0.06 + wobble,
        "train_accuracy": 1 - 0.85 * math.exp(-epoch / 5) - 0.01,
        "accuracy": job.accuracy * (1 - 0.7 * math.exp(-epoch / 5)) + wobble * (epoch < EPOCHS),
        "learning_rate": 0.05 * (1 + math.cos(math.pi * epoch / EPOCHS)) / 2,
        "images_per_second": 180 * max(1, job.gpus) + 20 * math.sin(epoch),
        "data_wait_ratio": 0.06 + 0.02 * math.sin(epoch / 2),
    }


def _saved(job: Job, at: float, start: float) -> float | None:
    """The end of the newest epoch that saved; every fifth does."""
    count = job.epoch(at) // 5 * 5
    training = job.first({"Training"}, at)
    if not count or training is None:
        return None
    minutes = (m for m in range(int(training), int(at) + 1) if job.epoch(m) >= count)
    return _seconds(start, float(next(minutes, at)))


def _seconds(start: float, minutes: float | None) -> float | None:
    return None if minutes is None else start + minutes * 60


def of_pods(job: Job, at: float) -> Iterator[Sample]:
    """What is scraped from its pods and GPUs while it trains."""
    stage = job.stage(at)
    if not stage or stage.phase != "Training":
        return
    seconds = (at - stage.at) * 60
    full = 11.8 * min(1, (at - stage.at) / 9) if job.name == "mushrooms" else 6.4
    for pod in range(job.pods):
        name = f"{job.name}-{stage.attempt}-{pod}-x7k2p"
        target = {"job": "finetune-trainer", "namespace": job.namespace, "pod": name}
        labels = {**target, "name": job.name, "attempt": str(stage.attempt)}
        values = {
            "steps_total": int(seconds / 0.9),
            "step_seconds_total": seconds * (0.8 - 0.05 * pod),
            "data_wait_seconds_total": seconds * 0.07,
            "checkpoints_total": int(seconds / 600),
            "checkpoint_seconds_total": int(seconds / 600) * 12.5,
            "memory_bytes": (full + 0.4 * math.sin(at / 3 + pod)) * 2**30,
            "memory_limit_bytes": 12 * 2**30,
        }
        for metric, value in values.items():
            yield f"finetune_trainer_{metric}", labels, value
        for gpu in range(job.gpus // job.pods):
            yield from _gpu(labels, name, gpu, at)


def _gpu(labels: dict[str, str], pod: str, gpu: int, at: float) -> Iterator[Sample]:
    use = 0.86 - 0.03 * gpu + 0.08 * math.sin(at / 2 + gpu)
    index = {**labels, "gpu": str(gpu)}
    yield "finetune_trainer_gpu_utilization_ratio", index, use
    yield "finetune_trainer_gpu_memory_used_bytes", index, 31 * 2**30 + gpu * 2**28
    yield "finetune_trainer_gpu_memory_total_bytes", index, 80 * 2**30
    exporter = {
        "job": "nvidia-dcgm-exporter",
        "exported_namespace": labels["namespace"],
        "exported_pod": pod,
        "gpu": str(gpu),
    }
    yield "DCGM_FI_DEV_GPU_UTIL", exporter, use * 100
    yield "DCGM_FI_DEV_POWER_USAGE", exporter, 120 + 280 * use
