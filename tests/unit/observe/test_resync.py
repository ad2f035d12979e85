"""The resync finds what a watch missed, on both sides, and that the watch is stale."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import web
from finetune_operator.kube.workqueue import WorkQueue
from finetune_operator.observe.cache import Cache, Key
from finetune_operator.observe.resync import Resync
from finetune_operator.observe.summary import Summary

from tests.support.api_server import Answer, ApiServer, Body, serving
from tests.support.builders import make_job

PATIENCE = 0.2


def page(*names: str, version: str = "7", **metadata: str) -> Answer:
    items = [
        {"metadata": {"namespace": "team", "name": name, "resourceVersion": version}}
        for name in names
    ]
    return Answer({"metadata": metadata, "items": items})


@asynccontextmanager
async def resyncing(
    answers: list[Answer], cache: Cache, queue: WorkQueue[Key]
) -> AsyncIterator[tuple[Resync, ApiServer]]:
    """Resync again and again; the last answer is repeated."""
    left = iter(answers)

    def answer(request: object, body: Body) -> Answer:
        return next(left, answers[-1])

    server = ApiServer(answer)
    async with running(server, cache, queue) as resync:
        yield resync, server


@asynccontextmanager
async def running(
    server: ApiServer, cache: Cache, queue: WorkQueue[Key], *, namespaces: tuple[str, ...] = ()
) -> AsyncIterator[Resync]:
    async with serving(server) as client:
        resync = Resync(
            client,
            cache,
            queue,
            namespaces=namespaces,
            interval_seconds=0.02,
            patience_seconds=PATIENCE,
        )
        task = asyncio.create_task(resync.run())
        yield resync
        assert not task.done()
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def until(happened: Callable[[], object]) -> None:
    async with asyncio.timeout(10):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


async def swept(answers: list[Answer], cache: Cache, *, count: int) -> tuple[set[Key], ApiServer]:
    """Resync a few times; return the first keys that are queued."""
    queue = WorkQueue[Key]()
    async with resyncing(answers, cache, queue) as (_, server), asyncio.timeout(5):
        keys = {await queue.get() for _ in range(count)}
    return keys, server


async def test_both_what_is_there_and_what_was_known_are_queued() -> None:
    cache = Cache()
    cache.jobs["team", "ghost"] = Summary(uid="u", phase="Training")
    pages = [page("a", **{"continue": "next"}), page("b")]
    keys, server = await swept(pages, cache, count=3)
    assert keys == {("team", "a"), ("team", "b"), ("team", "ghost")}
    assert server.requests[1][2]["continue"] == "next"


async def test_job_in_which_nothing_can_change_is_read_no_more() -> None:
    cache = Cache()
    for name, phase in (("done", "Complete"), ("changed", "Failed"), ("runs", "Training")):
        summary = Summary(uid="u", phase=phase, finished=phase != "Training")
        cache.jobs["team", name] = summary
        cache.reconciled["team", name] = "6" if name == "changed" else "7"
    cache.reconciled["team", "unreadable"] = cache.unreadable["team", "unreadable"] = "7"
    listed = [page("done", "changed", "runs", "unreadable", "new")] * 3
    keys, _ = await swept(listed, cache, count=3)
    assert keys == {("team", "changed"), ("team", "runs"), ("team", "new")}


async def test_job_of_which_the_watch_has_missed_a_version_is_read_again() -> None:
    cache = Cache()
    for name, version in (("missed", "6"), ("watched", "7"), ("ghost", "7")):
        job = make_job()
        metadata = msgspec.structs.replace(job.metadata, name=name, resource_version=version)
        cache.keep(msgspec.structs.replace(job, metadata=metadata))
    await swept([page("missed", "watched")], cache, count=3)
    assert cache.fine_tune_job(("team", "watched"))
    assert cache.fine_tune_job(("team", "missed")) is None
    assert cache.fine_tune_job(("team", "ghost")) is None


async def test_finished_job_that_was_deleted_unseen_is_queued() -> None:
    cache = Cache()
    cache.jobs["team", "ghost"] = Summary(uid="u", phase="Complete", finished=True)
    cache.reconciled["team", "ghost"] = "7"
    keys, _ = await swept([page("a")], cache, count=2)
    assert ("team", "ghost") in keys


async def test_watch_was_heard_when_it_had_an_event_or_a_list_shows_that_it_missed_none() -> None:
    async with resyncing([page("a")], Cache(), WorkQueue[Key]()) as (resync, _):
        await asyncio.sleep(0)
        started = resync.last_heard
        await asyncio.sleep(0.1)
        assert resync.last_heard == started  # it has missed a
        resync.observe(("team", "a"), "7", deleted=False)
        heard = resync.last_heard
        assert heard > started
        await until(lambda: resync.last_heard > heard)


async def test_list_of_nothing_is_none_and_ends_nothing() -> None:
    """The API server writes `"items": null` for metadata of no objects."""
    nothing = Answer({"metadata": {}, "items": None})
    keys, _ = await swept([nothing, page("a")], Cache(), count=1)
    assert keys == {("team", "a")}


async def test_error_is_waited_out() -> None:
    keys, _ = await swept([Answer({}, status=500), page("a")], Cache(), count=1)
    assert keys == {("team", "a")}


async def test_watch_that_never_reports_what_is_listed_is_stale_until_it_does() -> None:
    async with resyncing([page("a", "b", version="8")], Cache(), WorkQueue[Key]()) as (resync, _):
        resync.observe(("team", "a"), "7", deleted=False)
        resync.observe(("team", "b"), "8", deleted=False)
        began = asyncio.get_running_loop().time()
        await until(resync.missed_by_watch)
        assert asyncio.get_running_loop().time() - began >= PATIENCE
        assert (
            resync.missed_by_watch() == "the watch of FineTuneJobs is stale: it has missed team/a"
        )
        resync.observe(("team", "a"), "8", deleted=False)
        await asyncio.sleep(PATIENCE * 1.5)
        assert resync.missed_by_watch() == ""


async def test_deletion_that_was_never_reported_makes_no_watch_stale() -> None:
    async with resyncing([page("b")], Cache(), WorkQueue[Key]()) as (resync, _):
        resync.observe(("team", "ghost"), "7", deleted=False)
        resync.observe(("team", "b"), "7", deleted=False)
        await asyncio.sleep(PATIENCE * 1.5)
        assert resync.missed_by_watch() == ""


async def test_object_that_is_deleted_before_its_watch_reported_it_is_forgotten() -> None:
    async with resyncing([page("a"), page()], Cache(), WorkQueue[Key]()) as (resync, _):
        await asyncio.sleep(PATIENCE * 1.5)
        assert resync.missed_by_watch() == ""


class Refusing:
    """Namespaces with one object each; those in `status` refuse the list."""

    def __init__(self) -> None:
        self.status: dict[str, int] = {}

    def __call__(self, request: web.Request, body: Body) -> Answer:
        namespace = request.path.split("/")[5]
        if status := self.status.get(namespace):
            return Answer({"message": "no"}, status=status)
        metadata = {"namespace": namespace, "name": "photos", "resourceVersion": "8"}
        return Answer({"metadata": {}, "items": [{"metadata": metadata}]})


@asynccontextmanager
async def resyncing_two(refusing: Refusing) -> AsyncIterator[tuple[Resync, WorkQueue[Key]]]:
    queue = WorkQueue[Key]()
    namespaces = ("bad", "good")
    async with running(ApiServer(refusing), Cache(), queue, namespaces=namespaces) as resync:
        yield resync, queue


@pytest.mark.parametrize("status", [403, 404, 500])
async def test_namespace_that_cannot_be_listed_holds_up_no_other(status: int) -> None:
    refusing = Refusing()
    refusing.status["bad"] = status
    async with resyncing_two(refusing) as (_, queue):
        assert await asyncio.wait_for(queue.get(), 5) == ("good", "photos")
        refusing.status.clear()
        assert await asyncio.wait_for(queue.get(), 5) == ("bad", "photos")


async def test_watch_of_a_namespace_that_is_forbidden_later_is_not_called_stale(
    caplog: pytest.LogCaptureFixture,
) -> None:
    refusing = Refusing()
    async with resyncing_two(refusing) as (resync, _):
        for namespace in ("bad", "good"):
            resync.observe((namespace, "photos"), "7", deleted=False)
        await asyncio.sleep(PATIENCE / 2)
        refusing.status["bad"] = 403
        await until(lambda: resync.missed_by_watch().endswith("it has missed good/photos"))
    assert caplog.messages == ["resync of bad: no"]
