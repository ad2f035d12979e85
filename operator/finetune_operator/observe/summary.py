"""The summary of a FineTuneJob: its figures for the metrics, as numbers.

The cache keeps one of every job: a text that many jobs share is kept once.
"""

import math
import sys
import urllib.parse
from collections.abc import Mapping
from typing import Any

import msgspec

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import NEVER, Time
from finetune_operator.api.types import FineTuneJob, Section, Status, TrainerStatus
from finetune_operator.policy.progress import parse_time

DIGEST_LENGTH = 12
TEXT_LENGTH = 128
WAITING = ("Pending", "Queued", "Starting")
RUNNING = ("Preparing", "Training")


class Summary(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """The figures of a FineTuneJob; times in seconds since 1970, None for what has no value."""

    uid: str
    phase: str = "Pending"
    finished: bool = False
    """True if the job is Complete or Failed."""
    reason: str = ""
    recipe: str = ""
    model: str = ""
    queue: str = ""
    dataset: str = ""
    gpus: int = 0
    created: float | None = None
    started: float | None = None
    completed: float | None = None
    waiting: float | None = None
    progressed: float | None = None
    saved: float | None = None
    progress: float | None = None
    remaining: float | None = None
    epoch: float | None = None
    train_loss: float | None = None
    train_accuracy: float | None = None
    accuracy: float | None = None
    learning_rate: float | None = None
    images_per_second: float | None = None
    data_wait: float | None = None
    attempts: int = 0
    failures: int = 0
    disruptions: int = 0


def summarize(job: FineTuneJob) -> Summary:
    """Return the summary of a FineTuneJob."""
    spec, status = job.spec, job.status
    phase = status.phase or "Pending"
    trainer = status.trainer_status or TrainerStatus()
    metrics = {metric.name: _number(metric.value) for metric in trainer.metrics}
    return Summary(
        uid=job.metadata.uid,
        phase=sys.intern(phase),
        finished=status.finished,
        reason=_text(status.failure.reason if status.failure else ""),
        recipe=_text(spec.training.get("recipe")),
        model=_model(spec.model, spec.training),
        queue=_text(job.metadata.labels.get(c.LABEL_QUEUE)),
        dataset=_text(_digest(status)),
        gpus=spec.trainer.gpus_per_node * spec.trainer.num_nodes,
        created=_seconds(job.metadata.creation_timestamp),
        started=_seconds(status.start_time),
        completed=_seconds(status.completion_time),
        waiting=_seconds(waiting_since(job)) if phase in WAITING else None,
        attempts=status.attempts,
        failures=status.failures,
        disruptions=status.disruptions,
        **_measured(status, trainer, metrics),
        **(_running(status, trainer, metrics) if phase in RUNNING else {}),
    )


def waiting_since(job: FineTuneJob) -> Time | None:
    """Return since when no pod of a job runs, though the job is not suspended."""
    status = job.status
    attempt, ready = status.current_attempt, status.condition(c.PODS_READY)
    ended = ready.last_transition_time if ready and ready.status != "True" else None
    begun = ended or (attempt.start_time if attempt else None)
    # The clock of the active deadline begins again when a job leaves its queue.
    return _latest(job.metadata.creation_timestamp, begun, _resumed(status), status.active_since)


def queued_since(job: FineTuneJob) -> Time | None:
    """Return since when the Job of a job that is Queued waits: its attempt begins in the queue, or
    comes back to it.
    """
    attempt = job.status.current_attempt
    return _latest(waiting_since(job), attempt.start_time if attempt else None)


def _resumed(status: Status) -> Time | None:
    suspended = status.condition(c.SUSPENDED)
    return suspended.last_transition_time if suspended and suspended.status != "True" else None


def _latest(*times: Time | None) -> Time | None:
    return max(filter(None, times), default=None)


def _measured(
    status: Status, trainer: TrainerStatus, metrics: Mapping[str, float | None]
) -> dict[str, float | None]:
    """Return what stays after the run: of the last epoch that the status has."""
    percentage = trainer.progress_percentage
    return {
        "progress": None if percentage is None else percentage / 100,
        "epoch": metrics.get("epoch"),
        "train_loss": metrics.get("loss"),
        "train_accuracy": metrics.get("train-accuracy"),
        "accuracy": _number(status.accuracy) if status.accuracy else metrics.get("accuracy"),
        "learning_rate": metrics.get("learning-rate"),
    }


def _running(
    status: Status, trainer: TrainerStatus, metrics: Mapping[str, float | None]
) -> dict[str, float | None]:
    """Return what is true only while the trainer runs."""
    checkpoint = status.checkpoint
    return {
        "progressed": _seconds(parse_time(trainer.last_updated_time)),
        "saved": _seconds(parse_time(checkpoint.time)) if checkpoint else None,
        "remaining": trainer.estimated_remaining_seconds,
        "images_per_second": metrics.get("images-per-second"),
        "data_wait": metrics.get("data-stall"),
    }


def _number(text: str) -> float | None:
    """Return the number, None for what is none: any trainer may have reported it."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _seconds(time: Time | None) -> float | None:
    return time.timestamp() if time and time.tzinfo and time > NEVER else None


def _digest(status: Status) -> str:
    digest = status.dataset.digest if status.dataset else ""
    return digest.rpartition(":")[2][:DIGEST_LENGTH]


def _model(model: Section, training: Section) -> str:
    """Return the name of the network, or the scheme of the URI that it comes from."""
    if name := _text(model.get("name")):
        return name
    source = model.get("source") or training.get("resumeFrom")
    uri = source.get("uri") if isinstance(source, dict) else None
    return _text(urllib.parse.urlsplit(uri).scheme) if isinstance(uri, str) else ""


def _text(value: Any) -> str:
    return sys.intern(value[:TEXT_LENGTH]) if isinstance(value, str) else ""
