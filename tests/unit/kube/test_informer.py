"""List and watch against an HTTP server that misbehaves, through the real client."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import msgspec
import pytest
from aiohttp import web
from finetune_operator.api.kubernetes import Pod
from finetune_operator.kube.informer import Informer, watch_idle_seconds

from tests.support.api_server import CUT, HANG, Answer, ApiServer, Body, serving

PATH = "/api/v1/pods"


def pod(name: str, version: int = 1, phase: str = "Running") -> Body:
    metadata = {"name": name, "namespace": "team", "uid": name, "resourceVersion": str(version)}
    return {"metadata": metadata, "spec": {"nodeName": "a"}, "status": {"phase": phase}}


def page(*pods: Body, version: int = 1, more: str = "") -> Answer:
    metadata = {"resourceVersion": str(version), "continue": more}
    return Answer({"metadata": metadata, "items": list(pods)})


def line(type: str, body: Body) -> Body:
    return {"type": type, "object": body}


def bookmark(version: int) -> Body:
    return line("BOOKMARK", {"metadata": {"resourceVersion": str(version)}})


GONE = line("ERROR", {"kind": "Status", "code": 410, "message": "too old resource version"})


class Seen:
    """What the informer reported, and the state it adds up to."""

    def __init__(self) -> None:
        self.reported: list[tuple[str, bool]] = []
        self.pods: dict[str, Pod] = {}
        self.failures = 0

    def fail(self) -> None:
        self.failures += 1

    def observe(self, pod: Pod, *, deleted: bool, listed: bool) -> None:
        self.reported.append((pod.metadata.name, deleted))
        if deleted:
            self.pods.pop(pod.metadata.uid, None)
        else:
            self.pods[pod.metadata.uid] = pod


class Script:
    """Lists and watches in the order they are given; then an endless watch."""

    def __init__(self, lists: list[Answer], watches: list[Answer]) -> None:
        self.lists = iter(lists)
        self.watches = iter(watches)

    def __call__(self, request: web.Request, body: Body) -> Answer:
        if "watch" in request.query:
            return next(self.watches, Answer(HANG))
        return next(self.lists)


@asynccontextmanager
async def informing(
    answer: Callable[[web.Request, Body], Answer],
    *,
    relist_seconds: float = 300,
) -> AsyncIterator[tuple[Seen, ApiServer, Informer[Pod]]]:
    server, seen = ApiServer(answer), Seen()
    async with serving(server) as client:
        informer = Informer(
            client,
            PATH,
            Pod,
            selector="a=b",
            observe=seen.observe,
            known=lambda: seen.pods.values(),
            relist_seconds=relist_seconds,
            watch_failed=seen.fail,
        )
        task = asyncio.create_task(informer.run())
        try:
            yield seen, server, informer
        finally:
            assert not task.done(), task
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def until(what: Callable[[], Any]) -> None:
    async with asyncio.timeout(8):
        while not what():  # noqa: ASYNC110 - a test that polls
            await asyncio.sleep(0.02)


def watched_from(server: ApiServer) -> list[str]:
    return [query["resourceVersion"] for _, _, query in server.requests if "watch" in query]


def lists(server: ApiServer) -> int:
    return sum("watch" not in query for _, _, query in server.requests)


async def test_all_pages_are_read_before_it_is_synced_and_then_changes_are_followed() -> None:
    script = Script(
        [page(pod("a"), more="next"), page(pod("b"), version=5)],
        [
            Answer(
                line("ADDED", pod("c", 6)),
                line("MODIFIED", pod("a", 7, "Failed")),
                line("DELETED", pod("b", 8)),
                HANG,
            )
        ],
    )
    async with informing(script) as (seen, server, informer):
        await informer.synced.wait()
        assert seen.pods.keys() >= {"a", "b"}
        await until(lambda: ("b", True) in seen.reported)
        assert {name: each.status.phase for name, each in seen.pods.items()} == {
            "a": "Failed",
            "c": "Running",
        }
        assert server.requests[1][2]["continue"] == "next"
        assert all(query["labelSelector"] == "a=b" for _, _, query in server.requests)
        assert watched_from(server) == ["5"]
        assert informer.last_heard > 0


async def test_what_vanished_while_the_version_was_too_old_is_reported_deleted() -> None:
    script = Script(
        [page(pod("a"), pod("b")), page(pod("b", 9), pod("c", 9), version=9)], [Answer(GONE)]
    )
    async with informing(script) as (seen, _, _):
        await until(lambda: "c" in seen.pods)
        await until(lambda: ("a", True) in seen.reported)
        assert seen.pods.keys() == {"b", "c"}


async def test_what_someone_else_has_observed_and_is_not_in_a_list_is_reported_deleted() -> None:
    """A child is cached when it is created; it may be deleted before the watch reports it."""
    script = Script([page(pod("a")), page(version=9)], [Answer(GONE)])
    async with informing(script) as (seen, _, informer):
        seen.pods["created"] = msgspec.convert(pod("created"), Pod)
        await informer.synced.wait()
        await until(lambda: ("created", True) in seen.reported)


async def test_relist_reports_only_what_has_changed() -> None:
    script = Script([page(pod("a"), pod("b")), page(pod("a"), pod("b", 9))], [Answer(GONE)])
    async with informing(script) as (seen, server, _):
        await until(lambda: len(watched_from(server)) == 2)
        assert seen.reported == [("a", False), ("b", False), ("b", False)]


@pytest.mark.parametrize(
    "broken",
    [
        {"status": {"phase": 7}},
        {"status": {"conditions": [{"status": "True"}]}},
        {"status": {"containerStatuses": [{"state": {"terminated": {"exitCode": "x"}}}]}},
        {"metadata": {"deletionTimestamp": "0000-01-01T00:00:00Z"}},
    ],
)
async def test_object_that_cannot_be_decoded_is_left_out_and_stops_no_other(broken: Body) -> None:
    bad = pod("bad", 4) | broken
    bad["metadata"] = {**pod("bad", 4)["metadata"], **broken.get("metadata", {})}
    script = Script(
        [page(pod("a"), bad, pod("b"))],
        [Answer(line("MODIFIED", {**bad}), line("ADDED", pod("c", 5)), HANG)],
    )
    async with informing(script) as (seen, server, _):
        await until(lambda: "c" in seen.pods)
        assert seen.pods.keys() == {"a", "b", "c"}
        assert len(watched_from(server)) == 1


async def test_object_that_cannot_be_decoded_any_more_is_not_taken_for_deleted() -> None:
    bad = pod("bad", 4) | {"status": {"phase": 7}}
    script = Script([page(pod("bad")), page(bad, pod("b"))], [Answer(GONE)])
    async with informing(script) as (seen, _, _):
        await until(lambda: "b" in seen.pods)
        assert ("bad", True) not in seen.reported


async def test_first_list_is_waited_for_from_the_start() -> None:
    async with informing(lambda request, body: Answer(HANG)) as (_, _, informer):
        await asyncio.sleep(0.05)
        assert asyncio.get_running_loop().time() - informer.last_heard < 5


async def test_idle_watch_is_resumed_and_all_is_listed_anew_now_and_then() -> None:
    script = Script(
        [page(pod("a")), page(pod("b"), version=7)],
        [Answer(line("MODIFIED", pod("a", 2)), HANG), Answer(HANG)],
    )
    async with informing(script, relist_seconds=0.3) as (seen, server, _):
        await until(lambda: len(watched_from(server)) == 2)
        assert watched_from(server) == ["1", "7"]
        assert seen.pods.keys() == {"b"}


async def test_old_version_is_also_told_by_http() -> None:
    script = Script([page(pod("a")), page(version=9)], [Answer({"message": "expired"}, status=410)])
    async with informing(script) as (seen, _, _):
        await until(lambda: ("a", True) in seen.reported)


async def test_cut_watch_goes_on_where_it_was_without_a_list() -> None:
    script = Script(
        [page(version=3)],
        [Answer(line("ADDED", pod("a", 4)), CUT), Answer(line("ADDED", pod("b", 5)), HANG)],
    )
    async with informing(script) as (seen, server, _):
        await until(lambda: "b" in seen.pods)
        assert watched_from(server) == ["3", "4"]
        assert lists(server) == 1


async def test_bookmark_moves_the_version_and_is_not_reported() -> None:
    script = Script([page(version=3)], [Answer(bookmark(50)), Answer(HANG)])
    async with informing(script) as (seen, server, _):
        await until(lambda: len(watched_from(server)) == 2)
        assert watched_from(server) == ["3", "50"]
        assert seen.reported == []


async def test_other_errors_and_garbage_are_waited_out() -> None:
    error = line("ERROR", {"kind": "Status", "code": 500, "message": "etcd is not well"})
    script = Script(
        [Answer({"message": "starting"}, status=503), page(version=3)],
        [Answer(error), Answer(b'{"type": "ADD\n'), Answer(line("ADDED", pod("a", 4)), HANG)],
    )
    async with informing(script) as (seen, server, _):
        await until(lambda: "a" in seen.pods)
        assert watched_from(server) == ["3", "3", "3"]


async def test_server_that_ends_each_watch_at_once_is_not_asked_without_a_pause() -> None:
    def answer(request: web.Request, body: Body) -> Answer:
        return Answer() if "watch" in request.query else page()

    async with informing(answer) as (_, server, _):
        await asyncio.sleep(1.5)
        assert 1 <= len(watched_from(server)) <= 4


async def test_server_for_which_each_version_is_too_old_is_not_listed_without_a_pause() -> None:
    def answer(request: web.Request, body: Body) -> Answer:
        return Answer(GONE) if "watch" in request.query else page()

    async with informing(answer) as (_, server, _):
        await asyncio.sleep(1.5)
        assert 1 <= lists(server) <= 4


@pytest.mark.parametrize(
    ("watch", "failures"),
    [
        pytest.param(Answer(GONE), 1, id="too old"),
        pytest.param(Answer(line("ERROR", {"kind": "Status", "code": 500})), 1, id="error"),
        pytest.param(Answer(line("ADDED", pod("b", 2)), CUT), 1, id="cut"),
        pytest.param(Answer(b"<html>\n"), 1, id="garbage"),
        pytest.param(Answer({}, status=410), 0, id="refused, which is a request that failed"),
        pytest.param(Answer(line("ADDED", pod("b", 2))), 0, id="ended by the server"),
    ],
)
async def test_watch_that_had_begun_and_ends_by_an_error_is_counted(
    watch: Answer, failures: int
) -> None:
    async with informing(Script([page(pod("a")), page()], [watch])) as (seen, server, _):
        await until(lambda: len(watched_from(server)) == 2)
        assert seen.failures == failures


@pytest.mark.parametrize("lasts", [2, 30, 60, 61, 300])
def test_idle_watch_has_the_time_to_end_or_to_get_a_bookmark(lasts: float) -> None:
    bookmark = 60
    assert watch_idle_seconds(lasts) > min(lasts, bookmark)
