"""The six verbs against a real HTTP server: what is sent, and which error an answer is."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from finetune_operator.kube.client import (
    AlreadyExists,
    ApiError,
    Client,
    Conflict,
    Fenced,
    Forbidden,
    Gone,
    Invalid,
    NotFound,
    Unavailable,
    error_of,
)
from kubernetes.aio import client as official

from tests.support.api_server import CUT, HANG, Answer, ApiServer, serving

PATH = "/apis/batch/v1/namespaces/team/jobs"


def always(answer: Answer) -> ApiServer:
    return ApiServer(lambda request, body: answer)


def failing(status: int, message: str = "why", **headers: str) -> ApiServer:
    return always(Answer({"kind": "Status", "message": message}, status=status, **headers))


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, Invalid),
        (401, ApiError),
        (403, Forbidden),
        (404, NotFound),
        (409, Conflict),
        (410, Gone),
        (422, Invalid),
        (429, Unavailable),
        (500, Unavailable),
        (503, Unavailable),
    ],
)
def test_status_gives_the_kind_of_error(status: int, kind: type[ApiError]) -> None:
    error = error_of(status, b'{"message": "why"}', {"Retry-After": "3"})
    assert type(error) is kind
    assert (str(error), error.status, error.retry_after) == ("why", status, 3)


@pytest.mark.parametrize("status", [400, 403, 404, 409, 422])
@pytest.mark.parametrize(
    "message",
    [
        'admission webhook "policy.test" denied the request: no team',
        "jobs.batch \"a\" is forbidden: ValidatingAdmissionPolicy 'p' with binding 'b' denied "
        "request: no team",
    ],
    ids=["webhook", "policy"],
)
def test_denial_by_admission_is_forbidden_by_whatever_status(status: int, message: str) -> None:
    body = json.dumps({"message": message, "reason": "Invalid"}).encode()
    assert type(error_of(status, body, {})) is Forbidden


@pytest.mark.parametrize("body", [b"<html>Bad Request</html>", b'{"reason": "Injected"}'])
def test_field_is_invalid_only_in_the_api_servers_own_words(body: bytes) -> None:
    assert type(error_of(422, body, {})) is Forbidden


def test_answer_that_is_no_json_is_quoted() -> None:
    error = error_of(502, b"<html>Bad Gateway</html>", {"Retry-After": "soon"})
    assert str(error) == "<html>Bad Gateway</html>"
    assert error.retry_after is None
    assert str(error_of(500, b"{}", {})) == "HTTP 500"


async def test_error_carries_the_servers_words() -> None:
    async with serving(failing(403, "exceeded quota")) as client:
        with pytest.raises(Forbidden, match="exceeded quota"):
            await client.create(PATH, {}, dict)


async def test_create_of_what_is_there_is_told_from_a_conflict() -> None:
    async with serving(failing(409)) as client:
        with pytest.raises(AlreadyExists):
            await client.create(PATH, {}, dict)
        with pytest.raises(Conflict):
            await client.patch(f"{PATH}/x", {}, dict)


async def test_delete_takes_dependents_along_and_only_the_object_that_is_meant() -> None:
    server = always(Answer({}))
    async with serving(server) as client:
        await client.delete(f"{PATH}/x", uid="u", grace_seconds=5)
    (body,) = server.bodies
    assert body["propagationPolicy"] == "Foreground"
    assert body["preconditions"] == {"uid": "u"}
    assert body["gracePeriodSeconds"] == 5


@pytest.mark.parametrize("status", [404, 409])
async def test_delete_of_what_is_not_found_or_another_is_done(status: int) -> None:
    async with serving(failing(status)) as client:
        await client.delete(f"{PATH}/x", uid="u")


async def test_patch_is_a_merge_patch() -> None:
    seen: list[str] = []

    def answer(request: Any, body: Any) -> Answer:
        seen.append(request.headers["Content-Type"])
        return Answer({"ok": True})

    async with serving(ApiServer(answer)) as client:
        assert await client.patch(f"{PATH}/x", {"a": None}, dict) == {"ok": True}
    assert seen == ["application/merge-patch+json"]


Call = Callable[[Client], Any]


@pytest.mark.parametrize(
    "call",
    [lambda client: client.get(PATH, dict), lambda client: client.list(PATH, dict, query={})],
    ids=["get", "list"],
)
async def test_connection_that_is_cut_is_unavailable(call: Call) -> None:
    async with serving(always(Answer(b'{"half":', CUT))) as client:
        with pytest.raises(Unavailable):
            await call(client)


async def test_server_that_is_not_there_is_unavailable() -> None:
    client = Client(official.Configuration(host="http://127.83.255.2:9"))
    with pytest.raises(Unavailable):
        await client.get(PATH, dict)
    await client.close()


async def lines_of(client: Client, *, idle_seconds: float = 5) -> list[bytes]:
    async with client.watch(PATH, query={}, idle_seconds=idle_seconds) as lines:
        return [line async for line in lines]


async def test_watch_yields_lines_of_any_length() -> None:
    long = {"x": "y" * 900_000}
    server = always(Answer({"a": 1}, long))
    async with serving(server) as client:
        first, second = await lines_of(client)
    assert (first, len(second)) == (b'{"a": 1}\n', 900_010)
    assert server.requests[0][2]["watch"] == "1"


async def test_watch_that_delivers_nothing_is_unavailable() -> None:
    async with serving(always(Answer({"a": 1}, HANG))) as client, asyncio.timeout(3):
        with pytest.raises(Unavailable):
            await lines_of(client, idle_seconds=0.3)


async def test_watch_that_is_cut_is_unavailable() -> None:
    async with serving(always(Answer({"a": 1}, CUT))) as client:
        with pytest.raises(Unavailable):
            await lines_of(client)


async def test_watch_whose_error_is_cut_is_unavailable() -> None:
    async with serving(always(Answer(b"{", CUT, status=500, Content_Length="99"))) as client:
        with pytest.raises(Unavailable):
            await lines_of(client)


async def test_watch_of_an_old_version_is_gone() -> None:
    async with serving(failing(410)) as client:
        with pytest.raises(Gone):
            await lines_of(client)


@asynccontextmanager
async def observed(server: ApiServer) -> AsyncIterator[tuple[Client, list[tuple[Any, ...]]]]:
    """A client, and the verb, resource and status of each of its requests."""
    seen: list[tuple[Any, ...]] = []

    def observe(verb: str, resource: str, status: int | None, seconds: float) -> None:
        assert 0 <= seconds < 5
        seen.append((verb, resource, status))

    async with serving(server) as shown:
        client = Client(shown._api.configuration, observe=observe)
        try:
            yield client, seen
        finally:
            await client.close()


async def test_each_request_is_observed_with_its_status() -> None:
    answers = iter([Answer({}), Answer({}, status=201), Answer({}, status=409), Answer({})])
    async with observed(ApiServer(lambda request, body: next(answers))) as (client, seen):
        await client.get(f"{PATH}/x", dict)
        await client.create(PATH, {}, dict)
        with pytest.raises(Conflict):
            await client.patch(f"{PATH}/x/status", {}, dict)
        await client.delete(f"{PATH}/x", uid="u")
    assert seen == [
        ("get", "jobs", 200),
        ("create", "jobs", 201),
        ("patch", "jobs/status", 409),
        ("delete", "jobs", 200),
    ]


async def test_request_without_a_whole_answer_is_observed_without_a_status() -> None:
    async with observed(always(Answer(b'{"half":', CUT))) as (client, seen):
        with pytest.raises(Unavailable):
            await client.list(PATH, dict, query={})
    async with observed(always(Answer(HANG))) as (client, later):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.1):  # as the election does
                await client.get(f"{PATH}/x", dict)
    assert [*seen, *later] == [("list", "jobs", None), ("get", "jobs", None)]


async def test_watch_is_observed_when_its_answer_begins() -> None:
    async with (
        observed(always(Answer({"a": 1}, HANG))) as (client, seen),
        client.watch(PATH, query={}, idle_seconds=5) as lines,
    ):
        assert seen == [("watch", "jobs", 200)]
        assert await anext(lines) == b'{"a": 1}\n'
    async with observed(failing(410)) as (client, seen):
        with pytest.raises(Gone):
            async with client.watch(PATH, query={}, idle_seconds=5):
                pass
        assert seen == [("watch", "jobs", 410)]


async def test_write_that_is_not_sent_is_not_observed() -> None:
    async with observed(always(Answer({}))) as (client, seen):
        client._time_to_write = lambda: 0
        with pytest.raises(Fenced):
            await client.create(PATH, {}, dict)
    assert seen == []
