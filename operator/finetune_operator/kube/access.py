"""Who may read /metrics: the API server is asked about a bearer token, as by controller-runtime's
filter WithAuthenticationAndAuthorization.
"""

import asyncio
import hashlib
import logging
import math
import time
from collections.abc import Callable
from typing import Any

import msgspec

from finetune_operator.kube import urls
from finetune_operator.kube.client import ApiError, Client

KEPT_SECONDS = 60
KEPT_ANSWERS = 1000
REVIEWS_AT_ONCE = 2
"""The API server must not be flooded by somebody who sends tokens of no worth."""
log = logging.getLogger(__name__)


class _User(msgspec.Struct, frozen=True):
    username: str = ""
    uid: str = ""
    groups: tuple[str, ...] = ()
    extra: dict[str, list[str]] = {}


class _TokenStatus(msgspec.Struct):
    authenticated: bool = False
    user: _User = _User()


class _AccessStatus(msgspec.Struct):
    allowed: bool = False


class TokenReview(msgspec.Struct):
    """The user of a token, if there is one."""

    status: _TokenStatus


class SubjectAccessReview(msgspec.Struct):
    """A user's right."""

    status: _AccessStatus


class Access:
    """Checks the clients of /metrics, and remembers an answer for a minute."""

    def __init__(self, client: Client, clock: Callable[[], float] = time.monotonic) -> None:
        self._client = client
        self._clock = clock
        self._answers: dict[bytes, tuple[float, int]] = {}
        self._reviews = asyncio.Semaphore(REVIEWS_AT_ONCE)

    async def check(self, authorization: str) -> int:
        """Return the HTTP status for a request with this header: 200, 401, 403 or 503."""
        scheme, _, token = authorization.partition(" ")
        if scheme.lower() != "bearer" or not (token := token.strip()):
            return 401
        key = hashlib.sha256(token.encode()).digest()
        reviewed, status = self._answers.get(key, (-math.inf, 0))
        if self._clock() - reviewed < KEPT_SECONDS:
            return status
        try:
            async with self._reviews:
                status = await self._review(token)
        except ApiError as error:
            log.warning("a client of /metrics cannot be checked: %s", error)
            return 503
        self._keep(key, status)
        return status

    async def _review(self, token: str) -> int:
        body = _body("authentication.k8s.io/v1", "TokenReview", {"token": token})
        found = (await self._client.create(urls.TOKEN_REVIEWS, body, TokenReview)).status
        if not found.authenticated:
            return 401
        right = {"nonResourceAttributes": {"path": "/metrics", "verb": "get"}}
        user = msgspec.to_builtins(found.user)
        names = {("user" if key == "username" else key): value for key, value in user.items()}
        body = _body("authorization.k8s.io/v1", "SubjectAccessReview", names | right)
        review = await self._client.create(urls.ACCESS_REVIEWS, body, SubjectAccessReview)
        return 200 if review.status.allowed else 403

    def _keep(self, key: bytes, status: int) -> None:
        self._answers.pop(key, None)
        if len(self._answers) == KEPT_ANSWERS:
            del self._answers[next(iter(self._answers))]  # the oldest
        self._answers[key] = (self._clock(), status)


def _body(version: str, kind: str, spec: dict[str, Any]) -> dict[str, Any]:
    return {"apiVersion": version, "kind": kind, "spec": spec}
