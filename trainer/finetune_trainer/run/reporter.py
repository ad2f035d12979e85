"""The reports of a running stage to its supervisor."""

import json
import os
import time
from collections.abc import Callable
from typing import Any

import msgspec

from finetune_trainer.contract import CheckpointStatus, DatasetStatus, Metric, ModelStatus


class Work(msgspec.Struct):
    """The work of a stage since its start, and the time it took. Only the fit counts any."""

    steps: int = 0
    """Updates of the weights."""
    images: int = 0
    """Images that were trained on."""
    step_seconds: float = 0.0
    """Time in the steps, without the wait for their images."""
    data_wait_seconds: float = 0.0
    """Time that the steps waited for their images."""
    checkpoints: int = 0
    """Checkpoints that were saved."""
    checkpoint_seconds: float = 0.0
    """Time in which they were saved."""


class Pace:
    """Limits how often fast work is reported."""

    def __init__(self, seconds: float = 0.5) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Return True once every `seconds`."""
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


class Reporter:
    """Sends the reports of a stage, each a line with one JSON object."""

    def __init__(self, send: Callable[[bytes], Any]) -> None:
        self._send = send

    @classmethod
    def from_environment(cls) -> "Reporter":
        """Write to the descriptor in FINETUNE_REPORT_FD; without one, drop the reports."""
        if descriptor := os.environ.get("FINETUNE_REPORT_FD"):
            return cls(open(int(descriptor), "wb", buffering=0).write)
        return cls(lambda line: None)

    def stage(self, name: str) -> None:
        """Report that a stage begins."""
        self._line(stage=name)

    def progress(
        self,
        *,
        step: int | None = None,
        fraction: float | None = None,
        metrics: tuple[Metric, ...] = (),
        note: str = "",
        work: Work | None = None,
    ) -> None:
        """Report work done: `step` counts up within the stage, `fraction` is 0..1 of the stage,
        `metrics` replace those of the same name, `note` is human-readable ("epoch 3 of 8")."""
        self._line(
            step=step,
            fraction=fraction,
            metrics=msgspec.to_builtins(metrics),
            note=note,
            work=msgspec.to_builtins(work),
        )

    def waiting(self, note: str) -> Callable[[int], None]:
        """Return a function that reports a wait, given its seconds so far: so it is no stall."""
        return lambda seconds: self.progress(step=seconds, note=note)

    def dataset(self, status: DatasetStatus) -> None:
        """Report the counts of the data set."""
        self._line(dataset=msgspec.to_builtins(status))

    def model(self, status: ModelStatus) -> None:
        """Report the pretrained network."""
        self._line(model=msgspec.to_builtins(status))

    def checkpoint(self, status: CheckpointStatus) -> None:
        """Report a checkpoint that is complete in the workspace."""
        self._line(checkpoint=msgspec.to_builtins(status))

    def error(self, *, code: int, message: str, hint: str) -> None:
        """Report the error of this stage; the process then exits with `code`."""
        self._line(error={"code": code, "message": message, "hint": hint})

    def _line(self, **fields: Any) -> None:
        self._send(json.dumps(fields).encode() + b"\n")
