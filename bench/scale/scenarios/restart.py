"""The operator is killed when many FineTuneJobs have finished, and some run: how soon a new one has
its pod, and what is done again that was done.
"""

import asyncio
import re
import time

from finetune_operator.metrics.process import PREFIX

from bench.scale.bench import SETTLE_SECONDS, Bench, Setup, running
from bench.scale.figures import READY, RESTARTED, Row
from bench.scale.scenarios.options import Options
from bench.scale.trainers import Trainers
from bench.scale.work import Work, holding

QUIET_SECONDS = 6
"""More than two polls: then all that a restart brings about is done."""
WORK = re.compile(rf"^{PREFIX}_(?:workqueue_depth|reconciles_total\{{.*\}}) (\S+)$", re.MULTILINE)


async def measure(work: Work, options: Options) -> Row:
    """Return the figures of a restart with these FineTuneJobs."""
    setup = Setup(pods=options.jobs + options.running)
    async with Trainers("still") as trainers, running(work, setup) as bench:
        await (await bench.create(options.jobs)).are_done()
        await hold(bench, options.running, trainers)
        await asyncio.sleep(SETTLE_SECONDS)
        idle = await bench.meter.idle(options.seconds)
        figures = await restarted(bench)
        figures |= bench.meter.memory("at its peak after the restart", "VmHWM")
    return Row(
        scenario="restart",
        work=work.name,
        revision=work.revision,
        jobs=options.jobs,
        figures=idle | {"running": options.running} | figures,
    )


async def hold(bench: Bench, count: int, trainers: Trainers) -> None:
    """Create FineTuneJobs whose pods run on, and wait until all say so; play their trainers."""
    before = len(bench.pods.appeared)
    await (await bench.create(count, holding)).have_pods()

    def all_run() -> bool:
        held = list(bench.pods.appeared)[before:]
        return all(bench.pods.latest[uid].status.address for uid in held)

    await bench.pods.wait(all_run)
    pods = [bench.pods.latest[uid] for uid in list(bench.pods.appeared)[before:]]
    await trainers.play(
        {pod.status.address: (pod.metadata.uid, pod.metadata.labels) for pod in pods}
    )
    await bench.objects.wait(
        lambda: sum(o.status.phase == "Training" for o in bench.objects.latest.values()) >= count
    )


async def restarted(bench: Bench) -> dict[str, float]:
    """Kill the operator and start it again; return what that takes, and what it does again."""
    assert bench.operator
    versions = {uid: o.metadata.resource_version for uid, o in bench.objects.latest.items()}
    finished, jobs = set(bench.objects.done), len(bench.jobs.appeared)
    bench.operator.kill()
    begin = time.monotonic()
    bench.operator.launch()
    ready = asyncio.create_task(_ready(bench))
    pods = await (await bench.create(1)).have_pods()
    figures = {READY: await ready - begin, RESTARTED: pods - begin}
    await quiet(bench)
    now = bench.objects.latest
    rewritten = {
        u for u, version in versions.items() if now[u].metadata.resource_version != version
    }
    return figures | {
        "restart to quiet, s": time.monotonic() - begin - QUIET_SECONDS,
        "duplicate Jobs after it": len(bench.jobs.appeared) - jobs - 1,
        "finished FineTuneJobs written again": len(rewritten & finished),
    }


async def quiet(bench: Bench) -> None:
    """Wait until the operator has had nothing to do for a while but polls."""
    assert bench.operator
    same_since, last = time.monotonic(), ""
    while time.monotonic() - same_since < QUIET_SECONDS:
        page = await asyncio.to_thread(bench.operator.get, "/metrics")
        if (state := " ".join(WORK.findall(page))) != last:
            same_since, last = time.monotonic(), state
        await asyncio.sleep(1)


async def _ready(bench: Bench) -> float:
    assert bench.operator
    while await asyncio.to_thread(bench.operator.get, "/readyz") != "ok":  # noqa: ASYNC110
        await asyncio.sleep(0.05)
    return time.monotonic()
