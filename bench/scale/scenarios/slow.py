"""A burst at an API server that lets few in at a time, and at one that is far away."""

from bench.scale.bench import Setup, running
from bench.scale.figures import Row
from bench.scale.scenarios.burst import once
from bench.scale.scenarios.options import Options
from bench.scale.work import Work

IN_FLIGHT = ("--max-requests-inflight=20", "--max-mutating-requests-inflight=10")
"""The defaults are 400 and 200: priority and fairness shares these out among all clients."""
DELAY_SECONDS = 0.1


async def measure_throttled(work: Work, options: Options) -> Row:
    """Return the figures at an API server with few seats."""
    async with running(work, Setup(pods=options.jobs, apiserver_flags=IN_FLIGHT)) as bench:
        return await once(bench, options.jobs, scenario="throttled")


async def measure_slow(work: Work, options: Options) -> Row:
    """Return the figures when each of the operator's requests takes so much longer."""
    async with running(work, Setup(pods=options.jobs, delay_seconds=DELAY_SECONDS)) as bench:
        return await once(bench, options.jobs, scenario="slow")
