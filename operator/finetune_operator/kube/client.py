"""The verbs of the API server, each with a timeout, and a small tree of errors.

Only the login and the connections of the official client are used: its models decode whole objects.

ApiError
 +- NotFound       404
 +- AlreadyExists  409 on create
 +- Conflict       409: the object changed since it was read
 +- Invalid        400, 422: the API server rejects a field of the object
 +- Forbidden      403: RBAC or quota; an admission policy or webhook denied it, by any status
 +- Gone           410: the resource version is too old
 +- Fenced         not sent: another operator may be the leader
 +- Unavailable    429, 5xx, no connection: try again, after `retry_after` seconds if given
"""

import asyncio
import contextlib
import math
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping
from typing import Any, Generic, TypeVar

import aiohttp
import msgspec
from kubernetes.aio import client as official

from finetune_operator.kube import urls
from finetune_operator.kube.login import configure
from finetune_operator.kube.server_clock import ServerClock

T = TypeVar("T")
AUTH = ["BearerToken"]
CONNECTIONS = 64
DENIED = re.compile(r"denied (the )?request")
"""The words of admission for a denial. A webhook chooses its status; that of a policy is 422.
https://github.com/kubernetes/kubernetes/blob/master/staging/src/k8s.io/apiserver/pkg/admission/plugin/webhook/errors/statuserror.go
"""
Observer = Callable[[str, str, int | None, float], None]
"""Called after each request with its verb, resource, status and seconds; None: no answer."""
INVALID = ("", "BadRequest", "Invalid")
"""The reasons with which the API server itself rejects a field."""


class ApiError(Exception):
    """A request failed, or was not sent."""

    def __init__(self, message: str, *, status: int = 0, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class NotFound(ApiError):
    """404."""


class AlreadyExists(ApiError):
    """409 on create."""


class Conflict(ApiError):
    """409: the object changed since it was read."""


class Invalid(ApiError):
    """400, 422: the API server rejects a field of the object."""


class Forbidden(ApiError):
    """403: RBAC or quota; an admission policy or webhook denied it, by any status."""


class Gone(ApiError):
    """410: the resource version is too old."""


class Fenced(ApiError):
    """The request was not sent: another operator may be the leader."""


class Unavailable(ApiError):
    """429, 5xx or no connection."""


class _Details(msgspec.Struct):
    retryAfterSeconds: float | None = None


class _Status(msgspec.Struct):
    message: str = ""
    reason: str = ""
    details: _Details | None = None


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str = ""
    next: str = msgspec.field(default="", name="continue")


class Page(msgspec.Struct, Generic[T]):
    """One page of a list."""

    metadata: _ListMeta
    objects: list[T] | None = msgspec.field(name="items")

    @property
    def items(self) -> list[T]:
        """The objects; the API server writes `null` for metadata of no objects."""
        return self.objects or []


class Client:
    """One pool of connections to the API server; `urls` has the paths.

    `time_to_write` returns how many seconds a write that begins now may take.
    """

    def __init__(
        self,
        configuration: official.Configuration,
        *,
        time_to_write: Callable[[], float] = lambda: math.inf,
        observe: Observer = lambda *_: None,
    ) -> None:
        self._api = official.ApiClient(configuration)
        self._time_to_write = time_to_write
        self._observe = observe
        self.clock = ServerClock()
        """The API server's clock, by all responses to this client."""
        self._answered = -math.inf  # loop time of the last answer
        self._unanswered: float | None = None  # loop time of the first request after it

    @classmethod
    async def connect(
        cls,
        *,
        connections: int = CONNECTIONS,
        time_to_write: Callable[[], float] = lambda: math.inf,
        observe: Observer = lambda *_: None,
    ) -> "Client":
        """Log in: see kube/login.

        `connections` is how many requests run at the same time; 0: any number. A watch keeps one.
        """
        configuration = await configure()
        configuration.connection_pool_maxsize = connections
        return cls(configuration, time_to_write=time_to_write, observe=observe)

    async def close(self) -> None:
        """Close the connections."""
        await self._api.close()  # type: ignore[no-untyped-call]

    async def get(self, path: str, type: type[T]) -> T:
        """Read one object."""
        return msgspec.json.decode(await self._call("GET", path), type=type)

    async def list(
        self,
        path: str,
        type: type[T],
        *,
        query: Mapping[str, str],
        accept: str = "application/json",
    ) -> Page[T]:
        """Read one page of a list; `query` as in the API (labelSelector, limit, continue)."""
        body = await self._call("GET", path, query=query, accept=accept, seconds=60)
        return msgspec.json.decode(body, type=Page[type])  # type: ignore[valid-type]

    async def pages(
        self, path: str, type: type[T], *, query: Mapping[str, str], **options: str
    ) -> AsyncIterator[Page[T]]:
        """Yield all pages of a list, of 500 objects each."""
        query = {**query, "limit": "500"}
        while True:
            page = await self.list(path, type, query=query, **options)
            yield page
            if not page.metadata.next:
                return
            query["continue"] = page.metadata.next

    async def create(self, path: str, body: Mapping[str, Any], type: type[T]) -> T:
        """Create an object."""
        try:
            return msgspec.json.decode(await self._call("POST", path, body=body), type=type)
        except Conflict as error:
            raise AlreadyExists(str(error), status=409) from None

    async def delete(self, path: str, *, uid: str, grace_seconds: int | None = None) -> None:
        """Delete the object with this uid, its dependents first; no error if it does not exist."""
        body: dict[str, Any] = {
            "apiVersion": "v1",
            "kind": "DeleteOptions",
            # Without a policy a Job orphans its pods:
            # https://github.com/kubernetes/kubernetes/blob/master/pkg/registry/batch/job/strategy.go
            "propagationPolicy": "Foreground",
            "preconditions": {"uid": uid},
        }
        if grace_seconds is not None:
            body["gracePeriodSeconds"] = grace_seconds
        try:
            await self._call("DELETE", path, body=body)
        except (NotFound, Conflict):  # Conflict: another object has the name now
            return

    async def patch(self, path: str, body: Mapping[str, Any], type: type[T]) -> T:
        """Apply a JSON merge patch (RFC 7386)."""
        content = "application/merge-patch+json"
        return msgspec.json.decode(
            await self._call("PATCH", path, body=body, content=content), type=type
        )

    @contextlib.asynccontextmanager
    async def watch(
        self, path: str, *, query: Mapping[str, str], idle_seconds: float
    ) -> AsyncIterator[AsyncIterator[bytes]]:
        """Begin a watch; give its lines, until the server ends it.

        They raise Unavailable if none comes for `idle_seconds`: a bookmark comes each minute.
        """
        timeout = aiohttp.ClientTimeout(total=None, connect=10, sock_read=idle_seconds)
        query = {**query, "watch": "1"}
        response = await self._send("GET", path, query=query, limit=timeout, whole=False)
        try:
            yield _lines(response, path)
        finally:
            response.close()

    async def _call(self, method: str, path: str, *, seconds: float = 15, **options: Any) -> bytes:
        if method != "GET" and (seconds := min(seconds, self._time_to_write())) <= 0:
            raise Fenced(f"{method} {path}: another operator may be the leader")
        start = asyncio.get_running_loop().time()
        try:
            async with asyncio.timeout(seconds):
                response = await self._send(method, path, limit=seconds, **options)
        except TimeoutError as error:
            self._record(start, answered=False)
            raise Unavailable(f"{method} {path}: {error!r}") from error
        except ApiError as error:
            self._record(start, answered=error.status > 0)
            raise
        self._record(start, answered=True)
        return await response.read()  # there already

    def _record(self, start: float, *, answered: bool) -> None:
        if answered:
            self._answered, self._unanswered = asyncio.get_running_loop().time(), None
        elif self._unanswered is None:
            self._unanswered = max(start, self._answered)

    def seconds_since_answer(self) -> float:
        """Return the time since the last answer, be it a refusal."""
        return asyncio.get_running_loop().time() - self._answered

    def unanswered_seconds(self) -> float:
        """Return for how long all requests, if there were any, got no answer."""
        since = self._unanswered
        return 0.0 if since is None else asyncio.get_running_loop().time() - since

    async def _send(
        self, method: str, path: str, *, query: Mapping[str, str] | None = None, **options: Any
    ) -> aiohttp.ClientResponse:
        """Send a request, and report it to the observer; a cancelled one got no answer either."""
        clock = asyncio.get_running_loop().time
        start, status = clock(), None
        try:
            response = await self._exchange(method, path, query=query or {}, **options)
            status = response.status
            return response
        except ApiError as error:
            status = error.status or None
            raise
        finally:
            kind = urls.verb_and_resource(method, path, query or {})
            self._observe(*kind, status, clock() - start)

    async def _exchange(
        self,
        method: str,
        path: str,
        *,
        limit: float | aiohttp.ClientTimeout,
        query: Mapping[str, str],
        body: Mapping[str, Any] | None = None,
        accept: str = "application/json",
        content: str = "application/json",
        whole: bool = True,
    ) -> aiohttp.ClientResponse:
        """Return the response, read to its end if `whole`; raise ApiError for a refusal."""
        prepared = await self._api.param_serialize(
            method,
            path,
            query_params=list(query.items()),
            header_params={"Accept": accept, "Content-Type": content},
            body=body,
            auth_settings=AUTH,
        )
        sent = time.time()
        try:
            answer = await self._api.call_api(*prepared, _request_timeout=limit)
            response: aiohttp.ClientResponse = answer.response
            self.clock.observe(response.headers.get("Date", ""), sent=sent, received=time.time())
            if whole or response.status >= 400:
                await response.read()
        except (TimeoutError, aiohttp.ClientError) as error:
            raise Unavailable(f"{method} {path}: {error!r}") from error
        if response.status >= 400:
            raise error_of(response.status, await response.read(), response.headers)
        return response


async def _lines(response: aiohttp.ClientResponse, path: str) -> AsyncIterator[bytes]:
    try:
        async for line in response.content:
            yield line
    except (TimeoutError, aiohttp.ClientError) as error:
        raise Unavailable(f"watch of {path}: {error!r}") from error


def error_of(status: int, body: bytes, headers: Mapping[str, str]) -> ApiError:
    """Return the error for an HTTP status and its `metav1.Status` body."""
    try:
        answer = msgspec.json.decode(body, type=_Status)
    except msgspec.DecodeError:
        answer = _Status(message=body[:200].decode(errors="replace"), reason="Unknown")
    retry_after = headers.get("Retry-After", "")
    seconds = float(retry_after) if retry_after.isdigit() else None
    return _kind(status, answer)(
        answer.message or f"HTTP {status}", status=status, retry_after=seconds
    )


def _kind(status: int, answer: _Status) -> type[ApiError]:
    if status == 429 or status >= 500:
        return Unavailable
    if status == 403 or DENIED.search(answer.message):
        return Forbidden
    if status in (400, 422):
        return Invalid if answer.reason in INVALID else Forbidden
    return {404: NotFound, 409: Conflict, 410: Gone}.get(status, ApiError)
