"""A burst in a cluster that is full of other people's Jobs and pods."""

import asyncio

import aiohttp
from finetune_operator.kube import urls

from bench.population import NAMESPACE, for_each, send
from bench.scale.bench import SETTLE_SECONDS, Setup, running
from bench.scale.figures import Row
from bench.scale.scenarios.burst import measure_on
from bench.scale.scenarios.options import Options
from bench.scale.work import Work, plain_job


async def measure(work: Work, options: Options) -> Row:
    """Return the figures of the burst; the others do nothing meanwhile."""

    async def fill(session: aiohttp.ClientSession) -> None:
        async def create(number: int) -> None:
            job = plain_job(number)
            job["metadata"]["name"] = f"foreign-{number:05}"
            job["spec"]["suspend"] = True
            await send(session, "POST", urls.jobs(NAMESPACE), job)
            # The scheduler leaves a pod with a gate alone.
            spec = job["spec"]["template"]["spec"]
            spec["schedulingGates"] = [{"name": "example.com/never"}]
            pod = {"metadata": {"name": f"foreign-{number:05}"}, "spec": spec}
            await send(session, "POST", urls.pods(NAMESPACE), pod)

        await for_each(range(options.foreign), create)
        await asyncio.sleep(SETTLE_SECONDS)  # each Job gets a condition

    async with running(work, Setup(pods=options.jobs, before=fill)) as bench:
        row = await measure_on(bench, options, scenario="foreign")
    row.figures = {"foreign Jobs, and pods": options.foreign} | row.figures
    return row
