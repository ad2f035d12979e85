from bench.scale import results, work
from bench.scale.run import OPERATOR, Figures

ABOUT = {
    "date": "2026-11-29",
    "commit": "abc1234",
    "cpus": 2,
    "memoryGiB": 8,
    "versions": {"Kubernetes": "1.34.4"},
}


def figures(name: str, seconds: float, jobs: int = 100, *, operated: bool = False) -> Figures:
    return Figures(
        work=name,
        jobs=jobs,
        quiet_milliseconds=8.4,
        pods_seconds=seconds,
        done_seconds=2 * seconds,
        cpu_seconds={"etcd": 0.5, "kwok": 9, **({OPERATOR: 1} if operated else {})},
        requests={"POST jobs": jobs},
        operator_requests={"create jobs": jobs // 2} if operated else {},
        memory_mib={"start": 50, "peak": 80, "after": 70} if operated else {},
        restart_seconds=3.14 if operated else None,
    )


SAME = figures(work.SAME.name, 10)
OPERATED = figures(work.FINE_TUNE_JOBS.name, 25, operated=True)


def cells(line_with: str, text: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {line_with} |"))
    return line.strip("| ").split(" | ")


def test_a_row_is_compared_with_the_same_jobs_of_its_size() -> None:
    larger = figures(work.SAME.name, 50, jobs=1000)
    text = results.markdown(ABOUT, [SAME, OPERATED, larger])
    assert cells(work.FINE_TUNE_JOBS.name, text)[2:4] == ["25.0 (2.5x)", "50.0 (2.5x)"]


def test_without_the_same_jobs_nothing_is_compared() -> None:
    assert cells(work.FINE_TUNE_JOBS.name, results.markdown(ABOUT, [OPERATED]))[2] == "25.0"


def test_the_cost_of_a_job_is_that_of_the_operator_and_the_control_plane_alone() -> None:
    row = cells(work.FINE_TUNE_JOBS.name, results.markdown(ABOUT, [SAME, OPERATED]))
    assert row[4:10] == ["10.0", "0.0", "0.0", "0.0", "5.0", "15.0"]


def test_requests_are_those_of_a_job_of_the_largest_burst() -> None:
    text = results.markdown(ABOUT, [SAME, figures(work.SAME.name, 50, jobs=1000)])
    assert "answered by the API server, a job of 1,000" in text
    assert cells("POST jobs", text) == ["POST jobs", "1.00"]
    assert "sent by the operator" not in text


def test_the_operators_own_requests_have_a_table() -> None:
    text = results.markdown(ABOUT, [SAME, OPERATED])
    assert cells("create jobs", text) == ["create jobs", "0.50"]


def test_the_machine_the_date_and_the_versions_stand_above() -> None:
    first = results.markdown(ABOUT, [SAME]).splitlines()[0]
    assert first == "2 CPUs, 8 GiB, 2026-11-29, abc1234; Kubernetes 1.34.4."
