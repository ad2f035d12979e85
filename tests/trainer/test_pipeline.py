"""Around the stages: the limits of a container, the overall progress, a bounded run status."""

from pathlib import Path

import pytest
from finetune_trainer.contract import JobRef, Metric
from finetune_trainer.pipeline import STAGES, Stage
from finetune_trainer.run.cgroup import available_cpus, memory_limit
from finetune_trainer.supervisor.estimate import Estimate
from finetune_trainer.supervisor.run_status import PROGRESS_LIMIT, Report, RunStatus
from hypothesis import given, settings
from hypothesis import strategies as st

JOB = JobRef(uid="u", attempt=1, pod_uid="p")


def lay_out(root: Path, files: dict[str, str]) -> None:
    for name, text in files.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text + "\n")


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
    lay_out(tmp_path / "cgroup", files)
    (tmp_path / "membership").write_text(membership)
    found = available_cpus(cgroup=tmp_path / "cgroup", membership=tmp_path / "membership")
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
    lay_out(tmp_path / "cgroup", files)
    (tmp_path / "membership").write_text(membership)
    found = memory_limit(cgroup=tmp_path / "cgroup", membership=tmp_path / "membership")
    assert found == limit


def test_this_machine_has_a_cpu() -> None:
    assert available_cpus() >= 1


TABLE = (Stage("fetch", "", 10), Stage("fit", "", 80), Stage("export", "", 10))


def test_progress_is_weighted_by_stage() -> None:
    estimate = Estimate(TABLE)
    estimate.start("fit")
    estimate.advance(0.5, now=45)
    assert estimate.fraction == pytest.approx(0.5)


def test_remaining_time_follows_the_speed_of_the_current_stage() -> None:
    estimate = Estimate(TABLE)
    estimate.start("fit")
    estimate.advance(0.0, now=100)
    assert estimate.remaining_seconds(now=100) is None
    estimate.advance(0.25, now=120)
    # 80 s for the stage: 60 are left, and 10 for the export by its weight.
    assert estimate.remaining_seconds(now=120) == 70
    assert estimate.remaining_seconds(now=140) == 50
    assert estimate.remaining_seconds(now=1000) == 10


def test_remaining_time_knows_that_a_resumed_stage_starts_with_a_jump() -> None:
    estimate = Estimate(TABLE)
    estimate.start("fit")
    for second in range(1, 11):
        estimate.advance(0.5 + second / 1000, now=second)
    assert estimate.remaining_seconds(now=10) == pytest.approx(490 + 125, abs=2)


def test_a_thousand_reports_a_second_do_not_hide_the_speed() -> None:
    estimate = Estimate(TABLE)
    estimate.start("fit")
    for number in range(30_001):
        estimate.advance(number / 60_000, now=number / 1000)
    assert estimate.remaining_seconds(now=30) == pytest.approx(30 + 7.5, abs=1)


@settings(deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from([stage.name for stage in STAGES]), st.floats(-1, 2), st.floats(0, 100)
        )
    )
)
def test_progress_never_decreases_and_stays_between_0_and_1(
    steps: list[tuple[str, float, float]],
) -> None:
    estimate, now, last = Estimate(STAGES), 0.0, 0.0
    for name, fraction, seconds in steps:
        now += seconds
        estimate.start(name)
        estimate.advance(fraction, now=now)
        assert last <= estimate.fraction <= 1
        last = estimate.fraction
        assert (estimate.remaining_seconds(now=now) or 0) >= 0


def test_the_step_differs_whenever_work_was_done() -> None:
    run_status = RunStatus(JOB, stages=STAGES)
    seen = []
    for stage in STAGES[:2]:
        run_status.start(stage)
        for fraction in (0.1, 0.2):
            run_status.apply(Report(step=1, fraction=fraction))
            seen.append(run_status.snapshot().step)
    assert len(set(seen)) == 4
    run_status.apply(Report(note="still the same"))
    run_status.apply(Report(step=1, fraction=0.2))
    assert run_status.snapshot().step == seen[-1]


def test_a_metric_is_replaced_by_its_name() -> None:
    run_status = RunStatus(JOB, stages=STAGES)
    for value in ("0.1", "0.2"):
        run_status.apply(Report(metrics=(Metric(name="accuracy", value=value),)))
    assert run_status.snapshot().trainer_status.metrics == (Metric(name="accuracy", value="0.2"),)


@settings(deadline=None)
@given(st.lists(st.binary(max_size=3000), max_size=30))
def test_progress_is_bounded_whatever_is_printed(chunks: list[bytes]) -> None:
    run_status = RunStatus(JOB, stages=STAGES)
    for chunk in chunks:
        run_status.log(chunk)
    assert len(run_status.encoded()) <= PROGRESS_LIMIT
    assert all(line.isprintable() for line in run_status.log_tail)


def test_the_last_lines_are_kept_whole() -> None:
    run_status = RunStatus(JOB, stages=STAGES)
    for number in range(100):
        run_status.log(f"line {number}\n".encode())
    run_status.log(b"10 %\r20 %\r30 %")
    assert len(run_status.log_tail) == 20
    assert run_status.log_tail[-4:] == ("line 99", "10 %", "20 %", "30 %")
