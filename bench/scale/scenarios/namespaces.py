"""A burst over many namespaces, watched together or each by itself."""

from bench.scale.bench import Setup, running
from bench.scale.figures import Row
from bench.scale.scenarios.burst import measure_on
from bench.scale.scenarios.options import Options
from bench.scale.work import Work


async def measure(work: Work, options: Options) -> Row:
    """Return the figures with an operator of the whole cluster."""
    return await _measure(work, options, scenario="namespaces", named=False)


async def measure_named(work: Work, options: Options) -> Row:
    """Return the figures with an operator that is given the namespaces, and a role in each."""
    return await _measure(work, options, scenario="named-namespaces", named=True)


async def _measure(work: Work, options: Options, *, scenario: str, named: bool) -> Row:
    names = tuple(f"team-{number:02}" for number in range(options.namespaces))
    setup = Setup(pods=options.jobs, namespaces=names, named=named)
    async with running(work, setup) as bench:
        row = await measure_on(bench, options, scenario=scenario)
    row.figures = {"namespaces": options.namespaces} | row.figures
    return row
