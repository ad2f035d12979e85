"""The roles of pods: train, prepare, or follow the leader of a gang."""

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
    """The stages that one pod runs, and how its ending follows from them."""

    stages: tuple[str, ...] | None = None
    """Names of the stages that it runs; None: all."""
    writes: bool = True
    """True if the pod writes in the job's directory."""
    reuses_result: bool = True
    """True if the pod ends at once when an earlier attempt has left a result."""
    conclude: Callable[[Job, Path], Ending]
    """Function that returns the ending, from the files in the job's directory."""

    def select(self, stages: Sequence[Stage]) -> tuple[Stage, ...]:
        """Return the stages that this role runs."""
        return tuple(s for s in stages if self.stages is None or s.name in self.stages)


def _with_result(job: Job, directory: Path) -> Ending:
    return conclude(job, read_json(directory / RESULT, Result))


def _with_data_set(job: Job, directory: Path) -> Ending:
    status = read_json(directory / PACKED, Packed).status
    return Ending(ExitCode.Complete, Termination(job=reference(job), prepared=status))


def _without_result(job: Job, directory: Path) -> Ending:
    return Ending(ExitCode.Complete, Termination(job=reference(job)))


TRAIN = Role(conclude=_with_result)
PREPARE = Role(stages=("fetch", "prepare"), reuses_result=False, conclude=_with_data_set)
FOLLOW = Role(stages=("fit",), writes=False, conclude=_without_result)
"""The role of all pods of a gang but the leader, which alone reports the result."""


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
