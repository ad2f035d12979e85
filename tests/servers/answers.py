"""An S3 server of one answer: for what a real one says only when it is full or failing."""

import contextlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from tests.servers.s3 import S3

EMPTY = "<ListBucketResult></ListBucketResult>"


class Handler(BaseHTTPRequestHandler):
    answer: tuple[int, str]

    def do_GET(self) -> None:
        self._send(200, EMPTY)

    def do_POST(self) -> None:
        status, code = self.answer
        self._send(status, f"<Error><Code>{code}</Code></Error>")

    def _send(self, status: int, body: str) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body.encode())

    def log_message(self, *args: Any) -> None:
        pass


@contextlib.contextmanager
def serve(status: int, code: str) -> Iterator[S3]:
    """Serve an empty bucket that answers every upload with this status and error code."""
    handler = type("Visit", (Handler,), {"answer": (status, code)})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield S3("127.0.0.1", server.server_port)
        server.shutdown()
        thread.join()
