"""Two operators and one Lease: only its holder writes, and another follows soon.

Each operator has a proxy of its own, which notes what it asks for and when, and can cut it off.
"""

import asyncio
import itertools
import signal
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Literal

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.support.faults.proxy import Proxy
from tests.support.faults.trouble import Call, Fate, Fault, Trouble
from tests.support.operator_process import OperatorProcess
from tests.support.release import NAMESPACE, Release
from tests.support.world import World, fine_tune_job

pytestmark = pytest.mark.timeout(90)
DURATION, DEADLINE, RETRY = 6.0, 4.0, 0.5
SETTINGS = {
    "lease_duration_seconds": f"{DURATION}",
    "renew_deadline_seconds": f"{DEADLINE}",
    "retry_period_seconds": f"{RETRY}",
}
SLACK = 3.0  # of a busy machine
NUMBERS = itertools.count(1)


class Line(Trouble):
    """The line between an operator and the API server."""

    def __init__(self) -> None:
        super().__init__()
        self.state: Literal["well", "cut", "frozen"] = "well"
        self.writes: list[float] = []
        """When it tried to write anything but the Lease."""

    def of(self, call: Call) -> Fault | Fate | None:
        if call.method != "GET" and "/leases" not in call.path:
            self.writes.append(time.monotonic())
        if self.state == "well":
            return None
        return Fault(forwarded=False, cut=True, delay_seconds=60 * (self.state == "frozen"))


class Peer:
    """An operator and its line."""

    def __init__(self, process: OperatorProcess, line: Line) -> None:
        self.process = process
        self.line = line

    def is_leader(self) -> bool:
        return "finetune_operator_leader 1.0" in self.process.get("/metrics")

    async def until_it_leads(self, *, seconds: float) -> float:
        """Wait; return for how long."""
        start = time.monotonic()
        while not await asyncio.to_thread(self.is_leader):
            waited = time.monotonic() - start
            assert waited < seconds, self.process.log()
            await asyncio.sleep(0.05)
        return time.monotonic() - start


@pytest.fixture(scope="module")
def release(bare_plane: ControlPlane) -> Release:
    return Release(bare_plane, "pair")


@pytest.fixture
def world(bare_plane: ControlPlane, release: Release) -> Iterator[World]:
    namespace = f"leader-{next(NUMBERS)}"
    bare_plane.add_namespace(namespace)
    yield World(bare_plane.api, kubeconfig=bare_plane.kubeconfig, namespace=namespace)
    path = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/pair-leader"
    bare_plane.api.request("DELETE", path)


@asynccontextmanager
async def peers(
    plane: ControlPlane, release: Release, world: World, directory: Path
) -> AsyncIterator[tuple[Peer, Peer]]:
    """Start two operators; yield the leader first."""
    found = []
    authority = plane.certificate_authority
    lines = Line(), Line()
    async with (
        Proxy(plane.url, certificate_authority=authority, trouble=lines[0]) as first,
        Proxy(plane.url, certificate_authority=authority, trouble=lines[1]) as second,
    ):
        with ExitStack() as ends:
            for number, proxy in enumerate((first, second)):
                config = release.write_kubeconfig(directory / f"{number}", url=proxy.url)
                process = OperatorProcess(
                    config, lease=release.setting("LEASE"), namespaces=world.namespace, **SETTINGS
                )
                await asyncio.to_thread(process.start)
                ends.callback(process.close)
                found.append(Peer(process, lines[number]))
                await found[0].until_it_leads(seconds=20)
            yield found[0], found[1]


async def apply(world: World, name: str) -> None:
    """Give the leader something to write; wait until it has."""
    await asyncio.to_thread(world.apply, fine_tune_job(name))


async def worked_on(world: World, name: str, *, seconds: float = 10) -> None:
    await asyncio.to_thread(
        world.wait, "a status", lambda: world.status(name).get("phase"), seconds=seconds
    )


async def test_only_the_leader_writes_and_tells_of_jobs_though_both_are_ready(
    bare_plane: ControlPlane, release: Release, world: World, tmp_path: Path
) -> None:
    async with peers(bare_plane, release, world, tmp_path) as (leader, standby):
        await apply(world, "photos")
        await worked_on(world, "photos")
        assert leader.line.writes
        assert not standby.line.writes
        assert await asyncio.to_thread(standby.process.get, "/readyz") == "ok"
        assert not await asyncio.to_thread(standby.is_leader)
        pages = [await asyncio.to_thread(p.process.get, "/metrics") for p in (leader, standby)]
        assert ['name="photos"' in text for text in pages] == [True, False]


async def test_standby_follows_a_killed_leader_within_the_leases_time(
    bare_plane: ControlPlane, release: Release, world: World, tmp_path: Path
) -> None:
    async with peers(bare_plane, release, world, tmp_path) as (leader, standby):
        await asyncio.to_thread(leader.process.kill)
        await apply(world, "photos")
        await standby.until_it_leads(seconds=DURATION + 2 * RETRY + SLACK)
        await worked_on(world, "photos")
        assert standby.line.writes


async def test_leader_that_ends_hands_over_at_once(
    bare_plane: ControlPlane, release: Release, world: World, tmp_path: Path
) -> None:
    async with peers(bare_plane, release, world, tmp_path) as (leader, standby):
        assert await asyncio.to_thread(leader.process.stop) == 0
        waited = await standby.until_it_leads(seconds=DURATION)
        assert waited < DURATION / 2
        await apply(world, "photos")
        await worked_on(world, "photos")


@pytest.mark.parametrize("state", ["cut", "frozen"])
async def test_leader_that_is_cut_off_stops_to_write_before_another_starts(
    bare_plane: ControlPlane,
    release: Release,
    world: World,
    tmp_path: Path,
    state: Literal["cut", "frozen"],
) -> None:
    async with peers(bare_plane, release, world, tmp_path) as (leader, standby):
        await apply(world, "before")
        await worked_on(world, "before")
        cut_at, leader.line.state = time.monotonic(), state
        # Its open watches go on: it knows of work, and tries.
        for number in range(12):
            await apply(world, f"during-{number}")
            await asyncio.sleep(0.4)
        code = await asyncio.to_thread(leader.process.wait, seconds=DURATION + SLACK + 20)
        assert code == 1
        assert "restarts as a standby" in leader.process.log()
        await standby.until_it_leads(seconds=DURATION + SLACK)
        await worked_on(world, "during-11")
        assert leader.line.writes[-1] <= cut_at + DEADLINE
        assert leader.line.writes[-1] < standby.line.writes[0]
        leader.line.state = "well"
        await asyncio.to_thread(leader.process.start)
        await asyncio.sleep(2 * RETRY)
        assert not await asyncio.to_thread(leader.is_leader)


async def test_leader_that_was_stopped_wakes_up_without_writing(
    bare_plane: ControlPlane, release: Release, world: World, tmp_path: Path
) -> None:
    async with peers(bare_plane, release, world, tmp_path) as (leader, standby):
        leader.process.send(signal.SIGSTOP)
        await standby.until_it_leads(seconds=DURATION + 2 * RETRY + SLACK)
        await apply(world, "photos")
        await worked_on(world, "photos")
        before = len(leader.line.writes)
        leader.process.send(signal.SIGCONT)
        assert await asyncio.to_thread(leader.process.wait, seconds=30) == 1
        assert len(leader.line.writes) == before
