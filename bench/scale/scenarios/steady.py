"""So many objects a second, for a while."""

import time

from bench.scale.bench import Setup, running
from bench.scale.figures import Row
from bench.scale.meter import costs, cpu_between, lag, queue_age, requests_between, shares
from bench.scale.scenarios.options import Options
from bench.scale.work import Work


async def measure(work: Work, options: Options) -> Row:
    """Return what it takes, and whether anything is left behind."""
    jobs = int(options.rate * options.seconds)
    async with running(work, Setup(pods=jobs)) as bench:
        before = await bench.meter.read()
        async with bench.meter.watching_the_loop():
            batch = await bench.create(jobs, rate=options.rate)
            created = time.monotonic()
            behind = jobs - len(bench.objects.done)
            done = await batch.are_done()
        after = await bench.meter.read()
        figures = {
            "a second": options.rate,
            "seconds": options.seconds,
            "not done when the last was created": behind,
            "last created to all done, s": max(done - created, 0),
        }
        figures |= bench.latencies() | shares(before, after) | costs(before, after, jobs=jobs)
        figures |= queue_age(before, after) | lag(bench.meter)
        figures |= bench.meter.memory("at its peak", "VmHWM") | {"results lost": bench.lost()}
    return Row(
        scenario="steady",
        work=work.name,
        revision=work.revision,
        jobs=jobs,
        figures=figures,
        cpu_seconds=cpu_between(before, after),
        requests=requests_between(before, after),
    )
