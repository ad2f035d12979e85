import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from bench.scale.watch import Watch
from tests.support.api_server import HANG, Answer, ApiServer

PATH = "/jobs"


def event(type: str, uid: str, **conditions: str) -> dict[str, Any]:
    listed = [{"type": name, "status": status} for name, status in conditions.items()]
    return {"type": type, "object": {"metadata": {"uid": uid}, "status": {"conditions": listed}}}


@asynccontextmanager
async def connected(*events: dict[str, Any] | str) -> AsyncIterator[aiohttp.ClientSession]:
    app = web.Application()
    app.router.add_get(PATH, ApiServer(lambda *_: Answer(*events)).handle)
    async with (
        TestServer(app) as server,
        aiohttp.ClientSession(server.make_url("/")) as session,
    ):
        yield session


async def test_an_object_appears_once_and_is_done_when_it_is_complete() -> None:
    watch = Watch(PATH)
    events = (
        event("ADDED", "1"),
        event("MODIFIED", "1", Complete="False"),
        event("ADDED", "2"),
        event("MODIFIED", "2", Complete="True"),
    )
    async with connected(*events, HANG) as session:
        following = asyncio.create_task(watch.follow(session))
        done = await watch.until(watch.done, 1)
        following.cancel()
    assert list(watch.appeared) == ["1", "2"]
    assert watch.done == {"2": done}


async def test_an_object_that_fails_ends_the_bench() -> None:
    async with connected(event("ADDED", "1", Failed="True"), HANG) as session:
        with pytest.raises(RuntimeError, match="Failed"):
            await Watch(PATH).follow(session)


async def test_a_watch_that_ends_is_begun_again_and_keeps_the_first_times() -> None:
    watch, answers = Watch(PATH), iter([(event("ADDED", "1"),), (event("ADDED", "1"), HANG)])
    server = ApiServer(lambda *_: Answer(*next(answers)))
    app = web.Application()
    app.router.add_get(PATH, server.handle)
    async with TestServer(app) as site, aiohttp.ClientSession(site.make_url("/")) as session:
        following = asyncio.create_task(watch.follow(session))
        first = await watch.until(watch.appeared, 1)
        async with asyncio.timeout(5):
            while len(server.requests) < 2:  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        following.cancel()
    assert watch.appeared == {"1": first}
