"""The operator's own metrics, of jobs made up here, served without an operator."""

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from finetune_operator.metrics import Metrics
from finetune_operator.observe.cache import Cache
from finetune_operator.observe.summary import Summary


def make_metrics() -> Metrics:
    """Metrics with a job that trains, one that is complete and one that failed."""
    cache = Cache()
    cache.jobs["team-a", "flowers"] = Summary(
        uid="1", phase="Training", accuracy=0.7741, progress=0.5, attempts=2
    )
    cache.jobs["team-b", "birds"] = Summary(
        uid="2", phase="Complete", accuracy=0.8625, progress=1, attempts=1, finished=True
    )
    cache.jobs["team-a", "broken"] = Summary(
        uid="3",
        phase="Failed",
        reason="InvalidData",
        attempts=1,
        finished=True,
        completed=time.time(),
    )
    metrics = Metrics(cache)
    metrics.totals.completed.labels("team-b").inc()
    metrics.totals.failed.labels("team-a", "InvalidData").inc()
    metrics.totals.attempts.labels("team-a", "Disrupted").inc()
    metrics.totals.attempts.labels("team-b", "Complete").inc()
    metrics.process.watch_age.labels("pods").set(12)
    return metrics


@contextmanager
def serve() -> Iterator[str]:
    """Serve /metrics; gives its address as host:port. Each scrape finds a few more reconciles."""
    metrics = make_metrics()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            metrics.process.work_seconds.observe(0.02)
            metrics.process.reconciles.labels("error").inc()
            body, content_type = asyncio.run(metrics.page(self.headers.get("Accept", "")))
            self.send_response(200)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Keep the test's output clean."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        Thread(target=server.serve_forever).start()
        try:
            yield f"127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
