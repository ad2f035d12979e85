"""CPUs and memory of a container: its limits, and what it uses."""

from pathlib import Path

import pytest
from finetune_trainer.run.cgroup import available_cpus, memory_limit, working_set


def machine(root: Path, membership: str, files: dict[str, str]) -> dict[str, Path]:
    """Lay out the files of a kernel; return where they are."""
    (root / "membership").write_text(membership)
    for name, text in files.items():
        path = root / "cgroup" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")
    return {"cgroup": root / "cgroup", "membership": root / "membership"}


@pytest.mark.parametrize(
    ("membership", "files", "cpus"),
    [
        ("0::/", {"cpu.max": "200000 100000"}, 2),
        ("0::/", {"cpu.max": "50000 100000"}, 1),
        ("0::/", {"cpu.max": "150000 100000"}, 2),
        ("0::/", {"cpu.max": "max 100000"}, 8),
        ("0::/", {"cpu.max": "9900000 100000"}, 8),
        ("0::/a/b", {"a/cpu.max": "300000 100000", "a/b/cpu.max": "max 100000"}, 3),
        (
            "4:cpu,cpuacct:/kubepods/pod1",
            {"cpu,cpuacct/cpu.cfs_quota_us": "250000", "cpu,cpuacct/cpu.cfs_period_us": "100000"},
            3,
        ),
        ("4:cpu:/", {"cpu/cpu.cfs_quota_us": "-1", "cpu/cpu.cfs_period_us": "100000"}, 8),
        ("", {}, 8),
    ],
)
def test_the_cpu_limit_of_a_container_is_found(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    membership: str,
    files: dict[str, str],
    cpus: int,
) -> None:
    monkeypatch.setattr("os.sched_getaffinity", lambda pid: set(range(8)))
    found = available_cpus(**machine(tmp_path, membership, files))
    assert found == cpus


@pytest.mark.parametrize(
    ("membership", "files", "limit"),
    [
        ("0::/", {"memory.max": "4294967296"}, 2**32),
        ("0::/", {"memory.max": "max"}, None),
        ("0::/a/b", {"a/memory.max": "4294967296", "a/b/memory.max": "max"}, 2**32),
        ("9:memory:/pod1", {"memory/pod1/memory.limit_in_bytes": "1073741824"}, 2**30),
        ("9:memory:/pod1", {"memory/memory.limit_in_bytes": "1073741824"}, 2**30),
        ("9:memory:/", {"memory/memory.limit_in_bytes": "9223372036854771712"}, None),
        ("", {}, None),
    ],
)
def test_the_memory_limit_of_a_container_is_found(
    tmp_path: Path, membership: str, files: dict[str, str], limit: int | None
) -> None:
    found = memory_limit(**machine(tmp_path, membership, files))
    assert found == limit


V1 = {"memory.usage_in_bytes": "700", "memory.stat": "inactive_file 1\ntotal_inactive_file 300"}
V2 = {"memory.current": "700", "memory.stat": "anon 400\ninactive_file 300"}


def below(folder: str, files: dict[str, str]) -> dict[str, str]:
    return {f"{folder}/{name}": text for name, text in files.items()}


@pytest.mark.parametrize(
    ("membership", "files", "used"),
    [
        ("0::/", V2, 400),
        ("0::/a/b", below("a/b", V2) | {"a/memory.current": "9000", "a/memory.stat": ""}, 400),
        ("0::/", V2 | {"memory.stat": "inactive_file 900"}, 0),
        ("9:memory:/pod1\n0::/", below("memory", V1), 400),
        ("9:memory:/pod1", below("memory/pod1", V1), 400),
        ("0::/", {}, None),
    ],
)
def test_the_working_set_of_a_container_is_its_memory_without_inactive_files(
    tmp_path: Path, membership: str, files: dict[str, str], used: int | None
) -> None:
    found = working_set(**machine(tmp_path, membership, files))
    assert found == used


def test_this_machine_has_a_cpu() -> None:
    assert available_cpus() >= 1
