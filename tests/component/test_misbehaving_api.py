"""An API server that refuses, is slow, does not answer, or keeps things back: the job ends where it
would have, and there are never two live Jobs of one FineTuneJob.
"""

import asyncio
import socket
from contextlib import suppress
from urllib.parse import urlsplit

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.support.faults.proxy import Proxy
from tests.support.faults.runs import Stage, all_of
from tests.support.faults.scenarios import SCENARIOS
from tests.support.faults.trouble import PLANS, Trouble
from tests.support.release import Release

AT_ONCE = 10
AFTER_RESTART_SECONDS = 150
"""On a busy machine the API server takes a while to come back, and Kubernetes' own controllers then
wait for up to a minute before they retry (client-go: 30 seconds, twice that by jitter)."""


@pytest.mark.timeout(180)
async def test_each_kind_of_trouble_is_overcome_in_some_scenario(
    plane: ControlPlane, operator_token: str
) -> None:
    async with Stage(plane, token=operator_token, at_once=AT_ONCE) as stage:
        runs = await all_of(
            stage.play(scenario, trouble=Trouble(plan))
            for plan, scenario in zip(PLANS, SCENARIOS.values(), strict=False)
        )
    assert all(run.faults for run in runs)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("plan", PLANS)
async def test_trouble_is_overcome_in_every_scenario(
    plane: ControlPlane, operator_token: str, plan: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async with Stage(plane, token=operator_token, at_once=AT_ONCE) as stage:
        runs = await all_of(
            stage.play(scenario, trouble=Trouble(plan, seed=seed))
            for scenario in SCENARIOS.values()
            for seed in range(3)
        )
    with capsys.disabled():
        print(f"\n{plan}: {sum(run.faults for run in runs)} faults in {len(runs)} runs")


@pytest.mark.parametrize("turns", range(7))
async def test_a_connection_that_is_made_as_the_proxy_closes_is_closed_too(
    plane: ControlPlane, turns: int
) -> None:
    authority = plane.certificate_authority
    async with Proxy(plane.url, certificate_authority=authority, trouble=Trouble()) as proxy:
        address = urlsplit(proxy.url)
        client = socket.create_connection((address.hostname, address.port))
        for _ in range(turns):
            await asyncio.sleep(0)
    with client:
        client.setblocking(False)
        loop = asyncio.get_running_loop()
        with suppress(ConnectionResetError):
            assert await asyncio.wait_for(loop.sock_recv(client, 1), 5) == b""


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(
    ("seconds", "grace_seconds"),
    [(2, 0), (4, 0), (6, 0), (4, 5)],
    ids=["killed after 2 s", "killed after 4 s", "killed after 6 s", "asked to end after 4 s"],
)
async def test_restart_of_the_api_server_is_overcome_in_every_scenario(
    fresh_plane: ControlPlane, seconds: float, grace_seconds: float
) -> None:
    plane = fresh_plane
    token = Release(plane, "finetune-operator").token
    async with Stage(
        plane, token=token, at_once=len(SCENARIOS), end_seconds=AFTER_RESTART_SECONDS
    ) as stage:
        plays = (stage.play(scenario, hidden_writes=1) for scenario in SCENARIOS.values())
        runs = asyncio.create_task(all_of(plays))
        await asyncio.sleep(seconds)
        await asyncio.to_thread(plane.stop_apiserver, grace_seconds=grace_seconds)
        await asyncio.sleep(1)
        await asyncio.to_thread(plane.start_apiserver)
        await runs
