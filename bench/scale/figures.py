"""One measurement, and how its figures are named."""

import statistics
from collections.abc import Iterable

import msgspec

TOGETHER = "all processes, ms of CPU a job"
PODS, DONE = "all pods, s", "all done, s"
REQUESTS = "requests a job"
QUIET = "one alone: create to pod p50, ms"
READY, RESTARTED = "restart to ready, s", "restart to a new job's pod, s"
PEAK = "operator's memory at its peak, MiB"
COMPARED = (PODS, DONE, TOGETHER)
"""The figures that are given as multiples of the same Jobs', too."""


class Row(msgspec.Struct, kw_only=True, rename="camel"):
    """What one scenario found for one kind of work."""

    scenario: str
    work: str
    jobs: int
    revision: str = ""
    """Of the operator, or of the Jobs that it would make."""
    series: int = 1
    figures: dict[str, float]
    cpu_seconds: dict[str, float] = {}
    """By process."""
    requests: dict[str, int] = {}
    """By verb and resource; "client: " is before them where it is known."""

    @property
    def name(self) -> str:
        """The heading of its column."""
        return " ".join(filter(None, (self.work, self.revision)))


def quantiles(name: str, values: Iterable[float], *, unit: str) -> dict[str, float]:
    """Return the median, the 95th and the 99th of 100, and the largest of some values."""
    ordered = sorted(values)
    if len(ordered) < 2:
        return {f"{name}, {unit}": each for each in ordered}
    cuts = statistics.quantiles(ordered, n=100, method="inclusive")
    parts = {"p50": cuts[49], "p95": cuts[94], "p99": cuts[98], "max": ordered[-1]}
    return {f"{name} {part}, {unit}": value for part, value in parts.items()}
