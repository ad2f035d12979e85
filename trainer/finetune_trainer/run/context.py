"""The one argument of a stage: the job, its directories, and how to report.

Stages run in child processes of the supervisor (MXNet can die of a signal or block in C, and
training needs other thread settings than the rest). A stage reads its input from the files of
earlier stages and writes its output to files, from which a later attempt can resume.
"""

import dataclasses
from pathlib import Path, PurePosixPath
from urllib.parse import unquote

from finetune_trainer.contract import (
    ExitCode,
    Job,
    TrainerError,
)
from finetune_trainer.run import files, owner
from finetune_trainer.run.gang import Gang
from finetune_trainer.run.reporter import Reporter


@dataclasses.dataclass(frozen=True)
class Paths:
    """The directories of a run. In a pod: /workspace, /claims/CLAIM, /models; else set by flags."""

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
        """Return the path of `pvc://CLAIM/PATH` or `file:///PATH`; %20 is a space."""
        scheme, _, rest = uri.partition("://")
        path = PurePosixPath(unquote(rest).lstrip("/"))
        if ".." in path.parts:
            raise TrainerError(
                ExitCode.InvalidSpec,
                f'{field} {uri} contains ".."',
                "Write the path of the folder without it.",
            )
        return (self.claims if scheme == "pvc" else Path("/")) / path


@dataclasses.dataclass(frozen=True)
class Run:
    """The input of a stage."""

    job: Job
    paths: Paths
    reporter: Reporter
    gpus: int = 0
    """Number of GPUs of this pod; 0: train on CPUs."""
    threads: int = 1
    """Number of CPUs this container may use (cgroup quota, rounded up)."""
    memory: int | None = None
    """Bytes of memory this container may use (cgroup limit); None: there is no limit."""
    gang: Gang = dataclasses.field(default_factory=Gang)
    """The place of this pod in its gang."""

    def check_owner(self) -> None:
        """Raise if another pod has taken over this run; to be called right before a rename."""
        owner.check(self.paths.job, self.job.pod_uid)

    def hand_on(self, name: str, value: object) -> None:
        """Write a file of the job's directory for later stages."""
        self.check_owner()
        files.write_json(self.paths.job / name, value)
