"""What one stage sees: the job, its directories, and the way to report.

Stages run in child processes of the supervisor (MXNet can die of a signal or block in C, and
training wants other thread settings than the rest). A stage gets its input from files that earlier
ones left and leaves its output in files, so that a later attempt can go on from them.
"""

import dataclasses
import json
import os
import time
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import msgspec

from finetune_trainer.contract import (
    CheckpointStatus,
    DatasetStatus,
    ExitCode,
    Job,
    Metric,
    ModelStatus,
    TrainerError,
)
from finetune_trainer.run import files, owner
from finetune_trainer.run.gang import Gang


@dataclasses.dataclass(frozen=True)
class Paths:
    """Where things are. In a pod: /workspace, /claims/CLAIM, /models; in a local run: flags."""

    workspace: Path
    claims: Path
    models: Path
    """The bundled catalogue: NAME/{symbol.json,model.params,preprocessing.json}."""
    job: Path
    """workspace/jobs/UID: checkpoints/, best/, stage outputs, result.json, owner."""

    @property
    def packed(self) -> Path:
        """workspace/packed: data sets by digest, shared by all jobs of the workspace."""
        return self.workspace / "packed"

    def local(self, uri: str, *, field: str) -> Path:
        """Return the place that `pvc://CLAIM/PATH` or `file:///PATH` names; %20 is a space."""
        scheme, _, rest = uri.partition("://")
        path = PurePosixPath(unquote(rest).lstrip("/"))
        if ".." in path.parts:
            raise TrainerError(
                ExitCode.InvalidSpec, f'{field} {uri} contains ".."', "Name the folder directly."
            )
        return (self.claims if scheme == "pvc" else Path("/")) / path


class Pace:
    """Says when it is time to report again, of work that goes on much faster."""

    def __init__(self, seconds: float = 0.5) -> None:
        self._seconds = seconds
        self._last = time.monotonic()

    def is_due(self) -> bool:
        """Return whether so much time has passed since it last was."""
        now = time.monotonic()
        if now - self._last < self._seconds:
            return False
        self._last = now
        return True


class Reporter:
    """Sends what a stage reports to the supervisor, one JSON object a line."""

    def __init__(self, send: Callable[[bytes], Any]) -> None:
        self._send = send

    @classmethod
    def from_environment(cls) -> "Reporter":
        """Write to the descriptor in FINETUNE_REPORT_FD; without one, say nothing."""
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
    ) -> None:
        """Report work done: `step` counts up within the stage, `fraction` is 0..1 of the stage,
        `metrics` replace those of the same name, `note` is for people ("epoch 3 of 8")."""
        self._line(step=step, fraction=fraction, metrics=msgspec.to_builtins(metrics), note=note)

    def waiting(self, note: str) -> Callable[[int], None]:
        """Return what says so, given the seconds so far: waiting is no stall."""
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
        """Report why this stage ends; the process then exits with `code`."""
        self._line(error={"code": code, "message": message, "hint": hint})

    def _line(self, **fields: Any) -> None:
        self._send(json.dumps(fields).encode() + b"\n")


@dataclasses.dataclass(frozen=True)
class Run:
    """Everything a stage is given."""

    job: Job
    paths: Paths
    reporter: Reporter
    devices: int = 0
    """GPUs of this pod; 0: CPU."""
    threads: int = 1
    """CPUs this container may use (cgroup quota, rounded up)."""
    memory: int | None = None
    """Bytes of memory this container may use (cgroup limit); None: there is no limit."""
    gang: Gang = dataclasses.field(default_factory=Gang)
    """Which pod of how many this is."""

    def check_owner(self) -> None:
        """Raise if another pod has taken over this run; to be called right before a rename."""
        owner.check(self.paths.job, self.job.pod_uid)

    def hand_on(self, name: str, value: object) -> None:
        """Write a file of the job's directory for the stages to come."""
        self.check_owner()
        files.write_json(self.paths.job / name, value)
