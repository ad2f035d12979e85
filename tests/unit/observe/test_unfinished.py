"""At the start the unfinished FineTuneJobs come first."""

import msgspec
from aiohttp import web
from finetune_operator.kube.workqueue import WorkQueue
from finetune_operator.observe.cache import Cache, Key
from finetune_operator.observe.unfinished import list_unfinished

from tests.support.api_server import Answer, ApiServer, Body, serving
from tests.support.builders import make_job, make_status


def item(name: str, *, started: bool = False) -> Body:
    job = make_job(make_status(attempt=1) if started else None)
    body: Body = msgspec.to_builtins(job)
    return body | {"metadata": body["metadata"] | {"name": name}}


async def test_new_jobs_come_first_and_what_cannot_be_decoded_is_left_out() -> None:
    broken = item("broken") | {"spec": []}
    items = [item("a", started=True), broken, item("b")]
    cache, queue = Cache(), WorkQueue[Key]()
    server = ApiServer(lambda *_: Answer({"metadata": {}, "items": items}))
    async with serving(server) as client:
        await list_unfinished(client, cache, queue, ())
    (request,) = server.requests
    assert request[2]["fieldSelector"] == "status.phase!=Complete,status.phase!=Failed"
    assert [await queue.get() for _ in range(len(queue))] == [("team", "b"), ("team", "a")]
    assert cache.fine_tune_job(("team", "a"))
    assert cache.fine_tune_job(("team", "broken")) is None


async def test_namespace_that_cannot_be_listed_keeps_back_no_other() -> None:
    def answer(request: web.Request, _: Body) -> Answer:
        if "/namespaces/gone/" in request.path:
            return Answer({"message": "no rights"}, status=403)
        return Answer({"metadata": {}, "items": [item("a")]})

    queue = WorkQueue[Key]()
    async with serving(ApiServer(answer)) as client:
        await list_unfinished(client, Cache(), queue, ("gone", "team"))
    assert len(queue) == 1
