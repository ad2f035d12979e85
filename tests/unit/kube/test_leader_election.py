"""The election: who may take the Lease, who must stop, and that nothing is written after that."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from aiohttp import web
from finetune_operator.api.kubernetes import Pod
from finetune_operator.kube.client import Client, Fenced
from finetune_operator.kube.leader_election import Elector, LostLease
from finetune_operator.settings import Settings

from tests.support.api_server import Answer, ApiServer, Body, serving

TIMES = Settings(
    lease="system/operator",
    lease_duration_seconds=0.6,
    renew_deadline_seconds=0.4,
    retry_period_seconds=0.05,
)


class Leases:
    """One Lease behind HTTP, with resource versions."""

    def __init__(self) -> None:
        self.server = ApiServer(self._answer)
        self.lease: Body | None = None
        self.fail = 0
        self._version = 0

    @property
    def holder(self) -> str:
        assert self.lease
        holder: str = self.lease["spec"].get("holderIdentity", "")
        return holder

    def write(self, spec: Body) -> Body:
        self._version += 1
        metadata = {"name": "operator", "resourceVersion": str(self._version)}
        before = self.lease["spec"] if self.lease else {}
        self.lease = {"metadata": metadata, "spec": before | spec}
        return self.lease

    def _answer(self, request: web.Request, body: Body) -> Answer:
        if self.fail:
            return Answer({}, status=self.fail)
        if request.method == "GET":
            return Answer(self.lease) if self.lease else Answer({}, status=404)
        if request.method == "POST":
            return Answer({}, status=409) if self.lease else Answer(self.write(body["spec"]))
        assert self.lease
        if body["metadata"]["resourceVersion"] != self.lease["metadata"]["resourceVersion"]:
            return Answer({}, status=409)
        return Answer(self.write(body["spec"]))


@pytest.fixture
def leases() -> Leases:
    return Leases()


@pytest.fixture
async def client(leases: Leases) -> AsyncIterator[Client]:
    async with serving(leases.server) as client:
        yield client


async def until(leading: asyncio.Event, seconds: float = 5) -> None:
    await asyncio.wait_for(leading.wait(), seconds)


async def test_lease_that_nobody_holds_is_taken_and_kept(leases: Leases, client: Client) -> None:
    elector = Elector(client, TIMES)
    assert elector.time_to_write() == 0
    running = asyncio.create_task(elector.run())
    await until(elector.leading)
    await asyncio.sleep(0.8)
    assert not running.done()
    assert 0 < elector.time_to_write() <= 0.4
    running.cancel()
    await elector.release()
    assert leases.holder == ""
    assert elector.time_to_write() == 0


async def test_lease_of_another_is_taken_when_it_was_not_renewed_for_its_duration(
    leases: Leases, client: Client
) -> None:
    leases.write({"holderIdentity": "other", "leaseDurationSeconds": 1, "leaseTransitions": 3})
    elector = Elector(client, TIMES)
    running = asyncio.create_task(elector.run())
    await asyncio.sleep(0.5)
    leases.write({"holderIdentity": "other"})  # it has renewed
    await asyncio.sleep(0.7)
    assert not elector.leading.is_set()
    await until(elector.leading)
    assert leases.lease
    assert leases.lease["spec"]["leaseTransitions"] == 4
    running.cancel()


async def test_leader_that_cannot_renew_ends(leases: Leases, client: Client) -> None:
    elector = Elector(client, TIMES)
    running = asyncio.create_task(elector.run())
    await until(elector.leading)
    leases.fail = 500
    with pytest.raises(LostLease, match="not renewed within"):
        await asyncio.wait_for(running, 5)
    assert elector.time_to_write() == 0


async def test_leader_whose_lease_another_holds_ends(leases: Leases, client: Client) -> None:
    elector = Elector(client, TIMES)
    running = asyncio.create_task(elector.run())
    await until(elector.leading)
    leases.write({"holderIdentity": "other"})
    with pytest.raises(LostLease, match="other holds the Lease"):
        await asyncio.wait_for(running, 5)
    await elector.release()
    assert leases.holder == "other"


async def test_release_that_fails_is_left_to_the_leases_duration(
    leases: Leases, client: Client
) -> None:
    elector = Elector(client, TIMES)
    running = asyncio.create_task(elector.run())
    await until(elector.leading)
    running.cancel()
    leases.fail = 500
    await elector.release()
    assert leases.holder


async def test_nothing_is_written_when_the_time_is_over(leases: Leases, client: Client) -> None:
    leases.write({})
    fenced = Client(client._api.configuration, time_to_write=lambda: 0)
    with pytest.raises(Fenced):
        await fenced.create("/api/v1/namespaces/team/pods", {}, Pod)
    await fenced.get("/api/v1/namespaces/team/pods/x", Pod)
    await fenced.close()
    assert [method for method, *_ in leases.server.requests] == ["GET"]


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"LEASE": "operator"}, "LEASE"),
        ({"RETRY_PERIOD_SECONDS": "5"}, "RETRY_PERIOD_SECONDS"),
        ({"RENEW_DEADLINE_SECONDS": "15"}, "RENEW_DEADLINE_SECONDS"),
    ],
)
def test_times_that_do_not_fit_are_refused(settings: dict[str, str], named: str) -> None:
    environment = {f"FINETUNE_OPERATOR_{name}": value for name, value in settings.items()}
    with pytest.raises(ValueError, match=f"FINETUNE_OPERATOR_{named}"):
        Settings.from_environment(environment)
