"""The sweep finds what a watch missed, on both sides."""

import asyncio

from finetune_operator.cache import Cache, Key, Summary
from finetune_operator.sweep import sweep
from finetune_operator.workqueue import WorkQueue

from tests.unit.apiserver import Answer, ApiServer, Body, serving


def page(*names: str, **metadata: str) -> Answer:
    items = [{"metadata": {"namespace": "team", "name": name}} for name in names]
    return Answer({"metadata": metadata, "items": items})


async def swept(answers: list[Answer], cache: Cache, *, count: int) -> tuple[set[Key], ApiServer]:
    """Sweep a few times; return the first keys that are queued."""
    left = iter(answers)

    def answer(request: object, body: Body) -> Answer:
        return next(left, Answer({"message": "no more"}, status=503))

    server, queue = ApiServer(answer), WorkQueue[Key]()
    async with serving(server) as client:
        task = asyncio.create_task(
            sweep(client, cache, queue, namespaces=(), interval_seconds=0.02)
        )
        async with asyncio.timeout(5):
            keys = {await queue.get() for _ in range(count)}
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
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
