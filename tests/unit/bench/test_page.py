import re
import xml.etree.ElementTree as ElementTree

import pytest

from bench.scale import page, work
from bench.scale.charts import Bar, draw
from bench.scale.figures import DONE, PODS, RESTARTED, Row
from bench.scale.results import Results
from bench.scale.scenarios import ALL

TEXT = "Before.\n\n<!-- figures: times -->\nold\n<!-- end -->\n\nAfter.\n"


def found(*rows: Row, date: str = "2026-11-29") -> Results:
    return Results(date=date, cpus=2, memory_gib=8, versions={"kopf": "1"}, rows=list(rows))


def row(
    name: str, seconds: float, *, scenario: str = "burst", series: int = 1, jobs: int = 100
) -> Row:
    figures = {PODS: seconds, DONE: seconds, RESTARTED: seconds}
    return Row(scenario=scenario, work=name, jobs=jobs, series=series, figures=figures)


def block(name: str, *results: Results) -> str:
    return page.content(name, results)


def test_only_what_is_between_the_marks_is_written_anew() -> None:
    written = page.files([found(row(work.SAME, 10))], TEXT)[page.PAGE]
    assert written.startswith("Before.\n\n<!-- figures: times -->\n2 CPUs, 8 GiB, 2026-11-29;")
    assert written.endswith("<!-- end -->\n\nAfter.\n")
    assert "old" not in written
    assert page.files([found(row(work.SAME, 10))], written)[page.PAGE] == written


def test_a_cell_has_each_series_with_its_own_multiple() -> None:
    rows = [
        row(name, seconds, series=series)
        for series, same in ((1, 10), (2, 20))
        for name, seconds in ((work.SAME, same), (work.FINE_TUNE_JOBS, 40))
    ]
    assert f"| 100: {PODS} | 10 (1.0x); 20 (1.0x) | 40 (4.0x); 40 (2.0x) |" in block(
        "times", found(*rows)
    )


def test_a_scenario_that_was_not_run_is_said_to_be_missing() -> None:
    assert block("polled", found(row(work.SAME, 1))) == "Not measured in this series."


def test_the_last_file_that_has_a_scenario_has_the_word_on_it() -> None:
    first = found(row(work.SAME, 1), row(work.SAME, 2, scenario="steady"), date="2026-01-01")
    second = found(row(work.SAME, 3), date="2026-02-02")
    assert "2026-02-02" in block("times", first, second)
    assert "2026-01-01" in block("steady", first, second)


def test_the_blocks_of_the_page_are_scenarios_or_tables_of_them() -> None:
    names = re.findall(r"<!-- figures: ([\w-]+) -->", page.PAGE.read_text())
    assert {page.TABLES.get(name, (name, ()))[0] for name in names} <= ALL.keys()
    assert len(names) == len(set(names)) == page.PAGE.read_text().count("<!-- end -->")


def test_the_page_and_its_pictures_have_the_figures_of_the_results_that_are_committed() -> None:
    wanted = page.files(page.read(page.FILES), page.PAGE.read_text())
    assert [path for path, text in wanted.items() if path.read_text() != text] == []


@pytest.mark.parametrize("name", page.CHARTS)
def test_a_picture_is_well_formed_and_has_a_title(name: str) -> None:
    root = ElementTree.fromstring(page.CHARTS[name]([found(row(work.SAME, 10))]))
    assert root.find("{http://www.w3.org/2000/svg}title") is not None


def test_bars_are_as_long_as_their_parts_and_the_longest_of_a_group_is_always_as_long() -> None:
    picture = draw(
        "t", ("a", "b"), {"g": [Bar("x", (1, 3)), Bar("y", (2, 0))], "h": [Bar("z", (9,))]}
    )
    widths = [float(w) for w in re.findall(r'width="([\d.]+)" height="16"', picture)]
    x, y, z = widths[0] + widths[1], widths[2] + widths[3], widths[4]
    assert x == pytest.approx(2 * y) == pytest.approx(z)
    assert widths[1] == pytest.approx(3 * widths[0], abs=0.2)
