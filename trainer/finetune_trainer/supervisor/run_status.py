"""The status of the run right now: the supervisor writes it; the HTTP server, the display and the
stall check read it. Its size is bounded, whatever a stage sends.
"""

import copy
import datetime
import threading
import time
from collections.abc import Sequence

import msgspec

from finetune_trainer.contract import (
    CheckpointStatus,
    DatasetStatus,
    JobRef,
    Metric,
    ModelStatus,
    Progress,
    Struct,
    TrainerStatus,
)
from finetune_trainer.pipeline import Stage
from finetune_trainer.run.reporter import Work
from finetune_trainer.supervisor.estimate import Estimate

LOG_LINES = 20
LOG_LINE_LENGTH = 500
_LOG_BYTES = 16 * 1024
MAX_METRICS = 64
PROGRESS_LIMIT = 64 * 1024


class ReportedError(Struct):
    """The error with which a stage ends."""

    code: int
    message: str
    hint: str = ""


class Report(Struct):
    """One line that a stage sends by its Reporter."""

    stage: str = ""
    """Name of the stage that begins."""
    step: int | None = None
    fraction: float | None = None
    metrics: tuple[Metric, ...] = ()
    note: str = ""
    dataset: DatasetStatus | None = None
    model: ModelStatus | None = None
    checkpoint: CheckpointStatus | None = None
    work: Work | None = None
    error: ReportedError | None = None


class RunStatus:
    """The status of the run. Safe to read from other threads."""

    def __init__(self, job: JobRef, *, stages: Sequence[Stage]) -> None:
        self._lock = threading.Lock()
        self._estimate = Estimate(stages)
        self._metrics: dict[str, Metric] = {}
        self._work = Work()
        self._reported_work = Work()
        self._log = b""
        self._position: tuple[int | None, float | None] = (None, None)
        self._progress = Progress(job=job, stage="fetch", step=0)
        self._updated = datetime.datetime.now(datetime.UTC)
        self.note = ""
        """Human-readable note of the stage, as in "epoch 3 of 8"."""
        self.last_progress = time.monotonic()
        """Time of the last progress by time.monotonic(), for the stall check."""
        self.last_poll = time.monotonic()
        """Time of the supervisor's last poll by time.monotonic(), for /healthz."""

    def start(self, stage: Stage) -> None:
        """Note that a stage begins."""
        with self._lock:
            self._estimate.start(stage.name)
            self.note = ""
            self._reported_work = Work()
            self._position = (None, None)
            self._record_progress(stage=stage.name)

    def finish(self) -> None:
        """Note that all stages are done."""
        with self._lock:
            self._estimate.finish()
            self._record_progress(stage="done")

    def apply(self, report: Report) -> None:
        """Record a report of a stage."""
        with self._lock:
            position = (report.step, report.fraction)
            if report.fraction is not None:
                self._estimate.advance(report.fraction, now=time.monotonic())
            if position not in ((None, None), self._position):
                self._position = position
                self._record_progress()
            self.note = report.note or self.note
            self._update_metrics(report.metrics)
            if report.work:
                self._add_work(report.work)
            self._progress = msgspec.structs.replace(
                self._progress,
                dataset=report.dataset or self._progress.dataset,
                model=report.model or self._progress.model,
                checkpoint=report.checkpoint or self._progress.checkpoint,
            )

    def log(self, data: bytes) -> None:
        """Keep the end of the output, as bytes: there may be much of it."""
        self._log = (self._log + data)[-_LOG_BYTES:]

    @property
    def log_tail(self) -> tuple[str, ...]:
        """The last lines of output, without control characters."""
        text = self._log.decode(errors="replace")
        lines = [line for line in text.splitlines() if line.strip()]
        return tuple(_printable(line[-LOG_LINE_LENGTH:]) for line in lines[-LOG_LINES:])

    @property
    def fraction(self) -> float:
        """The fraction of the whole run that is done, 0 to 1."""
        return self._estimate.fraction

    @property
    def work(self) -> Work:
        """The work of all stages of this attempt: no number of it ever falls."""
        with self._lock:
            return copy.copy(self._work)

    def snapshot(self) -> Progress:
        """Return the body of /progress."""
        with self._lock:
            return msgspec.structs.replace(
                self._progress,
                trainer_status=TrainerStatus(
                    progress_percentage=int(100 * self._estimate.fraction),
                    estimated_remaining_seconds=self._estimate.remaining_seconds(
                        now=time.monotonic()
                    ),
                    metrics=tuple(self._metrics.values()),
                    last_updated_time=self._updated.strftime("%Y-%m-%dT%H:%M:%SZ"),
                ),
                log_tail=self.log_tail,
            )

    def encoded(self) -> bytes:
        """Return the body of /progress as JSON, within its limit: old log lines are left out."""
        progress = self.snapshot()
        body = msgspec.json.encode(progress)
        while len(body) > PROGRESS_LIMIT and progress.log_tail:
            progress = msgspec.structs.replace(progress, log_tail=progress.log_tail[1:])
            body = msgspec.json.encode(progress)
        return body

    def _record_progress(self, **changes: object) -> None:
        self._progress = msgspec.structs.replace(
            self._progress, step=self._progress.step + 1, **changes
        )
        self._updated = datetime.datetime.now(datetime.UTC)
        self.last_progress = time.monotonic()

    def _add_work(self, work: Work) -> None:
        """Add the work since the last report. A stage that reports less has begun again at 0."""
        for name in Work.__struct_fields__:
            new, old = getattr(work, name), getattr(self._reported_work, name)
            added = new - old if new >= old else new
            setattr(self._work, name, getattr(self._work, name) + max(0, added))
        self._reported_work = work

    def _update_metrics(self, metrics: Sequence[Metric]) -> None:
        for metric in metrics:
            if metric.name in self._metrics or len(self._metrics) < MAX_METRICS:
                self._metrics[metric.name] = metric


def _printable(line: str) -> str:
    return "".join(character if character.isprintable() else " " for character in line)
