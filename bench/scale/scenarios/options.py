"""The sizes of a scenario."""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Options:
    """What the command line sets; each scenario takes what it needs."""

    jobs: int = 1000
    seconds: float = 60
    """Of what goes on for a while, and of the idle operator."""
    rate: float = 20
    """Jobs a second, where they come steadily."""
    running: int = 0
    """FineTuneJobs that run while the operator restarts."""
    foreign: int = 20_000
    """Jobs, and pods, that are not the operator's."""
    namespaces: int = 50
