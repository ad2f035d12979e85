"""Makes and removes the cgroups of the nodes' pods, on version 1 (and hybrid) and on version 2.

Version 2 alone was written by the kernel's documentation; the machine it was run on is hybrid.
"""

from pathlib import Path

from tests.cluster import processes
from tests.cluster.layout import NAME, Node

ROOT = Path("/sys/fs/cgroup")


def create(node: Node) -> None:
    """Make the node's cgroup in every hierarchy, ready for limits: the kubelet wants it there."""
    for hierarchy in _hierarchies():
        parent = hierarchy
        for part in node.cgroup.split("/"):
            child = parent / part
            child.mkdir(exist_ok=True)
            _delegate(parent, child)
            parent = child


def end_containers(path: str) -> None:
    """Kill every process in a node's cgroup, or in the whole cluster's."""
    processes.kill_until_gone(lambda: _members(path))


def remove(path: str = NAME) -> None:
    """Kill what is in a cgroup and remove it, with all below it."""
    end_containers(path)
    for hierarchy in _hierarchies():
        below = [file.parent for file in (hierarchy / path).glob("**/cgroup.procs")]
        for directory in sorted(below, reverse=True):
            directory.rmdir()


def _hierarchies() -> list[Path]:
    mounts = (line.split() for line in Path("/proc/mounts").read_text().splitlines())
    return [Path(fields[1]) for fields in mounts if fields[2] in ("cgroup", "cgroup2")]


def _members(path: str) -> list[int]:
    files = [file for root in _hierarchies() for file in (root / path).glob("**/cgroup.procs")]
    return [int(pid) for file in files for pid in file.read_text().split()]


def _delegate(parent: Path, child: Path) -> None:
    """Pass on what a cgroup does not inherit by itself."""
    for name in ("cpuset.cpus", "cpuset.mems"):  # version 1: empty means that nothing can run
        file = child / name
        if file.exists() and (parent / "cgroup.clone_children").exists():
            file.write_text((parent / name).read_text())
    if (parent / "cgroup.subtree_control").exists():  # version 2: no controller unless enabled
        for controller in (parent / "cgroup.controllers").read_text().split():
            (parent / "cgroup.subtree_control").write_text(f"+{controller}")
