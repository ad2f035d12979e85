"""The operator's HTTP server: /metrics, /healthz and /readyz.

It runs in the event loop: the metrics read what the loop changes, and a blocked loop then fails its
own liveness probe.
"""

import asyncio
from collections.abc import Callable

from aiohttp import web

from finetune_operator.metrics import Metrics


class Server:
    """Answers probes and scrapes."""

    def __init__(
        self, *, metrics: Metrics, healthy: Callable[[], str], ready: Callable[[], str]
    ) -> None:
        self._metrics = metrics
        self._healthy = healthy
        self._ready = ready

    async def run(self, port: int) -> None:
        """Serve until cancelled."""
        app = web.Application()
        app.router.add_get("/metrics", self._page)
        app.router.add_get("/healthz", _probe(self._healthy))
        app.router.add_get("/readyz", _probe(self._ready))
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, port=port).start()
            await asyncio.Event().wait()
        finally:
            await runner.cleanup()

    async def _page(self, request: web.Request) -> web.Response:
        body, content_type = await self._metrics.page(request.headers.get("Accept", ""))
        return web.Response(body=body, headers={"Content-Type": content_type})


def _probe(problem: Callable[[], str]) -> Callable[[web.Request], "asyncio.Future[web.Response]"]:
    async def answer(request: web.Request) -> web.Response:
        text = problem()
        return web.Response(text=text or "ok", status=503 if text else 200)

    return answer  # type: ignore[return-value]
