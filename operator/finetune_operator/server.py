"""The operator's HTTP server: /metrics, /healthz and /readyz.

It runs in the event loop: the metrics read what the loop changes, and a blocked loop then fails its
own liveness probe.
"""

import asyncio
import dataclasses
import ssl
from collections.abc import Awaitable, Callable, Mapping

from aiohttp import web

from finetune_operator.certificate import Certificate
from finetune_operator.kube.access import Access
from finetune_operator.metrics import Metrics

Handler = Callable[[web.Request], Awaitable[web.Response]]
CHALLENGE = {"WWW-Authenticate": "Bearer"}


@dataclasses.dataclass(frozen=True)
class Secure:
    """A port of its own for /metrics, over TLS, for clients that may read it."""

    port: int
    certificate: Certificate
    access: Access


class Server:
    """Answers probes and scrapes."""

    def __init__(
        self,
        *,
        metrics: Metrics,
        healthy: Callable[[], str],
        ready: Callable[[], str],
        secure: Secure | None = None,
    ) -> None:
        self._metrics = metrics
        self._healthy = healthy
        self._ready = ready
        self._secure = secure

    async def run(self, port: int) -> None:
        """Serve until cancelled."""
        probes = {"/healthz": _probe(self._healthy), "/readyz": _probe(self._ready)}
        metrics: dict[str, Handler] = {"/metrics": self._page}
        if self._secure is None:
            return await _serve(probes | metrics, port=port)
        tls = self._secure.certificate
        async with asyncio.TaskGroup() as group:
            group.create_task(_serve(probes, port=port))
            group.create_task(_serve(metrics, port=self._secure.port, tls=tls.context))
            group.create_task(tls.follow())

    async def _page(self, request: web.Request) -> web.Response:
        if self._secure:
            header = request.headers.get("Authorization", "")
            if (status := await self._secure.access.check(header)) != 200:
                return web.Response(status=status, headers=CHALLENGE if status == 401 else None)
        body, content_type = await self._metrics.page(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})


async def _serve(
    handlers: Mapping[str, Handler], *, port: int, tls: ssl.SSLContext | None = None
) -> None:
    app = web.Application()
    for path, handler in handlers.items():
        app.router.add_get(path, handler)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    try:
        await web.TCPSite(runner, port=port, ssl_context=tls).start()
        await asyncio.Event().wait()
    finally:
        await runner.cleanup()


def _probe(problem: Callable[[], str]) -> Handler:
    async def answer(request: web.Request) -> web.Response:
        text = problem()
        return web.Response(text=text or "ok", status=503 if text else 200)

    return answer
