"""One kind of work on a cluster of its own: how long it takes, and what it costs."""

import asyncio
import contextlib
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass

import aiohttp
import msgspec
from finetune_operator.kube import urls
from finetune_operator.settings import Settings

from bench import requests
from bench.population import NAMESPACE, Object, connect, for_each, send
from bench.scale import kwok
from bench.scale.processes import cpu_seconds, memory_mib
from bench.scale.watch import Watch
from bench.scale.work import Work
from tests.cluster.controlplane import ControlPlane
from tests.support import release
from tests.support.kubelet_world import KubeletWorld
from tests.support.operator_process import OperatorProcess

QPS = 10_000
"""More than a controller or the scheduler can send."""
QUIET_JOBS = 20
QUIET_SECONDS = 0.2
SETTLE_SECONDS = 5
"""Time after the last job is done until what it cost is read: Events come late."""
OPERATOR = "operator"
# Tests have shorter ones.
NOT_SHORTENED = ("progress_interval_seconds", "stuck_after_seconds", "backoff_seconds")


class Figures(msgspec.Struct, kw_only=True, rename="camel"):
    """What was measured; `cpu_seconds` and `requests` are those of the burst."""

    work: str
    jobs: int
    quiet_milliseconds: float
    pods_seconds: float
    done_seconds: float
    cpu_seconds: dict[str, float]
    requests: dict[str, int]
    operator_requests: dict[str, int] = {}
    memory_mib: dict[str, float] = {}
    """Of the operator: at start, at the peak, and after the burst."""
    restart_seconds: float | None = None


@dataclass(frozen=True)
class Reading:
    """What has been used since the start, by process, and by verb and resource."""

    cpu: dict[str, float]
    answered: requests.Counts
    sent: requests.Counts


class Run:
    """Work on a running cluster, with or without the operator."""

    def __init__(
        self,
        plane: ControlPlane,
        work: Work,
        session: aiohttp.ClientSession,
        operator: OperatorProcess | None,
    ) -> None:
        self._plane, self._work, self._session = plane, work, session
        self._operator = operator
        self._numbers = itertools.count()
        self._pods, self._objects = Watch(urls.pods(NAMESPACE)), Watch(work.path)

    async def measure(self, jobs: int) -> Figures:
        """Return the figures of a burst, and of what comes before and after it."""
        async with self._watching():
            memory = self._memory("start", "VmRSS")
            quiet = await self._quiet()
            await asyncio.sleep(SETTLE_SECONDS)
            before = self._read()
            pods, done = await self._burst(jobs)
            await asyncio.sleep(SETTLE_SECONDS)
            after = self._read()
            memory |= self._memory("peak", "VmHWM") | self._memory("after", "VmRSS")
            if len(self._pods.appeared) != len(self._objects.done):
                raise RuntimeError(f"{self._work.name}: not one pod for each")
            return Figures(
                work=self._work.name,
                jobs=jobs,
                quiet_milliseconds=1000 * quiet,
                pods_seconds=pods,
                done_seconds=done,
                cpu_seconds={name: after.cpu[name] - before.cpu[name] for name in after.cpu},
                requests=_named(after.answered - before.answered),
                operator_requests=_named(after.sent - before.sent),
                memory_mib=memory,
                restart_seconds=await self._restart(),
            )

    @contextlib.asynccontextmanager
    async def _watching(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            watches = (self._pods, self._objects)
            tasks = [group.create_task(watch.follow(self._session)) for watch in watches]
            yield
            for task in tasks:
                task.cancel()

    async def _quiet(self) -> float:
        """Return the median of the seconds to the pod of a job that is alone."""
        return statistics.median([await self._one() for _ in range(QUIET_JOBS)])

    async def _one(self) -> float:
        """Create one object, wait until it is done, and return the seconds to its pod."""
        begin, pods, _ = await self._create(1)
        await asyncio.sleep(QUIET_SECONDS)
        return pods - begin

    async def _burst(self, jobs: int) -> tuple[float, float]:
        """Return the seconds until the last pod appeared, and until the last object was done."""
        begin, pods, done = await self._create(jobs)
        return pods - begin, done - begin

    async def _restart(self) -> float | None:
        """Kill the operator; return the seconds from its next start to the pod of a new job."""
        if self._operator is None:
            return None
        self._operator.kill()
        begin = time.monotonic()
        self._operator.launch()
        _, pods, _ = await self._create(1)
        return pods - begin

    async def _create(self, count: int) -> tuple[float, float, float]:
        """Create objects; return the times of the first request, the last pod and the last end."""
        there = len(self._pods.appeared)
        bodies = [self._work.build(next(self._numbers)) for _ in range(count)]
        begin = time.monotonic()

        async def create(body: Object) -> None:
            await send(self._session, "POST", self._work.path, body)

        await for_each(bodies, create)
        pods = await self._pods.until(self._pods.appeared, there + count)
        done = await self._objects.until(self._objects.done, there + count)
        return begin, pods, done

    def _read(self) -> Reading:
        pids = self._plane.pids() | ({OPERATOR: self._operator.pid} if self._operator else {})
        return Reading(
            # First: to read the others takes CPU time.
            cpu={name: cpu_seconds(pid) for name, pid in pids.items()},
            answered=requests.answered(self._plane),
            sent=requests.count_sent(self._operator.get("/metrics") if self._operator else ""),
        )

    def _memory(self, when: str, field: str) -> dict[str, float]:
        return {when: memory_mib(self._operator.pid, field)} if self._operator else {}


async def run(work: Work, jobs: int) -> Figures:
    """Start a cluster for the work, and the operator if it takes part; measure, and stop them."""
    with ControlPlane(scheduler=True, qps=QPS) as plane:
        plane.add_namespace(NAMESPACE)
        KubeletWorld(plane, NAMESPACE)  # its claims
        kwok.start(plane, pods=jobs)
        with operating(plane, work) as operator:
            async with connect(plane) as session:
                return await Run(plane, work, session, operator).measure(jobs)


@contextlib.contextmanager
def operating(plane: ControlPlane, work: Work) -> Iterator[OperatorProcess | None]:
    """Run the operator with the chart's rights and the default times, if the work needs it."""
    if not work.operated:
        yield None
        return
    plane.add_namespace(release.NAMESPACE)
    kubeconfig = release.Release(plane).write_kubeconfig(plane.directory / "operator.kubeconfig")
    times = {name: str(getattr(Settings(), name)) for name in NOT_SHORTENED}
    with OperatorProcess(kubeconfig, **times) as operator:
        yield operator


def _named(counts: requests.Counts) -> dict[str, int]:
    return {" ".join(key): count for key, count in sorted(counts.items())}
