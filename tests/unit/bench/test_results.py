import msgspec
import pytest

from bench.scale import results, work
from bench.scale.figures import DONE, PODS, TOGETHER, Row, quantiles
from bench.scale.results import Results


def row(name: str, seconds: float, *, jobs: int = 100, revision: str = "", series: int = 1) -> Row:
    return Row(
        scenario="burst",
        work=name,
        revision=revision,
        jobs=jobs,
        series=series,
        figures={PODS: seconds, DONE: 2 * seconds, TOGETHER: 9.0, "wait, s": 1.0},
        requests={"POST jobs": jobs},
    )


def found(*rows: Row) -> Results:
    versions = {"Kubernetes": "1.34.4"}
    return Results(date="2026-11-29", cpus=2, memory_gib=8, versions=versions, rows=list(rows))


def cells(line_with: str, text: str) -> list[str]:
    (line,) = (line for line in text.splitlines() if line.startswith(f"| {line_with} |"))
    return line.strip("| ").split(" | ")[1:]


SAME = row(work.SAME, 10)
OPERATED = row(work.FINE_TUNE_JOBS, 25)


def test_an_operator_is_compared_with_the_same_jobs() -> None:
    text = results.markdown(found(SAME, OPERATED))
    assert cells(PODS, text) == ["10 (1.0x)", "25 (2.5x)"]
    assert cells("wait, s", text) == ["1", "1"]


def test_each_revision_is_compared_with_the_jobs_that_it_makes_itself() -> None:
    before = [row(work.SAME, 10, revision="a"), row(work.FINE_TUNE_JOBS, 30, revision="a")]
    after = [row(work.SAME, 5, revision="b"), row(work.FINE_TUNE_JOBS, 10, revision="b")]
    floors = [results.floor_of(each, before + after) for each in before + after]
    assert floors == [before[0], before[0], after[0], after[0]]


def test_a_row_of_others_is_compared_with_the_same_jobs_that_there_are() -> None:
    assert results.floor_of(row("others' jobs", 50), [SAME, OPERATED]) is SAME


def test_sizes_and_series_are_not_compared_with_each_other() -> None:
    for other in (row(work.SAME, 10, jobs=1000), row(work.SAME, 10, series=2)):
        assert results.floor_of(OPERATED, [other]) is None
    text = results.markdown(found(SAME, row(work.SAME, 50, jobs=1000)))
    assert "## burst, 100\n" in text
    assert "## burst, 1,000\n" in text


def test_requests_are_those_of_a_job() -> None:
    assert cells("POST jobs", results.markdown(found(SAME))) == ["1.00"]


def test_the_machine_the_date_and_the_versions_stand_above() -> None:
    first = results.markdown(found(SAME)).splitlines()[0]
    assert first == "2 CPUs, 8 GiB, 2026-11-29; Kubernetes 1.34.4."


def test_results_are_read_again_as_they_were_written() -> None:
    both = found(SAME, OPERATED)
    assert msgspec.json.decode(results.as_json(both), type=Results) == both


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "0"), (0.0123, "0.01"), (0.5, "0.50"), (7.26, "7.3"), (45.84, "45.8"), (1234.5, "1,234")],
)
def test_a_number_has_the_digits_that_say_something(value: float, text: str) -> None:
    assert results.number(value) == text


def test_quantiles_name_what_they_are() -> None:
    named = quantiles("wait", range(101), unit="s")
    assert named == {"wait p50, s": 50, "wait p95, s": 95, "wait p99, s": 99, "wait max, s": 100}
    assert quantiles("wait", [], unit="s") == {}
    assert quantiles("wait", [3], unit="s") == {"wait, s": 3}
