"""The sweep finds what a watch missed, on both sides, and that the watch is deaf."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from finetune_operator.kube.workqueue import WorkQueue
from finetune_operator.observe.cache import Cache, Key, Summary
from finetune_operator.observe.resync import Sweep

from tests.support.api_server import Answer, ApiServer, Body, serving

PATIENCE = 0.2


def page(*names: str, version: str = "7", **metadata: str) -> Answer:
    items = [
        {"metadata": {"namespace": "team", "name": name, "resourceVersion": version}}
        for name in names
    ]
    return Answer({"metadata": metadata, "items": items})


@asynccontextmanager
async def sweeping(
    answers: list[Answer], cache: Cache, queue: WorkQueue[Key]
) -> AsyncIterator[tuple[Sweep, ApiServer]]:
    """Sweep again and again; the last answer is repeated."""
    left = iter(answers)

    def answer(request: object, body: Body) -> Answer:
        return next(left, answers[-1])

    server = ApiServer(answer)
    async with serving(server) as client:
        sweep = Sweep(
            client,
            cache,
            queue,
            namespaces=(),
            interval_seconds=0.02,
            patience_seconds=PATIENCE,
        )
        task = asyncio.create_task(sweep.run())
        yield sweep, server
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def swept(answers: list[Answer], cache: Cache, *, count: int) -> tuple[set[Key], ApiServer]:
    """Sweep a few times; return the first keys that are queued."""
    queue = WorkQueue[Key]()
    async with sweeping(answers, cache, queue) as (_, server), asyncio.timeout(5):
        keys = {await queue.get() for _ in range(count)}
    return keys, server


async def test_both_what_is_there_and_what_was_known_are_queued() -> None:
    cache = Cache()
    cache.jobs["team", "ghost"] = Summary("u", "Training", "", None, 1)
    pages = [page("a", **{"continue": "next"}), page("b")]
    keys, server = await swept(pages, cache, count=3)
    assert keys == {("team", "a"), ("team", "b"), ("team", "ghost")}
    assert server.requests[1][2]["continue"] == "next"


async def test_list_of_nothing_is_none_and_ends_nothing() -> None:
    """The API server writes `"items": null` for metadata of no objects."""
    nothing = Answer({"metadata": {}, "items": None})
    keys, _ = await swept([nothing, page("a")], Cache(), count=1)
    assert keys == {("team", "a")}


async def test_error_is_waited_out() -> None:
    keys, _ = await swept([Answer({}, status=500), page("a")], Cache(), count=1)
    assert keys == {("team", "a")}


async def test_watch_that_never_tells_what_is_listed_is_deaf_until_it_does() -> None:
    async with sweeping([page("a", "b", version="8")], Cache(), WorkQueue[Key]()) as (sweep, _):
        sweep.told(("team", "a"), "7", gone=False)
        sweep.told(("team", "b"), "8", gone=False)
        await asyncio.sleep(PATIENCE / 2)
        assert sweep.deaf() == ""
        await asyncio.sleep(PATIENCE)
        assert sweep.deaf() == "the watch of FineTuneJobs is deaf to team/a"
        sweep.told(("team", "a"), "8", gone=False)
        await asyncio.sleep(PATIENCE * 1.5)
        assert sweep.deaf() == ""


async def test_deletion_that_was_never_told_is_no_deafness() -> None:
    async with sweeping([page("b")], Cache(), WorkQueue[Key]()) as (sweep, _):
        sweep.told(("team", "ghost"), "7", gone=False)
        sweep.told(("team", "b"), "7", gone=False)
        await asyncio.sleep(PATIENCE * 1.5)
        assert sweep.deaf() == ""


async def test_object_that_is_gone_before_its_watch_told_of_it_is_forgotten() -> None:
    async with sweeping([page("a"), page()], Cache(), WorkQueue[Key]()) as (sweep, _):
        await asyncio.sleep(PATIENCE * 1.5)
        assert sweep.deaf() == ""
