"""HTTP of the contract: /progress, /metrics, /healthz. Reads the run status, changes nothing."""

import contextlib
import http.server
import socket
import socketserver
import sys
import threading
import time
from collections.abc import Iterator

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from finetune_trainer.pipeline import Stage
from finetune_trainer.supervisor.run_status import RunStatus

_BLOCKED_SECONDS = 60
"""Time without a poll after which the supervisor counts as blocked."""


@contextlib.contextmanager
def serve(run_status: RunStatus, *, stages: tuple[Stage, ...], port: int) -> Iterator[int]:
    """Serve the run status on all addresses while the context lasts; yield the port."""
    registry = CollectorRegistry()
    registry.register(_Collector(run_status, stages))
    with _Server(("", port), _handler(run_status, registry)) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


class _Server(http.server.ThreadingHTTPServer):
    """IPv6 and IPv4 where the machine has both: pods may have either address."""

    address_family = socket.AF_INET6 if socket.has_dualstack_ipv6() else socket.AF_INET

    def server_bind(self) -> None:
        if self.address_family == socket.AF_INET6:
            self.socket.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        # Not HTTPServer's: it asks the DNS for a name that nobody needs, and may wait for it.
        socketserver.TCPServer.server_bind(self)

    def handle_error(self, request: object, client_address: object) -> None:
        """Log nothing when a client has disconnected: it is no event of the training."""
        if not isinstance(sys.exception(), ConnectionError | TimeoutError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


def _handler(
    run_status: RunStatus, registry: CollectorRegistry
) -> type[http.server.BaseHTTPRequestHandler]:
    class Handler(http.server.BaseHTTPRequestHandler):
        timeout = 5

        def do_GET(self) -> None:
            match self.path.partition("?")[0]:
                case "/progress":
                    self._send(200, "application/json", run_status.encoded())
                case "/metrics":
                    self._send(200, CONTENT_TYPE_LATEST, generate_latest(registry))
                case "/healthz" if time.monotonic() - run_status.last_poll > _BLOCKED_SECONDS:
                    self._send(503, "text/plain", b"the supervisor is blocked\n")
                case "/healthz":
                    self._send(200, "text/plain", b"ok\n")
                case _:
                    self._send(404, "text/plain", b"/progress, /metrics, /healthz\n")

        def _send(self, status: int, content_type: str, body: bytes) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            """Log nothing: a poll every few seconds would flood the training log."""

    return Handler


class _Collector:
    """The run status as Prometheus metrics; their number is bounded as its metrics are."""

    def __init__(self, run_status: RunStatus, stages: tuple[Stage, ...]) -> None:
        self._run_status = run_status
        self._stages = stages

    def collect(self) -> Iterator[Metric]:
        progress = self._run_status.snapshot()
        yield GaugeMetricFamily(
            "finetune_trainer_progress_ratio",
            "Fraction of the run that is done, 0 to 1.",
            self._run_status.fraction,
        )
        remaining = progress.trainer_status.estimated_remaining_seconds
        if remaining is not None:
            yield GaugeMetricFamily(
                "finetune_trainer_estimated_remaining_seconds", "Estimated time left.", remaining
            )
        stage = GaugeMetricFamily(
            "finetune_trainer_stage", "1 for the current stage.", labels=["stage"]
        )
        for known in self._stages:
            stage.add_metric([known.name], known.name == progress.stage)
        yield stage
        values = GaugeMetricFamily(
            "finetune_trainer_metric",
            "Newest value of each metric that the stages report.",
            labels=["name"],
        )
        for metric in progress.trainer_status.metrics:
            with contextlib.suppress(ValueError):
                values.add_metric([metric.name], float(metric.value))
        yield values
