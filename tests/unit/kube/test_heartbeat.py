"""The probes notice that no request gets through, though the watches may be well."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from finetune_operator.kube.client import Client
from finetune_operator.kube.heartbeat import Heartbeat

from tests.support.api_server import CUT, Answer, ApiServer, Body, serving


class Switched:
    """An API server that cuts each connection, refuses, or answers."""

    def __init__(self) -> None:
        self.answer = Answer({})
        self.server = ApiServer(self._answer)

    def _answer(self, request: web.Request, body: Body) -> Answer:
        return self.answer


@asynccontextmanager
async def beating(
    switched: Switched, *, interval_seconds: float = 0.05
) -> AsyncIterator[tuple[Heartbeat, Client]]:
    async with serving(switched.server) as client:
        heartbeat = Heartbeat(client, "/apis", interval_seconds=interval_seconds)
        task = asyncio.create_task(heartbeat.run())
        yield heartbeat, client
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


@pytest.mark.parametrize("back", [Answer({}), Answer({}, status=403), Answer({}, status=503)])
async def test_requests_that_are_not_answered_are_noticed_until_one_is(back: Answer) -> None:
    switched = Switched()
    async with beating(switched) as (heartbeat, _), asyncio.timeout(8):
        await asyncio.sleep(0.2)
        assert heartbeat.silent(0.1) == ""
        switched.answer = Answer(CUT)
        while not heartbeat.silent(0.3):  # noqa: ASYNC110
            await asyncio.sleep(0.02)
        assert heartbeat.silent(0.3).startswith("the API server has answered no request for")
        assert heartbeat.silent(60) == ""
        switched.answer = back
        while heartbeat.silent(0.3):  # noqa: ASYNC110
            await asyncio.sleep(0.02)


async def test_nothing_is_asked_while_other_requests_are_answered() -> None:
    switched = Switched()
    async with beating(switched, interval_seconds=2) as (_, client):
        for _ in range(25):
            await client.get("/other", dict)
            await asyncio.sleep(0.1)
    assert {path for _, path, _ in switched.server.requests} == {"/other"}
