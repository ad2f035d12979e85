"""FineTuneJobs that run, and all end at once."""

import asyncio
import time

from bench.scale import kwok
from bench.scale.bench import SETTLE_SECONDS, Bench, Setup, running
from bench.scale.figures import DONE, Row
from bench.scale.meter import costs, cpu_between, lag, queue_age, requests_between
from bench.scale.scenarios.options import Options
from bench.scale.scenarios.restart import hold
from bench.scale.trainers import Trainers
from bench.scale.work import Work


async def measure(work: Work, options: Options) -> Row:
    """Return what it takes until the result of each is in its status."""
    async with Trainers() as trainers, running(work, Setup(pods=options.jobs)) as bench:
        await hold(bench, options.jobs, trainers)
        await asyncio.sleep(SETTLE_SECONDS)
        before = await bench.meter.read()
        async with bench.meter.watching_the_loop():
            seconds = await end(bench, within_seconds=1)
        await asyncio.sleep(SETTLE_SECONDS)
        after = await bench.meter.read()
        figures = {DONE: seconds} | costs(before, after, jobs=options.jobs)
        figures |= queue_age(before, after) | lag(bench.meter) | {"results lost": bench.lost()}
    return Row(
        scenario="ends",
        work=work.name,
        revision=work.revision,
        jobs=options.jobs,
        figures=figures,
        cpu_seconds=cpu_between(before, after),
        requests=requests_between(before, after),
    )


async def end(bench: Bench, *, within_seconds: float) -> float:
    """Let all pods end; return the seconds until the last FineTuneJob is complete."""
    begin = time.monotonic()
    kwok.let_go(bench.plane, within_seconds=within_seconds)
    objects = bench.objects
    return await objects.until(objects.done, len(objects.appeared)) - begin
