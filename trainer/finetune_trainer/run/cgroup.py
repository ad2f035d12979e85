"""The CPUs and the memory of this container. OpenMP, os.cpu_count() and /proc/meminfo ignore cgroup
limits.
"""

import math
import os
from collections.abc import Iterator
from pathlib import Path

_NO_LIMIT = 1 << 60
"""Version 1 writes a number where there is no limit: the largest one of whole pages."""


def available_cpus(
    *, cgroup: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> int:
    """Return the CPU limit of the cgroup, v1 or v2, rounded up; without one, the usable CPUs."""
    limits = [quota for group in _groups(cgroup, membership) for quota in _quotas(group)]
    return max(1, min([len(os.sched_getaffinity(0)), *map(math.ceil, limits)]))


def memory_limit(
    *, cgroup: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> int | None:
    """Return the bytes of memory that the cgroup, v1 or v2, may take; None if there is no limit."""
    limits = [limit for group in _groups(cgroup, membership) for limit in _bytes(group)]
    return min(limits, default=None)


def working_set(
    *, cgroup: Path = Path("/sys/fs/cgroup"), membership: Path = Path("/proc/self/cgroup")
) -> int | None:
    """Return the bytes of memory that the cgroup, v1 or v2, uses, without files that were not used
    of late: the kubelet counts so, too. None if the kernel does not tell.
    """
    for group in _groups(cgroup, membership):
        for usage, inactive in (
            ("memory.current", "inactive_file"),
            ("memory.usage_in_bytes", "total_inactive_file"),
        ):
            if (group / usage).is_file():
                used = int((group / usage).read_text())
                lines = (group / "memory.stat").read_text().splitlines()
                return max(0, used - int(dict(map(str.split, lines))[inactive]))
    return None


def _groups(cgroup: Path, membership: Path) -> Iterator[Path]:
    """Yield this process's groups and all above them: each may hold a limit.

    In a container the mounted root is the container's own group; outside, the path matters.
    """
    lines = membership.read_text().splitlines() if membership.exists() else []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        root = cgroup / controllers if controllers else cgroup
        group = root / path.lstrip("/")
        yield from (group, *(parent for parent in group.parents if parent.is_relative_to(root)))
    yield from (cgroup, cgroup / "cpu", cgroup / "cpu,cpuacct", cgroup / "memory")


def _quotas(group: Path) -> Iterator[float]:
    version2 = group / "cpu.max"
    if version2.is_file():
        quota, period = version2.read_text().split()
        if quota != "max":
            yield int(quota) / int(period)
    version1 = group / "cpu.cfs_quota_us"
    if version1.is_file() and (quota := version1.read_text().strip()) != "-1":
        yield int(quota) / int((group / "cpu.cfs_period_us").read_text())


def _bytes(group: Path) -> Iterator[int]:
    for name in ("memory.max", "memory.limit_in_bytes"):
        file = group / name
        if (
            file.is_file()
            and (limit := file.read_text().strip()) != "max"
            and int(limit) < _NO_LIMIT
        ):
            yield int(limit)
