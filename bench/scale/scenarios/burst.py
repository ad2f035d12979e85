"""Many objects at once, after some alone; then the operator is killed, and all are deleted."""

import asyncio
import time

from bench.scale.bench import SETTLE_SECONDS, Bench, Setup, running
from bench.scale.figures import DONE, PEAK, PODS, Row
from bench.scale.meter import costs, cpu_between, lag, queue_age, requests_between
from bench.scale.scenarios.options import Options
from bench.scale.scenarios.restart import restarted
from bench.scale.work import Work

QUIET_JOBS = 20
QUIET_SECONDS = 0.2
MOST_IDLE_SECONDS = 10


async def measure(work: Work, options: Options) -> Row:
    """Return the figures of a burst, and of what comes before and after it."""
    async with running(work, Setup(pods=options.jobs)) as bench:
        return await measure_on(bench, options)


async def measure_on(bench: Bench, options: Options, *, scenario: str = "burst") -> Row:
    """Return the same on a cluster that is there."""
    start = bench.meter.memory("at start")
    quiet = {f"one alone: {name}": ms for name, ms in (await _quiet(bench, options.jobs)).items()}
    await asyncio.sleep(SETTLE_SECONDS)
    row = await once(bench, options.jobs, scenario=scenario)
    idle = await bench.meter.idle(min(options.seconds, MOST_IDLE_SECONDS))
    after = await bench.meter.scrape() | idle | await _end(bench)
    row.figures = start | quiet | row.figures | after
    return row


async def once(bench: Bench, jobs: int, *, scenario: str = "burst") -> Row:
    """Create so many at once; return what that takes."""
    bench.created.clear()
    before = await bench.meter.read()
    async with bench.meter.watching_the_loop():
        begin = time.monotonic()
        batch = await bench.create(jobs)
        pods, done = await batch.have_pods(), await batch.are_done()
    await asyncio.sleep(SETTLE_SECONDS)
    after = await bench.meter.read()
    if len(bench.pods.appeared) != len(bench.objects.done):
        raise RuntimeError(f"{bench.work.name}: not one pod for each")
    times = {PODS: pods - begin, DONE: done - begin}
    return Row(
        scenario=scenario,
        work=bench.work.name,
        revision=bench.work.revision,
        jobs=jobs,
        figures=times
        | costs(before, after, jobs=jobs)
        | bench.latencies()
        | queue_age(before, after)
        | lag(bench.meter)
        | _memory(bench)
        | {"results lost": bench.lost()},
        cpu_seconds=cpu_between(before, after),
        requests=requests_between(before, after),
    )


def _memory(bench: Bench) -> dict[str, float]:
    if not bench.operator:
        return {}
    (peak,) = bench.meter.memory("", "VmHWM").values()
    return {PEAK: peak, **bench.meter.memory("after")}


async def _quiet(bench: Bench, jobs: int) -> dict[str, float]:
    """Return the milliseconds to the Job and the pod of an object that is alone."""
    for _ in range(min(QUIET_JOBS, jobs)):
        await (await bench.create(1)).are_done()
        await asyncio.sleep(QUIET_SECONDS)
    return bench.latencies(unit="ms")


async def _end(bench: Bench) -> dict[str, float]:
    """Restart the operator with all that is there, and delete all."""
    if not bench.operator:
        return {}
    figures = await restarted(bench)
    await bench.delete_all()
    await asyncio.sleep(SETTLE_SECONDS)
    return figures | bench.meter.memory("after deletion")
