"""A real S3 server (versitygw over a folder), and a proxy before it that cuts connections."""

import contextlib
import os
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import s3fs

from tests.cluster import programs

KEY, SECRET = "test-key", "test-secret-0123456789"


@dataclass(frozen=True)
class S3:
    """A running server."""

    address: str
    port: int

    @property
    def url(self) -> str:
        """Its endpoint."""
        return f"http://{self.address}:{self.port}"

    def secret(self, **changes: str) -> dict[str, str]:
        """Return what a Secret for this server holds."""
        credentials = {"AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
        return credentials | {"AWS_ENDPOINT_URL": self.url, "AWS_REGION": "us-east-1"} | changes

    def give(self, monkeypatch: pytest.MonkeyPatch, prefix: str, **changes: str) -> None:
        """Put the Secret into the environment, as the operator does: under a use's prefix."""
        for name, value in self.secret(**changes).items():
            monkeypatch.setenv(f"{prefix}{name}", value)

    def client(self) -> s3fs.S3FileSystem:
        """Return a client that may do everything."""
        return s3fs.S3FileSystem(
            key=KEY, secret=SECRET, endpoint_url=self.url, skip_instance_cache=True
        )

    def upload(self, directory: Path, uri: str) -> None:
        """Put a file, or a folder with all that is in it, at s3://BUCKET/KEY."""
        client = self.client()
        with contextlib.suppress(FileExistsError):
            client.mkdir(uri.removeprefix("s3://").partition("/")[0])
        if directory.is_file():
            client.put_file(str(directory), uri)
        else:
            client.put(f"{directory}/", f"{uri}/", recursive=True)

    def contents(self, uri: str) -> dict[str, bytes]:
        """Return what is at s3://BUCKET/PREFIX, by the keys below the prefix."""
        client, start = self.client(), len(f"{uri}/") - len("s3://")
        return {key[start:]: client.cat_file(key) for key in client.find(uri)}


@contextlib.contextmanager
def serve(directory: Path, *, address: str = "127.0.0.1", read_only: bool = False) -> Iterator[S3]:
    """Serve the folders of a directory as buckets until the block ends."""
    programs.ensure(programs.VERSITYGW)
    directory.mkdir(parents=True, exist_ok=True)
    server = S3(address, _free_port(address))
    program = programs.VERSITYGW.directory / "versitygw"
    command = [str(program), "--port", f"{address}:{server.port}", "--quiet"]
    command += ["--readonly", "posix"] if read_only else ["posix"]
    credentials = {"ROOT_ACCESS_KEY": KEY, "ROOT_SECRET_KEY": SECRET}
    environment = os.environ | credentials
    process = subprocess.Popen(
        [*command, str(directory)], env=environment, stdout=subprocess.DEVNULL
    )
    try:
        _wait_for(server, process)
        yield server
    finally:
        process.terminate()
        process.wait()


def _free_port(address: str) -> int:
    with socket.socket() as unused:
        unused.bind((address, 0))
        port: int = unused.getsockname()[1]
        return port


def _wait_for(server: S3, process: "subprocess.Popen[bytes]") -> None:
    for _ in range(200):
        if process.poll() is not None:
            raise RuntimeError(f"versitygw ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection((server.address, server.port)):
            return
        time.sleep(0.05)
    raise TimeoutError("versitygw does not listen")


@dataclass
class Cutter:
    """A TCP proxy; each number of `cuts` ends one connection after so many bytes of answer, each
    of `upload_cuts` one after so many bytes of a large request."""

    server: S3
    cuts: list[int] = field(default_factory=list)
    upload_cuts: list[int] = field(default_factory=list)
    connections: int = 0
    listener: socket.socket = field(default_factory=socket.socket)

    @property
    def endpoint(self) -> S3:
        """The server as seen through this proxy."""
        return S3(self.server.address, self.listener.getsockname()[1])


@contextlib.contextmanager
def cutting(server: S3) -> Iterator[Cutter]:
    """Put a proxy before the server."""
    cutter = Cutter(server)
    cutter.listener.bind((server.address, 0))
    cutter.listener.listen()
    thread = threading.Thread(target=_accept, args=(cutter,), daemon=True)
    thread.start()
    try:
        yield cutter
    finally:
        cutter.listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        cutter.listener.close()


def _accept(cutter: Cutter) -> None:
    with contextlib.suppress(OSError):
        while True:
            client, _ = cutter.listener.accept()
            cutter.connections += 1
            server = socket.create_connection((cutter.server.address, cutter.server.port))
            for pair in ((client, server, cutter.upload_cuts), (server, client, cutter.cuts)):
                threading.Thread(target=_pass_on, args=pair, daemon=True).start()


def _pass_on(source: socket.socket, target: socket.socket, cuts: list[int]) -> None:
    """Copy until one side ends, or until this is large enough for the next cut."""
    with contextlib.suppress(OSError), source, target:
        while data := source.recv(1 << 14):
            if cuts and len(data) > cuts[0]:
                target.sendall(data[: cuts.pop(0)])
                break
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)
