"""A small HTTP server in the place of the API server, scripted by each test."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from finetune_operator.kube.client import Client
from kubernetes.aio import client as official

Body = dict[str, Any]
CUT, HANG = "cut", "hang"


class Answer:
    """One HTTP answer: JSON, or the lines of a watch that then ends, is CUT or HANGs."""

    def __init__(self, *lines: Body | bytes | str, status: int = 200, **headers: str) -> None:
        self.lines = lines
        self.status = status
        self.headers = {name.replace("_", "-"): value for name, value in headers.items()}


class ApiServer:
    """Answers each request by asking `answer`; keeps what was asked."""

    def __init__(self, answer: Callable[[web.Request, Body], Answer]) -> None:
        self._answer = answer
        self.requests: list[tuple[str, str, dict[str, str]]] = []
        self.bodies: list[Body] = []

    async def handle(self, request: web.Request) -> web.StreamResponse:
        text = await request.text()
        body = json.loads(text) if text else {}
        self.requests.append((request.method, request.path, dict(request.query)))
        self.bodies.append(body)
        answer = self._answer(request, body)
        response = web.StreamResponse(status=answer.status, headers=answer.headers)
        await response.prepare(request)
        for line in answer.lines:
            if line == CUT:
                assert request.transport
                request.transport.abort()
                return response
            if line == HANG:
                await asyncio.sleep(30)
            data = line if isinstance(line, bytes) else json.dumps(line).encode() + b"\n"
            await response.write(data)
        return response


@asynccontextmanager
async def serving(server: ApiServer) -> AsyncIterator[Client]:
    """Serve on a free port of the loopback device; yield the operator's client for it."""
    app = web.Application()
    app.router.add_route("*", "/{path:.*}", server.handle)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    (host, port), *_ = runner.addresses
    client = Client(official.Configuration(host=f"http://{host}:{port}"))
    try:
        yield client
    finally:
        await client.close()
        await runner.cleanup()
