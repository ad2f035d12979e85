"""What a pod is asked to do: its stages, and what it says when they are done."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from finetune_trainer.contract import ExitCode, Job, Result, Termination, TrainerError
from finetune_trainer.pipeline import Stage
from finetune_trainer.run.files import read_json
from finetune_trainer.run.gang import Gang
from finetune_trainer.run.handoff import PACKED, RESULT, Packed
from finetune_trainer.supervisor.termination import Ending, conclude, reference


@dataclasses.dataclass(frozen=True, kw_only=True)
class Role:
    """The part of one pod."""

    stages: tuple[str, ...] | None = None
    """Of all stages, these; None: all."""
    owns: bool = True
    """Whether it writes in the job's directory."""
    repeats: bool = True
    """Whether a result that is there already is its end."""
    conclude: Callable[[Job, Path], Ending]
    """How it ended, from what is in the job's directory."""

    def select(self, stages: Sequence[Stage]) -> tuple[Stage, ...]:
        """Return those of the stages that this role runs."""
        return tuple(s for s in stages if self.stages is None or s.name in self.stages)


def _with_result(job: Job, directory: Path) -> Ending:
    return conclude(job, read_json(directory / RESULT, Result))


def _with_data_set(job: Job, directory: Path) -> Ending:
    status = read_json(directory / PACKED, Packed).status
    return Ending(ExitCode.Complete, Termination(job=reference(job), prepared=status))


def _in_silence(job: Job, directory: Path) -> Ending:
    return Ending(ExitCode.Complete, Termination(job=reference(job)))


TRAIN = Role(conclude=_with_result)
PREPARE = Role(stages=("fetch", "prepare"), repeats=False, conclude=_with_data_set)
FOLLOW = Role(stages=("fit",), owns=False, conclude=_in_silence)
"""Of a gang's pods but the first: the leader tells the result."""


def choose(environment: Mapping[str, str], gang: Gang) -> Role:
    """Return the role that FINETUNE_ROLE names."""
    match name := environment.get("FINETUNE_ROLE", "train"):
        case "train":
            return TRAIN if gang.is_leader else FOLLOW
        case "prepare":
            return PREPARE
    raise TrainerError(
        ExitCode.InvalidSpec,
        f"FINETUNE_ROLE is {name!r}, which this trainer does not know.",
        "Use train or prepare.",
    )
