"""Which pod of how many this is. Knows nothing of sockets or of MXNet.

All pods of a gang share the workspace. The one with index 0 leads: it does everything that is done
once, and alone writes. MXNet numbers its workers as they arrive; nothing here goes by that.
"""

import dataclasses
from collections.abc import Mapping

from finetune_trainer.contract import ExitCode, TrainerError

PORT = 8081
LEADER = "FINETUNE_LEADER"
"""Supervisor -> stage: pod uid of the leader."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gang:
    """The place of this pod. One on its own is a gang of one, which it leads."""

    nodes: int = 1
    index: int = 0
    coordinator: str = ""
    """Host name or address of the leader."""
    port: int = PORT
    """Where the leader hears of the others."""
    join_seconds: float = 1800
    """How long pods wait for each other at the start."""
    peer_seconds: float = 30
    """A pod that was not heard of for so long is dead."""
    leader: str = ""
    """Pod uid of the leader, known to a follower that has met it."""

    @property
    def is_leader(self) -> bool:
        """Whether this pod does what is done once."""
        return self.index == 0

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Gang":
        """Read the place from the environment of a pod. One that only prepares is alone."""
        nodes = int(environment.get("FINETUNE_NODES", "1"))
        if nodes == 1 or environment.get("FINETUNE_ROLE") == "prepare":
            return cls()
        for name in ("JOB_COMPLETION_INDEX", "FINETUNE_COORDINATOR"):
            if not environment.get(name):
                raise TrainerError(
                    ExitCode.InvalidSpec,
                    f"FINETUNE_NODES is {nodes}, but {name} is not set.",
                    "A gang is the pods of one Indexed Job: see the trainer contract.",
                )
        return cls(
            nodes=nodes,
            index=int(environment["JOB_COMPLETION_INDEX"]),
            coordinator=environment["FINETUNE_COORDINATOR"],
            port=int(environment.get("FINETUNE_GANG_PORT", PORT)),
            join_seconds=float(environment.get("FINETUNE_JOIN_SECONDS", cls.join_seconds)),
            peer_seconds=float(environment.get("FINETUNE_PEER_SECONDS", cls.peer_seconds)),
            leader=environment.get(LEADER, ""),
        )
