"""One namespace that is deleted, forbidden or broken harms no other, at the start and later."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web
from finetune_operator.api.kubernetes import Pod
from finetune_operator.kube import urls
from finetune_operator.kube.informer import Informer
from finetune_operator.observe.namespaces import Namespaces

from tests.support.api_server import HANG, Answer, ApiServer, Body, serving


class Cluster:
    """Namespaces with nothing in them; those in `status` refuse every list and watch."""

    def __init__(self, **status: int) -> None:
        self.status = status
        self.server = ApiServer(self._answer)

    def _answer(self, request: web.Request, body: Body) -> Answer:
        namespace = request.path.split("/")[4]
        if status := self.status.get(namespace):
            return Answer({"message": f"{namespace} is not there"}, status=status)
        if "watch" in request.query:
            return Answer(HANG)
        return Answer({"metadata": {"resourceVersion": "1"}, "items": []})


@asynccontextmanager
async def watching(cluster: Cluster, *names: str) -> AsyncIterator[Namespaces]:
    async with serving(cluster.server) as client:

        def informer(namespace: str) -> Informer[Any]:
            return Informer(
                client,
                urls.pods(namespace),
                Pod,
                selector="a",
                observe=lambda pod, *, deleted: None,
                known=tuple,
                relist_seconds=0.5,
            )

        informers = {name: (informer(name),) for name in names}
        tasks = [asyncio.create_task(each.run()) for (each,) in informers.values()]
        yield Namespaces(informers)
        assert not any(task.done() for task in tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_namespace_that_cannot_be_listed_at_the_start_holds_up_no_other(status: int) -> None:
    cluster = Cluster(bad=status)
    async with watching(cluster, "bad", "good") as namespaces, asyncio.timeout(8):
        await namespaces.until_ready()
        assert (namespaces.is_listed("good"), namespaces.is_listed("bad")) == (True, False)
        assert namespaces.broken() == 1
        cluster.status.clear()
        while not namespaces.is_listed("bad"):  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert namespaces.broken() == 0


async def test_operator_that_can_list_no_namespace_is_not_ready() -> None:
    cluster = Cluster(a=403, b=403)
    async with watching(cluster, "a", "b") as namespaces, asyncio.timeout(8):
        while "not complete" in namespaces.not_ready():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert namespaces.not_ready() == "no namespace can be listed: a is not there"
        cluster.status.clear()
        await namespaces.until_ready()


async def test_namespace_that_is_deleted_later_is_reported_and_no_stale_watch(
    caplog: pytest.LogCaptureFixture,
) -> None:
    cluster = Cluster()
    async with watching(cluster, "a", "b") as namespaces, asyncio.timeout(8):
        await namespaces.until_ready()
        cluster.status["b"] = 403
        while not namespaces.broken():  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        before = namespaces.last_heard("pods")
        while namespaces.last_heard("pods") == before:  # noqa: ASYNC110
            await asyncio.sleep(0.05)
        assert namespaces.not_ready() == ""
        await asyncio.sleep(1)
    assert len([text for text in caplog.messages if "b is not there" in text]) == 1


async def test_whole_cluster_is_one_namespace() -> None:
    async with serving(ApiServer(lambda request, body: Answer({"metadata": {}, "items": []}))) as c:
        informer = Informer(
            c,
            urls.pods(),
            Pod,
            selector="a",
            observe=lambda pod, *, deleted: None,
            known=tuple,
        )
        namespaces = Namespaces({"": (informer,)})
        assert not namespaces.is_listed("team")
        task = asyncio.create_task(informer.run())
        await asyncio.wait_for(namespaces.until_ready(), 5)
        assert namespaces.is_listed("team")
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
