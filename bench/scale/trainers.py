"""What running pods answer when they are polled: one server on an address of its own for each, all
of this machine.
"""

import asyncio
import datetime
import email.utils
import json
import resource
from collections.abc import Mapping
from typing import Any, Literal, Self

from finetune_operator.api import constants as c

HEAD = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\n"


def progress_of(uid: str, labels: Mapping[str, str], *, now: datetime.datetime) -> dict[str, Any]:
    """Return the answer of a trainer that goes on with the time of day: its rate and time left
    change with each answer, its percentage each minute, its accuracy every two.
    """
    seconds = int(now.timestamp()) + int(uid[:4], 16)  # not all at once
    metrics = {
        "accuracy": f"0.{5000 + seconds // 120 % 4000}",
        "images-per-second": f"{200 + now.timestamp() % 20:.1f}",
    }
    return {
        "job": {"uid": labels[c.LABEL_JOB_UID], "attempt": 1, "podUid": uid},
        "stage": "fit",
        "step": seconds,
        "trainerStatus": {
            "progressPercentage": seconds // 60 % 100,
            "estimatedRemainingSeconds": 60 * (100 - seconds // 60 % 100) - seconds % 60,
            "metrics": [{"name": name, "value": value} for name, value in metrics.items()],
            "lastUpdatedTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
    }


class Trainers:
    """The trainers of pods, by their addresses."""

    def __init__(self, pace: Literal["still", "usual", "moving"] = "usual") -> None:
        """`pace`: nothing changes; the rate does; or the percentage, too, with each answer."""
        self.pods: dict[str, tuple[str, Mapping[str, str]]] = {}
        """The uid and the labels of the pod of each address."""
        self.hanging: set[str] = set()
        """The addresses that take a connection and never answer."""
        self._pace = pace
        self._start = datetime.datetime.now(datetime.UTC)
        self._servers: list[asyncio.Server] = []

    async def __aenter__(self) -> Self:
        """Serve nothing yet."""
        return self

    async def __aexit__(self, *_: object) -> None:
        """Stop to listen."""
        for server in self._servers:
            server.close()

    async def play(self, pods: Mapping[str, tuple[str, Mapping[str, str]]]) -> None:
        """Listen on the trainers' port of these pods' addresses."""
        if pods:
            _allow_many_files()
            self.pods |= pods
            loop, port = asyncio.get_running_loop(), c.TRAINER_PORT
            server = await loop.create_server(lambda: _Connection(self), list(pods), port)
            self._servers.append(server)

    def answer(self, address: str) -> bytes | None:
        """Return the whole answer of a trainer, None if it hangs."""
        if address in self.hanging:
            return None
        now = self._start if self._pace == "still" else datetime.datetime.now(datetime.UTC)
        progress = progress_of(*self.pods[address], now=now)
        if self._pace == "moving":
            progress["trainerStatus"]["progressPercentage"] = int(now.timestamp()) % 100
        body = json.dumps(progress)
        date = email.utils.formatdate(usegmt=True)
        return f"{HEAD}Date: {date}\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


class _Connection(asyncio.Protocol):
    """One request; whatever it asks for is the progress."""

    def __init__(self, trainers: Trainers) -> None:
        self._trainers = trainers

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        if data.endswith(b"\r\n\r\n"):
            address, _ = self._transport.get_extra_info("sockname")
            if answer := self._trainers.answer(address):
                self._transport.write(answer)
                self._transport.close()


def _allow_many_files() -> None:
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
