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
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from finetune_trainer.pipeline import Stage
from finetune_trainer.supervisor import metrics
from finetune_trainer.supervisor.run_status import RunStatus

_BLOCKED_SECONDS = 60
"""Time without a poll after which the supervisor counts as blocked."""


@contextlib.contextmanager
def serve(run_status: RunStatus, *, stages: tuple[Stage, ...], port: int) -> Iterator[int]:
    """Serve the run status on all addresses while the context lasts; yield the port."""
    handler = _handler(run_status, metrics.registry(run_status, stages))
    with _Server(("", port), handler) as server:
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
