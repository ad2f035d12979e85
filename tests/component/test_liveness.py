"""What /healthz says: not of an idle cluster or an absent API server, but of a stale watch."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from finetune_operator.api.constants import API_VERSION

from tests.cluster.controlplane import ControlPlane
from tests.support.faults.proxy import Proxy
from tests.support.faults.trouble import Call, Fate, Fault, Trouble
from tests.support.operator_process import OperatorProcess
from tests.support.release import Release
from tests.support.world import World, fine_tune_job

pytestmark = pytest.mark.timeout(60)
RESYNC_SECONDS = 2


class StaleWatches(Trouble):
    """Some watches of FineTuneJobs deliver nothing, their API is not served yet, or no request is
    answered.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stale = self.away = False
        self.unknown = 0
        """How many more times the operator is told that its API is not served."""

    def of(self, call: Call) -> Fault | Fate | None:
        if self.away:
            return Fault(forwarded=False, cut=True)
        if self.unknown and call.path == f"/apis/{API_VERSION}":
            self.unknown -= 1
            return Fault(forwarded=False, status=404)
        if self.stale and call.is_watch and call.path.endswith("/finetunejobs"):
            return Fate(0, "frozen")
        return None


@pytest.fixture(scope="module")
def release(bare_plane: ControlPlane) -> Release:
    return Release(bare_plane, "listener")


@pytest.fixture
def world(bare_plane: ControlPlane, request: pytest.FixtureRequest) -> World:
    name = f"live-{abs(hash(request.node.name)) % 10**8}"
    bare_plane.add_namespace(name)
    return World(bare_plane.api, kubeconfig=bare_plane.kubeconfig, namespace=name)


@asynccontextmanager
async def operating(
    plane: ControlPlane,
    release: Release,
    world: World,
    directory: Path,
    trouble: StaleWatches,
    *,
    resync_seconds: float = RESYNC_SECONDS,
) -> AsyncIterator[OperatorProcess]:
    authority = plane.certificate_authority
    async with Proxy(plane.url, certificate_authority=authority, trouble=trouble) as proxy:
        process = OperatorProcess(
            release.write_kubeconfig(directory / "kubeconfig", url=proxy.url),
            namespaces=world.namespace,
            sweep_interval_seconds=f"{resync_seconds}",
        )
        await asyncio.to_thread(process.start)
        try:
            yield process
        finally:
            await asyncio.to_thread(process.close)


async def health(process: OperatorProcess) -> str:
    return await asyncio.to_thread(process.get, "/healthz")


async def test_idle_cluster_and_absent_api_server_are_no_failures(
    bare_plane: ControlPlane, release: Release, world: World, tmp_path: Path
) -> None:
    trouble = StaleWatches()
    async with operating(bare_plane, release, world, tmp_path, trouble) as process:
        await asyncio.sleep(3 * RESYNC_SECONDS)
        assert await health(process) == "ok"
        trouble.away = True
        await asyncio.to_thread(world.apply, fine_tune_job())
        # Longer than the patience with a stale watch, and short enough that kopf, which waits twice
        # as long after each failure, is back before the patience with what it has missed is over.
        await asyncio.sleep(2.5 * RESYNC_SECONDS)
        assert await health(process) == "ok"
        trouble.away = False
        await asyncio.to_thread(world.wait, "a status", world.status)
        await asyncio.sleep(3 * RESYNC_SECONDS)
        assert await health(process) == "ok"


async def test_stale_watch_of_fine_tune_jobs_is_made_up_for_and_found(
    bare_plane: ControlPlane, release: Release, world: World, tmp_path: Path
) -> None:
    trouble = StaleWatches()
    trouble.stale = True
    async with operating(bare_plane, release, world, tmp_path, trouble) as process:
        await asyncio.to_thread(world.apply, fine_tune_job())
        await asyncio.to_thread(world.wait, "a status", world.status, seconds=3 * RESYNC_SECONDS)
        async with asyncio.timeout(10 * RESYNC_SECONDS):
            while await health(process):  # noqa: ASYNC110 ("" stands for an error)
                await asyncio.sleep(0.2)
        trouble.stale = False
        async with asyncio.timeout(10 * RESYNC_SECONDS):
            while await health(process) != "ok":  # noqa: ASYNC110
                await asyncio.sleep(0.2)


async def test_api_server_that_does_not_serve_fine_tune_jobs_yet_is_waited_for(
    bare_plane: ControlPlane, release: Release, world: World, tmp_path: Path
) -> None:
    trouble = StaleWatches()
    trouble.unknown = 3
    operator = operating(bare_plane, release, world, tmp_path, trouble, resync_seconds=300)
    async with operator as process:  # it is ready only when they are served
        assert "does not serve finetunejobs" in process.log()
        await asyncio.to_thread(world.apply, fine_tune_job())
        await asyncio.to_thread(world.wait, "a status", world.status, seconds=10)
