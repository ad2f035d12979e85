"""The operator's own metrics, of jobs made up here, served without an operator."""

from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

from finetune_operator.metrics import Metrics
from finetune_operator.observe.cache import Cache, Summary
from prometheus_client import generate_latest


def _metrics() -> Metrics:
    cache = Cache()
    cache.jobs["team-a", "flowers"] = Summary("1", "Training", "0.7741", 50, 2)
    cache.jobs["team-b", "birds"] = Summary("2", "Complete", "0.8625", 100, 1)
    cache.jobs["team-a", "broken"] = Summary("3", "Failed", "", None, 1)
    metrics = Metrics(cache, queue_depth=lambda: 0)
    metrics.completed.labels("team-b").inc()
    metrics.failed.labels("team-a", "InvalidData").inc()
    metrics.attempts.labels("team-a", "Disrupted").inc()
    metrics.attempts.labels("team-b", "Complete").inc()
    return metrics


@contextmanager
def serve() -> Iterator[str]:
    """Serve /metrics; gives its address as host:port. Each scrape finds a few more reconciles."""
    metrics = _metrics()

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            metrics.reconcile_seconds.observe(0.02)
            metrics.reconcile_errors.inc()
            body = generate_latest(metrics.registry)
            self.send_response(200)
            self.send_header("Content-Type", "text/plain; version=0.0.4")
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
