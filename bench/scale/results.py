"""The figures of a run as JSON and as tables, with the machine, the date and the versions."""

import datetime
import os
import platform
from collections.abc import Iterable, Sequence
from importlib.metadata import version

import msgspec

from bench.scale.figures import COMPARED, Row
from bench.scale.work import SAME
from tests.cluster import programs


class Results(msgspec.Struct, kw_only=True, rename="camel"):
    """Where and when this was measured, with what, and what was found."""

    date: str
    cpus: int
    memory_gib: int = msgspec.field(name="memoryGiB")
    versions: dict[str, str]
    rows: list[Row] = []


def about() -> Results:
    """Return results without rows."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Results(
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        cpus=len(os.sched_getaffinity(0)),
        memory_gib=round(memory / 2**30),
        versions={
            "Kubernetes": programs.KUBERNETES_VERSION,
            "KWOK": programs.KWOK.version.removeprefix("v"),
            "Python": platform.python_version(),
            "kopf": version("kopf"),
        },
    )


def as_json(results: Results) -> bytes:
    """Return the whole as JSON for people."""
    return msgspec.json.format(msgspec.json.encode(results)) + b"\n"


def machine(results: Results) -> str:
    """Return where and when it was."""
    versions = ", ".join(f"{name} {number}" for name, number in results.versions.items())
    return f"{results.cpus} CPUs, {results.memory_gib} GiB, {results.date}; {versions}"


def markdown(results: Results) -> str:
    """Return a table for each scenario, size and series; each kind of work is a column."""
    parts = [f"{machine(results)}."]
    for rows in grouped(results.rows):
        first = rows[0]
        series = f", series {first.series}" if results.rows[-1].series > 1 else ""
        parts.append(f"## {first.scenario}, {first.jobs:,}{series}")
        parts.append(_table_of(rows))
        if any(row.requests for row in rows):
            parts.append(requests_table(rows))
    return "\n\n".join(parts) + "\n"


def grouped(rows: Iterable[Row]) -> list[list[Row]]:
    """Return the rows that can be compared together, in their order."""
    groups: dict[tuple[str, int, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row.scenario, row.jobs, row.series), []).append(row)
    return list(groups.values())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown; all columns but the first are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def requests_table(rows: Sequence[Row]) -> str:
    """Return the requests of one job."""
    keys = sorted({key for row in rows for key in row.requests})
    lines = [[key, *(f"{row.requests.get(key, 0) / row.jobs:.2f}" for row in rows)] for key in keys]
    return table(("requests a job", *(row.name for row in rows)), lines)


def floor_of(row: Row, rows: Iterable[Row]) -> Row | None:
    """Return the same Jobs of the same revision and series; of any other, if there are none."""
    same = [
        each
        for each in rows
        if each.work == SAME
        and (each.scenario, each.jobs, each.series) == (row.scenario, row.jobs, row.series)
    ]
    own = [each for each in same if each.revision == row.revision]
    return next(iter(own + same[-1:]), None)


def compared(name: str, row: Row, floor: Row | None) -> str:
    """Return a figure, and how many times that of the floor it is."""
    if name not in row.figures:
        return "-"
    text = number(row.figures[name])
    if name in COMPARED and floor and name in floor.figures:
        return f"{text} ({row.figures[name] / floor.figures[name]:.1f}x)"
    return text


def number(value: float) -> str:
    """Return a figure with the digits that say something."""
    digits = 0 if value == round(value) or abs(value) >= 100 else 1 if abs(value) >= 1 else 2
    return f"{value:,.{digits}f}"


def _table_of(rows: Sequence[Row]) -> str:
    names = dict.fromkeys(name for row in rows for name in row.figures)
    floors = [floor_of(row, rows) for row in rows]
    lines = [
        [name, *(compared(name, row, floor) for row, floor in zip(rows, floors, strict=True))]
        for name in names
    ]
    return table(("", *(row.name for row in rows)), lines)
