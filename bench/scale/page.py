"""Puts the figures of a run into docs/performance.md, and draws its pictures.

    python -m bench.scale.page [--check] [RESULTS.json ...]

Each block of the page between `<!-- figures: NAME -->` and `<!-- end -->` is written anew. Of
several files a later one has the word on the scenarios that it has.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import msgspec

from bench.scale import results
from bench.scale.charts import MISSING, Bar, draw
from bench.scale.figures import (
    DONE,
    PEAK,
    PODS,
    QUIET,
    READY,
    REQUESTS,
    RESTARTED,
    TOGETHER,
    Row,
)
from bench.scale.meter import PROCESSES
from bench.scale.results import Results, compared, floor_of, machine, table

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "docs/performance.md"
PICTURES = ROOT / "docs/pictures"
FILES = [ROOT / "bench/results/scale.json"]
BLOCK = re.compile(r"(<!-- figures: ([\w-]+) -->\n).*?(<!-- end -->)", re.DOTALL)
CPU = {f"{name}, ms of CPU a job": name for name in PROCESSES}
TABLES: dict[str, tuple[str, Sequence[str]]] = {
    "times": ("burst", (PODS, DONE)),
    "costs": ("burst", (*CPU, TOGETHER, REQUESTS)),
    "latency": (
        "burst",
        (
            QUIET,
            *(f"create to {what} {part}, s" for what in ("Job", "pod") for part in ("p50", "p99")),
            "wait for a worker p99, s",
            "operator's answer to a probe p99, ms",
            "operator's answer to a probe max, ms",
        ),
    ),
    "memory": (
        "burst",
        (
            "operator's memory at start, MiB",
            PEAK,
            "operator's memory after, MiB",
            "operator's memory after deletion, MiB",
            "idle operator, % of a core",
            "scrape, ms",
        ),
    ),
    "restart": ("burst", (READY, RESTARTED, "finished FineTuneJobs written again")),
    "restart-running": ("restart", ()),
    "requests": ("one", ()),
}
"""The scenario and its figures, all if none is named; other blocks are named by their scenario."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--check", action="store_true", help="only tell what is not current")
    parser.add_argument("files", type=Path, nargs="*", default=FILES)
    arguments = parser.parse_args()
    wanted = files(read(arguments.files), PAGE.read_text())
    old = [path for path, text in wanted.items() if not path.exists() or path.read_text() != text]
    if arguments.check:
        sys.exit("\n".join(f"{path} is not current" for path in old) or None)
    for path in old:
        path.write_text(wanted[path])


def read(paths: Iterable[Path]) -> list[Results]:
    """Return what the files have."""
    return [msgspec.json.decode(path.read_bytes(), type=Results) for path in paths]


def files(found: Sequence[Results], page: str) -> dict[Path, str]:
    """Return the page with its figures, and the pictures."""
    text = BLOCK.sub(lambda block: f"{block[1]}{content(block[2], found)}\n{block[3]}", page)
    drawn = {PICTURES / f"scale-{name}.svg": chart(found) for name, chart in CHARTS.items()}
    return {PAGE: text, **drawn}


def content(name: str, found: Sequence[Results]) -> str:
    """Return what stands in a block of the page."""
    scenario, names = TABLES.get(name, (name, ()))
    all_of = latest(scenario, found)
    if not all_of:
        return MISSING
    rows = all_of.rows
    if name == "requests":
        return results.requests_table(rows)
    names = names or list(dict.fromkeys(figure for row in rows for figure in row.figures))
    return f"{machine(all_of)}.\n\n{figures_table(rows, names)}"


def latest(scenario: str, found: Sequence[Results]) -> Results | None:
    """Return the newest results of a scenario, with its rows alone."""
    for each in reversed(found):
        if rows := [row for row in each.rows if row.scenario == scenario]:
            return msgspec.structs.replace(each, rows=rows)
    return None


def figures_table(rows: Sequence[Row], names: Sequence[str]) -> str:
    """Return a line for each size and figure; the series of a cell stand side by side."""
    columns = list(dict.fromkeys(row.name for row in rows))
    lines = []
    for jobs in dict.fromkeys(row.jobs for row in rows):
        for name in names:
            cells = [cell(rows, name, jobs=jobs, column=column) for column in columns]
            if any(each != "-" for each in cells):
                lines.append([f"{jobs:,}: {name}", *cells])
    return table(("", *columns), lines)


def cell(rows: Sequence[Row], name: str, *, jobs: int, column: str) -> str:
    """Return a figure of each series."""
    own = [row for row in rows if (row.jobs, row.name) == (jobs, column)]
    values = [compared(name, row, floor_of(row, rows)) for row in own]
    return "; ".join(value for value in values if value != "-") or "-"


def bars(
    found: Sequence[Results], names: Sequence[str], *, title: str, legend: Sequence[str], unit: str
) -> str:
    """Draw figures of the burst, the mean of all series; one group for each size. A row without the
    last figure has not all, and is left out.
    """
    burst = latest("burst", found)
    rows = burst.rows if burst else []
    groups: dict[str, list[Bar]] = {}
    for jobs in dict.fromkeys(row.jobs for row in rows):
        for column in dict.fromkeys(row.name for row in rows):
            own = [row for row in rows if (row.jobs, row.name) == (jobs, column)]
            own = [row for row in own if row.figures.keys() >= set(names[-1:])]
            if own:
                parts = [mean([row.figures.get(name, 0) for row in own]) for name in names]
                groups.setdefault(f"{jobs:,} at once", []).append(Bar(column, parts, unit))
    return draw(title, legend, groups)


def mean(values: Sequence[float]) -> float:
    """Return the mean."""
    return sum(values) / len(values)


CHARTS: dict[str, Callable[[Sequence[Results]], str]] = {
    "time": lambda found: bars(
        found, (DONE,), title="Until all are done, seconds", legend=("",), unit="s"
    ),
    "cpu": lambda found: bars(
        found,
        tuple(CPU),
        title="CPU a job by process, milliseconds",
        legend=tuple(CPU.values()),
        unit="ms",
    ),
    "restart": lambda found: bars(
        found,
        (RESTARTED,),
        title="From a restart to a new job's pod, seconds, with so many finished",
        legend=("",),
        unit="s",
    ),
    "memory": lambda found: bars(
        found, (PEAK,), title="Most memory of the operator, MiB", legend=("",), unit="MiB"
    ),
}


if __name__ == "__main__":
    main()
