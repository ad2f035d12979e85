"""The place of this pod in its gang. Knows nothing of sockets or of MXNet.

All pods of a gang share the workspace. The pod with index 0 is the leader: it does all that is done
once, and it alone writes. MXNet numbers its workers as they arrive; these numbers are not used.
"""

import dataclasses
from collections.abc import Mapping

from finetune_trainer.contract import ExitCode, TrainerError

PORT = 8081
LEADER = "FINETUNE_LEADER"
"""Variable by which the supervisor gives its stages the pod uid of the leader."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class Gang:
    """The place of this pod. A single pod is a gang of one, and its leader."""

    nodes: int = 1
    index: int = 0
    coordinator: str = ""
    """Host name or address of the leader."""
    port: int = PORT
    """TCP port on which the leader accepts the other pods."""
    join_seconds: float = 1800
    """Seconds that pods wait for each other at the start."""
    peer_seconds: float = 30
    """Seconds without a message after which a pod counts as dead."""
    leader: str = ""
    """Pod uid of the leader; empty until a follower has connected to it."""

    @property
    def is_leader(self) -> bool:
        """True if this pod does all that is done once."""
        return self.index == 0

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> "Gang":
        """Read the place from a pod's environment. A pod that only prepares is a gang of one."""
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
