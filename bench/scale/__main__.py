"""Many FineTuneJobs at once on a real control plane, beside plain Jobs and beside the very Jobs
that the operator makes, created without it. Run from the root of the checkout:

    python -m bench.scale [--scenario burst restart] [--jobs 100 1000] [--out DIRECTORY/NAME]

`--before REVISION` measures an earlier revision in the same series; `--operator` those of other
checkouts, which must have this bench and the same locked packages. `--beside FILE` adds rows that
were measured by other means: JSON as this writes it.
"""

import argparse
import asyncio
import contextlib
import os
from collections.abc import Iterator
from pathlib import Path

import msgspec

from bench.scale import results, work
from bench.scale.checkout import Checkout, worktree
from bench.scale.figures import Row
from bench.scale.results import Results
from bench.scale.scenarios import ALL, Scenario
from bench.scale.scenarios.options import Options
from bench.scale.work import Work
from tests.cluster import programs

SIZES = ("seconds", "rate", "running", "foreign", "namespaces")


def main() -> None:
    arguments = parse()
    programs.ensure(programs.KUBERNETES, programs.KWOK)
    os.environ["PATH"] = f"{programs.KUBERNETES.directory}:{os.environ['PATH']}"
    found = results.about()
    for file in arguments.beside:
        found.rows += msgspec.json.decode(file.read_bytes(), type=Results).rows
    with checkouts(arguments) as operators:
        for row in measured(arguments, operators):
            found.rows.append(row)
            if arguments.out:
                arguments.out.with_suffix(".json").write_bytes(results.as_json(found))
                arguments.out.with_suffix(".md").write_text(results.markdown(found))
            print(msgspec.json.encode(row).decode(), flush=True)
    print("\n" + results.markdown(found))


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--scenario", nargs="+", choices=ALL, default=["burst"])
    parser.add_argument("--jobs", type=int, nargs="+", default=[100, 1000])
    for name in SIZES:
        default = getattr(Options, name)
        parser.add_argument(f"--{name}", type=type(default), default=default)
    parser.add_argument("--series", type=int, default=1, help="repeat all so many times")
    parser.add_argument("--operator", type=Path, nargs="+", default=[Path()], help="checkouts")
    parser.add_argument("--before", metavar="REVISION", help="measure this one, too")
    parser.add_argument("--floor", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--beside", type=Path, nargs="+", default=[], help="results of others")
    parser.add_argument("--out", type=Path, help="write NAME.json and NAME.md")
    return parser.parse_args()


@contextlib.contextmanager
def checkouts(arguments: argparse.Namespace) -> Iterator[list[Checkout]]:
    """Yield the operators that are compared."""
    given = [Checkout(directory) for directory in arguments.operator]
    if not arguments.before:
        yield given
        return
    with worktree(arguments.before) as before:
        yield [before, *given]


def measured(arguments: argparse.Namespace, operators: list[Checkout]) -> Iterator[Row]:
    """Yield one row after the other, those that are compared together."""
    sizes = {name: getattr(arguments, name) for name in SIZES}
    for series in range(1, arguments.series + 1):
        for jobs in arguments.jobs:
            for scenario in map(ALL.__getitem__, arguments.scenario):
                for each in works(operators, scenario, floor=arguments.floor):
                    row = asyncio.run(scenario.measure(each, Options(jobs=jobs, **sizes)))
                    row.series = series
                    yield row


def works(operators: list[Checkout], scenario: Scenario, *, floor: bool) -> Iterator[Work]:
    """Yield the kinds of work that are compared."""
    floor = floor and scenario.has_floor
    if floor:
        yield work.plain()
    for checkout in operators:
        if floor:
            yield work.same(checkout)
        yield work.fine_tune_jobs(checkout)


if __name__ == "__main__":
    main()
