"""A reverse proxy between one operator and the real kube-apiserver: counts the operator's requests,
strikes after the n-th, and makes what trouble.py plans. It changes nothing else.
"""

import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

import aiohttp
from aiohttp import web

from tests.support.faults.connections import connector
from tests.support.faults.trouble import Call, Fate, Fault, Trouble

PASSED_ON = ("Authorization", "Accept", "Content-Type")
TURNS_TO_ACCEPT = 10
STALE_SECONDS = 1.0  # of a watch whose version will be too old


@dataclass(frozen=True)
class Strike:
    """Do something once the API server has answered the n-th request; see Proxy.calls."""

    number: int
    do: Callable[[], Awaitable[None]]
    passed_on: bool = False
    """After the operator has got the answer, else before."""


class Proxy:
    """Serves plain HTTP on a free port of this machine; a context manager."""

    def __init__(self, upstream: str, *, certificate_authority: Path, trouble: Trouble) -> None:
        self._upstream = upstream
        self._certificate_authority = certificate_authority
        self._trouble = trouble
        self.strike: Strike | None = None
        self.calls: list[Call] = []
        """All requests but watches and those of the election."""
        self.conflicts = 0
        """Writes of a status that the API server refused: the object had changed."""
        self._last_call: float | None = None

    async def __aenter__(self) -> Self:
        """Start to serve."""
        self._session = aiohttp.ClientSession(
            connector=connector(self._certificate_authority),
            timeout=aiohttp.ClientTimeout(total=None),
        )
        server = web.Server(self._handle, handler_cancellation=True)
        self._runner = web.ServerRunner(server, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Cut all connections, of an operator that is dead already. What it had still connected
        takes the loop some turns to accept; a server that closes between leaves it open for ever.
        """
        for _ in range(TURNS_TO_ACCEPT):
            await asyncio.sleep(0)
        await self._runner.cleanup()
        await self._session.close()

    def listen_anew(self) -> None:
        """A new operator is starting: it is quiet only once it has said something."""
        self._last_call = None

    def quiet_seconds(self) -> float:
        """Return for how long the operator has asked for nothing."""
        return time.monotonic() - self._last_call if self._last_call else 0

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        is_watch = request.query.get("watch", "") in ("1", "true")
        call = Call(request.method, request.path, is_watch, "limit" in request.query)
        trouble = self._trouble.of(call)
        if is_watch and not isinstance(trouble, Fault):
            return await self._watch(request, trouble)
        return await self._answer(request, call, trouble if isinstance(trouble, Fault) else Fault())

    async def _answer(
        self, request: web.BaseRequest, call: Call, fault: Fault
    ) -> web.StreamResponse:
        if not (call.is_watch or call.is_election):
            self.calls.append(call)
            self._last_call = time.monotonic()
        number = len(self.calls)
        await asyncio.sleep(fault.delay_seconds)
        if fault.gate:
            await fault.gate.wait()
        answer = await self._forward(request) if fault.forwarded else None
        await self._maybe_strike(call, number, passed_on=False)
        if fault.status:
            answer = _refusal(fault)
        if fault.cut or answer is None:
            return _cut(request)
        with suppress(ConnectionResetError):  # the operator has been killed
            await answer.prepare(request)
            await answer.write_eof()
        await self._maybe_strike(call, number, passed_on=True)
        return answer

    async def _maybe_strike(self, call: Call, number: int, *, passed_on: bool) -> None:
        strike = self.strike
        if call.is_watch or call.is_election or not strike:
            return
        if (number, passed_on) == (strike.number, strike.passed_on):
            self.strike = None
            await strike.do()

    async def _forward(self, request: web.BaseRequest) -> web.Response | None:
        """Return the API server's answer, None if there is none: it is down."""
        with suppress(aiohttp.ClientError):
            async with self._ask(request) as answer:
                body, status = await answer.read(), answer.status
                self.conflicts += (request.method, status) == ("PATCH", 409)
                content = {"Content-Type": answer.headers.get("Content-Type", "text/plain")}
                return web.Response(body=body, status=status, headers=content)
        return None

    def _ask(self, request: web.BaseRequest) -> "aiohttp.client._RequestContextManager":
        headers = {name: request.headers[name] for name in PASSED_ON if name in request.headers}
        body = request.content if request.can_read_body else None
        return self._session.request(
            request.method, self._upstream + request.path_qs, headers=headers, data=body
        )

    async def _watch(self, request: web.BaseRequest, fate: Fate | None) -> web.StreamResponse:
        response = web.StreamResponse()
        with suppress(aiohttp.ClientError, ConnectionResetError):  # of either side
            async with self._ask(request) as answer:
                response.set_status(answer.status)
                response.content_type = answer.content_type
                await response.prepare(request)
                left = fate.lines if fate else -1
                while left and (line := await answer.content.readline()):
                    await response.write(line)
                    left -= 1
            if fate and not left:
                await _end(request, response, fate)
            return response
        return _cut(request)


async def _end(request: web.BaseRequest, response: web.StreamResponse, fate: Fate) -> None:
    match fate.end:
        case "cut":
            raise ConnectionResetError
        case "frozen":
            await asyncio.Event().wait()
        case "gone":  # and what was deleted meanwhile, it is never reported
            await asyncio.sleep(STALE_SECONDS)
            status = {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}
            line = {"type": "ERROR", "object": status}
            await response.write(json.dumps(line).encode() + b"\n")


def _cut(request: web.BaseRequest) -> web.Response:
    if request.transport:
        request.transport.abort()
    return web.Response()  # nobody gets it


def _refusal(fault: Fault) -> web.Response:
    status = fault.status or 0
    body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": status}
    headers = {"Retry-After": str(fault.retry_after)} if fault.retry_after else {}
    return web.json_response(
        {**body, "message": f"injected {status}", "reason": "Injected"},
        status=status,
        headers=headers,
    )
