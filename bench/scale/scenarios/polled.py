"""Running FineTuneJobs that all move, then with half of the pods hanging; then all end in 10 s."""

import asyncio
import datetime

from bench.scale.bench import Bench, Setup, running
from bench.scale.figures import Row, quantiles
from bench.scale.meter import lag, queue_age, shares
from bench.scale.scenarios.ends import end
from bench.scale.scenarios.options import Options
from bench.scale.scenarios.restart import hold
from bench.scale.trainers import Trainers
from bench.scale.work import Work

END_SECONDS = 10
WARM_SECONDS = 20
"""Some polls: until it is known which pods hang, and each report has been written."""
SAMPLE_SECONDS = 2
WRITES = ("PATCH", "finetunejobs/status")


async def measure(work: Work, options: Options) -> Row:
    """Return what the polls cost, how old the progress is, and what is lost at the end."""
    async with Trainers("moving") as trainers, running(work, Setup(pods=options.jobs)) as bench:
        await hold(bench, options.jobs, trainers)
        figures = await _poll(bench, trainers, options.seconds, "all move")
        trainers.hanging = set(sorted(trainers.pods)[::2])
        figures |= await _poll(bench, trainers, options.seconds, "half hang")
        seconds = await end(bench, within_seconds=END_SECONDS)
        figures |= {"end within 10 s to all done, s": seconds, "results lost": bench.lost()}
        figures |= bench.meter.memory("at its peak", "VmHWM")
    return Row(
        scenario="polled",
        work=work.name,
        revision=work.revision,
        jobs=options.jobs,
        figures=figures,
    )


async def _poll(bench: Bench, trainers: Trainers, seconds: float, what: str) -> dict[str, float]:
    """Return the costs and the ages of the progress of the pods that answer."""
    await asyncio.sleep(WARM_SECONDS)
    before = await bench.meter.read()
    ages: list[float] = []
    async with bench.meter.watching_the_loop():
        for _ in range(max(int(seconds / SAMPLE_SECONDS), 1)):
            await asyncio.sleep(SAMPLE_SECONDS)
            ages += _ages(bench, trainers)
    after = await bench.meter.read()
    writes = after.answered[WRITES] - before.answered[WRITES]
    figures = shares(before, after) | {"status writes a second": writes / (after.at - before.at)}
    figures |= quantiles("age of the progress", ages, unit="s")
    figures |= queue_age(before, after) | lag(bench.meter)
    return {f"{what}: {name}": value for name, value in figures.items()}


def _ages(bench: Bench, trainers: Trainers) -> list[float]:
    """Return how old the progress in the status of each FineTuneJob is whose pod answers."""
    now = datetime.datetime.now(datetime.UTC)
    healthy = {
        labels[bench.work.named_by]
        for address, (_, labels) in trainers.pods.items()
        if address not in trainers.hanging
    }
    times = [
        job.status.trainer_status.last_updated_time
        for job in bench.objects.latest.values()
        if job.metadata.name in healthy
    ]
    return [(now - time).total_seconds() if time else float("inf") for time in times]
