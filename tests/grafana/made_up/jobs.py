"""The made-up jobs, and what each is doing when: six hours."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

MINUTES = 360
EPOCHS = 30
WAITING, ACTIVE, FINISHED = (
    {"Pending", "Queued", "Starting"},
    {"Starting", "Preparing", "Training"},
    {"Complete", "Failed"},
)
PHASES = (*sorted(WAITING | ACTIVE | FINISHED), "Suspended")


class Stage(NamedTuple):
    """A part of a job's life: since when (in minutes), its phase, attempt and reason."""

    at: float
    phase: str
    attempt: int = 0
    reason: str = ""


@dataclass(frozen=True)
class Job:
    """A FineTuneJob and its life."""

    namespace: str
    name: str
    life: tuple[Stage, ...]
    gpus: int = 0
    pods: int = 1
    accuracy: float = 0.93
    fit_minutes: float = 60
    queue: str = ""
    recipe: str = "auto"

    def stage(self, at: float) -> Stage | None:
        """The stage it is in; None before it is created."""
        return next((stage for stage in reversed(self.life) if stage.at <= at), None)

    def first(self, phases: set[str], at: float) -> float | None:
        """When it was first in one of the phases."""
        return next((s.at for s in self.life if s.phase in phases and s.at <= at), None)

    def trained(self, at: float) -> float:
        """Minutes of training so far."""
        ends = [*(stage.at for stage in self.life[1:]), MINUTES + 1.0]
        stages = zip(self.life, ends, strict=True)
        return sum(max(0, min(end, at) - s.at) for s, end in stages if s.phase == "Training")

    def retries(self, reason: str, at: float) -> int:
        """How many attempts so far ended for the reason, and are repeated."""
        return sum(s.phase == "Pending" and s.reason == reason and s.at <= at for s in self.life)

    def epoch(self, at: float) -> int:
        """Epochs that have ended."""
        return min(EPOCHS, int(self.trained(at) / self.fit_minutes * EPOCHS))


def _killed_attempts(*starts: float) -> Iterator[Stage]:
    for attempt, start in enumerate(starts, 1):
        yield Stage(start, "Starting", attempt)
        yield Stage(start + 2, "Training", attempt)
        yield Stage(start + 12, "Pending", attempt, "OutOfMemory")


JOBS = (
    Job(
        "team-a",
        "flowers",
        (
            Stage(5, "Pending"),
            Stage(5.5, "Starting", 1),
            Stage(7, "Preparing", 1),
            Stage(16, "Training", 1),
            Stage(76, "Complete", 1),
        ),
        accuracy=0.9434,
    ),
    Job(
        "team-a",
        "birds",
        (
            Stage(150, "Queued", 0),
            Stage(190, "Starting", 1),
            Stage(193, "Preparing", 1),
            Stage(205, "Training", 1),
            Stage(255, "Pending", 1, "OutOfMemory"),
            Stage(257, "Starting", 2, "OutOfMemory"),
            Stage(259, "Training", 2),
        ),
        gpus=8,
        pods=2,
        accuracy=0.8812,
        fit_minutes=190,
        queue="team-a-gpus",
        recipe="full",
    ),
    Job(
        "team-a",
        "fish",
        (
            Stage(90, "Starting", 1),
            Stage(92, "Training", 1),
            Stage(130, "Pending", 1, "Disrupted"),
            Stage(131, "Starting", 2, "Disrupted"),
            Stage(134, "Training", 2),
            Stage(190, "Complete", 2),
        ),
        gpus=1,
        accuracy=0.9107,
        fit_minutes=70,
    ),
    Job(
        "team-b",
        "bark",
        (
            Stage(205, "Starting", 1),
            Stage(206, "Preparing", 1),
            Stage(210, "Failed", 1, "InvalidData"),
        ),
    ),
    Job(
        "team-b",
        "mushrooms",
        (*_killed_attempts(270, 285, 300, 320), Stage(332.5, "Failed", 4, "BackoffLimitExceeded")),
        gpus=2,
        fit_minutes=200,
    ),
    Job(
        "team-b",
        "leaves",
        (Stage(315, "Queued", 0, "QueueBlocked"),),
        gpus=8,
        queue="team-b-gpus",
    ),
    Job("team-b", "moss", (Stage(347, "Pending"), Stage(348, "Starting", 1, "ImagePullError"))),
    Job(
        "team-c",
        "ferns",
        (Stage(100, "Starting", 1), Stage(102, "Training", 1), Stage(180, "Suspended", 1)),
        gpus=4,
        fit_minutes=200,
    ),
    Job("team-c", "cones", (Stage(350, "Starting", 1), Stage(351, "Preparing", 1)), gpus=1),
)
