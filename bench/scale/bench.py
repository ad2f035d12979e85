"""A running cluster with everything that takes part in a scenario, and what is done in it.

Each has a control plane of its own: etcd, kube-apiserver, kube-controller-manager and
kube-scheduler, whose clients are not throttled, and KWOK in the place of nodes.
"""

import asyncio
import contextlib
import itertools
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import aiohttp
from finetune_operator.kube import urls
from finetune_operator.settings import Settings

from bench.population import NAMESPACE, Object, connect, for_each, send
from bench.scale import kwok
from bench.scale.figures import quantiles
from bench.scale.meter import Meter
from bench.scale.watch import Watch
from bench.scale.work import Work
from tests.cluster.controlplane import ControlPlane
from tests.support import release
from tests.support.faults.proxy import Proxy
from tests.support.faults.trouble import Call, Fault, Trouble
from tests.support.kubelet_world import KubeletWorld
from tests.support.operator_process import OperatorProcess

QPS = 10_000
"""More than a controller or the scheduler can send."""
SETTLE_SECONDS = 5
"""Time after the last job is done until what it cost is read: Events come late."""
# Tests have shorter ones.
NOT_SHORTENED = ("progress_interval_seconds", "stuck_after_seconds", "backoff_seconds")


async def _nothing(_: aiohttp.ClientSession) -> None:
    pass


@dataclass(frozen=True, kw_only=True)
class Setup:
    """What is special in the cluster of a scenario."""

    pods: int
    namespaces: tuple[str, ...] = (NAMESPACE,)
    named: bool = False
    """The operator watches these namespaces alone."""
    apiserver_flags: tuple[str, ...] = ()
    delay_seconds: float = 0
    """Of each of the operator's requests."""
    audit_log: Path | None = None
    before: Callable[[aiohttp.ClientSession], Awaitable[None]] = _nothing
    """What is done before the operator starts."""


class Distant(Trouble):
    """An API server that answers late."""

    def __init__(self, seconds: float) -> None:
        super().__init__()
        self._fault = Fault(delay_seconds=seconds)

    def of(self, call: Call) -> Fault | None:
        """Return what happens to this request."""
        return None if call.is_watch or call.is_election else self._fault


class Bench:
    """Work on a running cluster, with or without the operator."""

    def __init__(
        self,
        plane: ControlPlane,
        work: Work,
        session: aiohttp.ClientSession,
        operator: OperatorProcess | None,
        namespaces: tuple[str, ...],
    ) -> None:
        self.plane, self.work, self.session = plane, work, session
        self.operator = operator
        self.meter = Meter(plane, operator)
        self._namespaces = itertools.cycle(namespaces)
        self._numbers = itertools.count()
        self.created: dict[str, float] = {}
        """When the creation of each object began, by name."""
        self.pods = Watch(urls.pods(), named_by=work.named_by)
        self.objects = Watch(work.path(""))
        self.jobs = Watch(urls.jobs(), named_by=work.named_by) if work.operated else self.objects

    @contextlib.asynccontextmanager
    async def watching(self) -> AsyncIterator[None]:
        """Watch what appears and what is done; a watch that fails ends the scenario."""
        async with asyncio.TaskGroup() as group:
            watches = {self.pods, self.objects, self.jobs}
            tasks = [group.create_task(watch.follow(self.session)) for watch in watches]
            yield
            for task in tasks:
                task.cancel()

    async def create(
        self,
        count: int,
        change: Callable[[Object], Object] = lambda body: body,
        *,
        rate: float = 0,
    ) -> "Batch":
        """Create objects, all at once or at so many a second."""
        batch = Batch(self, len(self.pods.appeared), len(self.objects.done), count)
        bodies = [change(self.work.build(next(self._numbers))) for _ in range(count)]
        if rate:
            await self._create_at(rate, bodies)
        else:
            await for_each(bodies, self._create)
        return batch

    async def _create_at(self, rate: float, bodies: Iterable[Object]) -> None:
        begin = time.monotonic()
        async with asyncio.TaskGroup() as group:
            for number, body in enumerate(bodies):
                await asyncio.sleep(begin + number / rate - time.monotonic())
                group.create_task(self._create(body))

    async def _create(self, body: Object) -> None:
        self.created[body["metadata"]["name"]] = time.monotonic()
        await send(self.session, "POST", self.work.path(next(self._namespaces)), body)

    async def delete_all(self) -> None:
        """Delete all objects, and wait until what belongs to them is gone."""
        names = [item.metadata for item in self.objects.latest.values()]

        async def delete(item: Object) -> None:
            path = f"{self.work.path(item['namespace'])}/{item['name']}"
            await send(self.session, "DELETE", path, {"propagationPolicy": "Background"})

        await for_each([{"name": n.name, "namespace": n.namespace} for n in names], delete)
        for watch in (self.objects, self.jobs, self.pods):
            await watch.wait(lambda watch=watch: not watch.latest)  # type: ignore[misc]

    def latencies(self, *, unit: str = "s") -> dict[str, float]:
        """Return the times from the creation of each object to its Job, its pod and its end."""
        times = {"pod": self.pods.first}
        if self.work.operated:
            times = {"Job": self.jobs.first, **times}
        scale = 1000 if unit == "ms" else 1
        figures: dict[str, float] = {}
        for name, first in times.items():
            waits = [scale * (first[key] - at) for key, at in self.created.items() if key in first]
            figures |= quantiles(f"create to {name}", waits, unit=unit)
        return figures

    def lost(self) -> int:
        """Return how many FineTuneJobs are complete without an accuracy.

        A Job that appears twice for a FineTuneJob is a fault that ends the scenario.
        """
        if len(self.jobs.appeared) > len(self.objects.appeared):
            raise RuntimeError(f"{self.work.name}: more Jobs than objects")
        if not self.work.operated:
            return 0
        done = [item for uid, item in self.objects.latest.items() if uid in self.objects.done]
        return sum(not item.status.accuracy for item in done)


@dataclass(frozen=True)
class Batch:
    """Objects that were created together."""

    bench: Bench
    pods_before: int
    done_before: int
    count: int

    async def have_pods(self) -> float:
        """Wait until each has a pod; return the moment."""
        pods = self.bench.pods
        return await pods.until(pods.appeared, self.pods_before + self.count)

    async def are_done(self) -> float:
        """Wait until each is done; return the moment."""
        objects = self.bench.objects
        return await objects.until(objects.done, self.done_before + self.count)


@contextlib.asynccontextmanager
async def running(work: Work, setup: Setup) -> AsyncIterator[Bench]:
    """Start a cluster for the work, and the operator if it takes part; stop them at the end."""
    with ControlPlane(
        scheduler=True, qps=QPS, audit_log=setup.audit_log, apiserver_flags=setup.apiserver_flags
    ) as plane:
        for namespace in setup.namespaces:
            plane.add_namespace(namespace)
            KubeletWorld(plane, namespace)  # its claims
        kwok.start(plane, pods=setup.pods)
        async with connect(plane) as session:
            await setup.before(session)
            async with operating(plane, work, setup) as operator:
                bench = Bench(plane, work, session, operator, setup.namespaces)
                async with bench.watching():
                    yield bench


@contextlib.asynccontextmanager
async def operating(
    plane: ControlPlane, work: Work, setup: Setup
) -> AsyncIterator[OperatorProcess | None]:
    """Run the operator with the chart's rights and the default times, if the work needs it."""
    if not work.checkout or not work.operated:
        yield None
        return
    plane.add_namespace(release.NAMESPACE)
    names = ",".join(setup.namespaces) if setup.named else ""
    flags = [f"--set=settings.namespaces={{{names}}}"] if names else []
    chart = release.Release(plane, "finetune-operator", *flags, chart=work.checkout.chart)
    settings = {name: str(getattr(Settings(), name)) for name in NOT_SHORTENED}
    async with _address(plane, setup.delay_seconds) as url:
        kubeconfig = chart.write_kubeconfig(plane.directory / "operator.kubeconfig", url=url)
        operator = OperatorProcess(
            kubeconfig, work.checkout.directory, namespaces=names, **settings
        )
        try:
            await asyncio.to_thread(operator.start)  # a proxy is served meanwhile
            yield operator
        finally:
            operator.close()


@contextlib.asynccontextmanager
async def _address(plane: ControlPlane, delay_seconds: float) -> AsyncIterator[str]:
    """Return the address of a proxy that delays each request, if it should."""
    if not delay_seconds:
        yield ""
        return
    authority, trouble = plane.certificate_authority, Distant(delay_seconds)
    async with Proxy(plane.url, certificate_authority=authority, trouble=trouble) as proxy:
        yield proxy.url
