"""Who may read /metrics, by what an API server answers."""

import asyncio

import pytest
from aiohttp import web
from finetune_operator.kube.access import Access

from tests.support.api_server import Answer, ApiServer, Body, serving


class Reviews:
    """Knows the token `good`; `allowed` says whether its user may read the metrics."""

    def __init__(self) -> None:
        self.server = ApiServer(self.answer)
        self.status = 201
        self.allowed = True

    def answer(self, request: web.Request, body: Body) -> Answer:
        if self.status != 201:
            return Answer({"message": "why"}, status=self.status)
        if request.path == "/apis/authorization.k8s.io/v1/subjectaccessreviews":
            return Answer({**body, "status": {"allowed": self.allowed}}, status=201)
        assert request.path == "/apis/authentication.k8s.io/v1/tokenreviews"
        if body["spec"]["token"] != "good":
            return Answer({**body, "status": {"error": "no such token"}}, status=201)
        user = {"username": "scraper", "uid": "7", "groups": ["g"], "extra": {"pod": ["p"]}}
        return Answer({**body, "status": {"authenticated": True, "user": user}}, status=201)


def checks(reviews: Reviews, *headers: str, seconds: float = 0) -> list[int]:
    """The answers to requests with these headers, one after another, so many seconds apart."""
    now = 0.0

    async def check_all() -> list[int]:
        nonlocal now
        async with serving(reviews.server) as client:
            access, found = Access(client, lambda: now), []
            for header in headers:
                found.append(await access.check(header))
                now += seconds
            return found

    return asyncio.run(check_all())


def test_user_with_the_right_may_read_and_the_api_server_was_asked_for_it() -> None:
    reviews = Reviews()
    assert checks(reviews, "Bearer good") == [200]
    assert reviews.server.bodies[1]["spec"] == {
        "user": "scraper",
        "uid": "7",
        "groups": ["g"],
        "extra": {"pod": ["p"]},
        "nonResourceAttributes": {"path": "/metrics", "verb": "get"},
    }


def test_user_without_the_right_is_forbidden() -> None:
    reviews = Reviews()
    reviews.allowed = False
    assert checks(reviews, "Bearer good") == [403]


def test_token_that_the_api_server_does_not_know_is_no_user() -> None:
    assert checks(Reviews(), "Bearer bad", "bearer bad") == [401, 401]


@pytest.mark.parametrize("header", ["", "Bearer", "Bearer ", "Basic good", "good"])
def test_request_without_a_bearer_token_asks_nobody(header: str) -> None:
    reviews = Reviews()
    assert checks(reviews, header) == [401]
    assert reviews.server.requests == []


def test_answer_is_kept_for_a_minute() -> None:
    reviews = Reviews()
    assert checks(reviews, *["Bearer good", "Bearer bad"] * 3, seconds=19) == [200, 401] * 3
    assert len(reviews.server.requests) == 2 * (2 + 1)  # good at 0 s and 76 s, bad at 19 s and 95 s


@pytest.mark.parametrize("status", [401, 403, 429, 500])
def test_failure_of_the_review_is_no_refusal_and_is_not_kept(status: int) -> None:
    reviews = Reviews()
    reviews.status = status
    assert checks(reviews, "Bearer good", "Bearer good") == [503, 503]
    assert len(reviews.server.requests) == 2


def test_answers_that_are_kept_are_few(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("finetune_operator.kube.access.KEPT_ANSWERS", 3)
    reviews = Reviews()
    strangers = [f"Bearer {number}" for number in range(3)]
    assert checks(reviews, "Bearer good", *strangers, strangers[0], "Bearer good")[-1] == 200
    assert len(reviews.server.requests) == 2 + 3 + 2
