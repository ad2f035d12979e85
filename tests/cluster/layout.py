"""The name, the folder and the addresses of the cluster on this machine: constants only.

Everything the cluster owns carries NAME or lies below STATE, which is how `down` finds it. Another
name (FINETUNE_CLUSTER_NAME) in another network namespace is another cluster.
"""

import os
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.components import Components
from tests.cluster.credentials import NODE_NAMES

NAME = os.environ.get("FINETUNE_CLUSTER_NAME", "finetune-cluster")
STATE = Path("/var/lib") / NAME
KUBECONFIG = STATE / "credentials" / "admin.kubeconfig"
VOLUMES = STATE / "volumes"
LOGS = STATE / "logs"

# The nodes' network is TEST-NET-2 (RFC 5737), which is nobody's.
BRIDGE = "finetune0"
NODES_CIDR = "198.51.100.0/24"
PODS_CIDR = "10.244.0.0/16"
DNS_SERVICE = "10.96.0.10"
# The control plane shares the address of the first node; what pods must not reach is on loopback.
PLANE = Components(directory=STATE, address="198.51.100.1", loopback="127.192.0.2")


@dataclass(frozen=True)
class Node:
    """One node: a kubelet and a containerd with folders, cgroup and addresses of their own."""

    number: int

    @property
    def name(self) -> str:
        """The name of the Node object."""
        return NODE_NAMES[self.number - 1]

    @property
    def address(self) -> str:
        """Its address on BRIDGE."""
        return f"198.51.100.{self.number}"

    @property
    def pods_cidr(self) -> str:
        """Where its pods get their addresses."""
        return f"10.244.{self.number}.0/24"

    @property
    def directory(self) -> Path:
        """All its files but the shared volumes."""
        return STATE / self.name

    @property
    def cgroup(self) -> str:
        """Its pods' cgroup, relative to each hierarchy's root."""
        return f"{NAME}/{self.name}"

    @property
    def containerd_socket(self) -> Path:
        """Where its containerd listens."""
        return self.directory / "containerd.sock"


NODES = tuple(Node(number) for number in range(1, len(NODE_NAMES) + 1))
