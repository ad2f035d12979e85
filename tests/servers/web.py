"""A web server with one archive that cuts, refuses and redirects as it is told, https too."""

import contextlib
import dataclasses
import hashlib
import ssl
import subprocess
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any


@dataclasses.dataclass
class Site:
    """A web server with one archive, and how it treats its visitors."""

    url: str
    content: bytes
    requests: list[dict[str, str]] = dataclasses.field(default_factory=list)
    answers: list[int] = dataclasses.field(default_factory=list)
    """Codes of the next answers; then 200."""
    cuts: list[int] = dataclasses.field(default_factory=list)
    """After how many bytes the next connections end; then never."""
    authorization: str = ""
    ranges: bool = True
    redirect: str = ""
    etag: str = '"v1"'

    @property
    def sha256(self) -> str:
        return hashlib.sha256(self.content).hexdigest()


class Handler(BaseHTTPRequestHandler):
    site: Site

    def do_GET(self) -> None:
        site = self.site
        site.requests.append(dict(self.headers))
        if site.redirect:
            self.send_response(302)
            self.send_header("Location", site.redirect)
            self.end_headers()
        elif site.answers and (code := site.answers.pop(0)) != 200:
            self.send_error(code)
        elif site.authorization and self.headers["Authorization"] != site.authorization:
            self.send_error(403 if self.headers["Authorization"] else 401)
        elif not site.url.endswith(self.path):
            self.send_error(404)
        else:
            self.send_archive()

    def send_archive(self) -> None:
        site, start = self.site, 0
        wanted = self.headers["Range"]
        if wanted and site.ranges and self.headers["If-Range"] == site.etag:
            start = int(wanted.removeprefix("bytes=").rstrip("-"))
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(site.content) - start))
        self.send_header("ETag", site.etag)
        self.end_headers()
        end = start + site.cuts.pop(0) if site.cuts else None
        self.wfile.write(site.content[start:end])

    def log_message(self, *args: Any) -> None:
        pass


@contextlib.contextmanager
def serve(
    content: bytes,
    *,
    address: str = "127.0.0.1",
    certificate: Path | None = None,
    path: str = "/photos.tar.gz",
) -> Iterator[Site]:
    """Serve the archive until the block ends."""
    handler = type("Visit", (Handler,), {})
    with ThreadingHTTPServer((address, 0), handler) as server:
        scheme = "http"
        if certificate:
            context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
            context.load_cert_chain(certificate)
            server.socket = context.wrap_socket(server.socket, server_side=True)
            scheme = "https"
        site = Site(f"{scheme}://{address}:{server.server_port}{path}", content)
        handler.site = site  # type: ignore[attr-defined]
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield site
        finally:  # else a test that fails would leave a thread that keeps the process alive
            server.shutdown()
            thread.join()


def make_certificate(path: Path, *, address: str = "127.0.0.1") -> Path:
    """Write a certificate of this address and its key into one file, signed by nobody."""
    command = "openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=test"
    command += f" -addext subjectAltName=IP:{address} -keyout {path}.key -out {path}"
    subprocess.run(command.split(), check=True, capture_output=True)
    path.write_text(path.read_text() + Path(f"{path}.key").read_text())
    return path
