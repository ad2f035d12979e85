"""FineTuneJobs are created, finish and are deleted, again and again: memory must not grow."""

import time

from bench.scale.bench import Setup, running
from bench.scale.figures import Row
from bench.scale.scenarios.options import Options
from bench.scale.work import Work


async def measure(work: Work, options: Options) -> Row:
    """Return the operator's memory after a quarter of the time, and at the end."""
    samples: list[tuple[float, int, float]] = []
    async with running(work, Setup(pods=options.jobs)) as bench:
        begin, jobs = time.monotonic(), 0
        while not samples or samples[-1][0] < options.seconds:
            await (await bench.create(options.jobs)).are_done()
            await bench.delete_all()
            jobs += options.jobs
            (memory,) = bench.meter.memory("").values()
            samples.append((time.monotonic() - begin, jobs, memory))
        lost = bench.lost()
    _, made, early = next(s for s in samples if s[0] >= samples[-1][0] / 4)
    grown = samples[-1][2] - early
    return Row(
        scenario="churn",
        work=work.name,
        revision=work.revision,
        jobs=options.jobs,
        figures={
            "seconds": samples[-1][0],
            "created and deleted": jobs,
            "memory after a quarter, MiB": early,
            "memory at the end, MiB": samples[-1][2],
            "growth a 1,000 jobs, MiB": 1000 * grown / max(jobs - made, 1),
            "results lost": lost,
        },
    )
