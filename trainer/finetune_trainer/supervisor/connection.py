"""One connection between two pods of a gang, and what follows from what is heard on it."""

import contextlib
import socket
import time

import msgspec

from finetune_trainer.contract import ExitCode, JobRef, Struct, TrainerError
from finetune_trainer.supervisor.child import Lines
from finetune_trainer.supervisor.termination import Ending

_LINE_BYTES = 4096
_TEXT_LENGTH = 500
_BEATS = 6
"""Signs of life in the time after which a silent pod is dead."""


class PeerMessage(Struct):
    """What one pod says to another: first who it is, then how it is, again and again."""

    job: JobRef | None = None
    index: int = 0
    host: str = ""
    stopping: bool = False
    """It was asked to stop."""
    fitted: bool = False
    """The leader needs the others no more."""
    ended: int | None = None
    """Its exit code: this is its last line."""
    reason: str = ""
    message: str = ""


class Connection:
    """One end of a connection; never waits."""

    def __init__(self, connected: socket.socket, *, peer_seconds: float) -> None:
        connected.setblocking(False)
        self._peer_seconds = peer_seconds
        self._socket = connected
        self._lines = Lines(self._take, limit=_LINE_BYTES)
        self.heard = time.monotonic()
        self._sent, self._told = 0.0, PeerMessage()
        self.is_open = True
        self.first: PeerMessage | None = None
        """Who it is."""
        self.last = PeerMessage()
        """How it is."""

    def send(self, line: PeerMessage) -> None:
        """Send a line. One who does not read, or is gone, is found by its silence."""
        self._sent, self._told = time.monotonic(), line
        with contextlib.suppress(OSError):
            self._socket.send(msgspec.json.encode(line) + b"\n")

    def receive(self) -> None:
        """Take what has come."""
        while self.is_open:
            try:
                data = self._socket.recv(_LINE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                return self.close()
            self.heard = time.monotonic()
            self._lines.feed(data)

    def close(self) -> None:
        """Hang up."""
        self.is_open = False
        self._socket.close()

    def _take(self, data: bytes) -> None:
        try:
            self.last = msgspec.json.decode(data, type=PeerMessage)
        except msgspec.DecodeError:
            self.close()
            return
        self.first = self.first or self.last

    @property
    def is_silent(self) -> bool:
        """Whether nothing was heard for too long."""
        return time.monotonic() - self.heard > self._peer_seconds

    @property
    def name(self) -> str:
        """Who it is, for people."""
        first = self.first
        return f"Pod {first.index} of the gang ({first.host})" if first else "A pod of the gang"

    def beat(self, line: PeerMessage) -> None:
        """Send the line if it is time for a sign of life, or if it is news."""
        if line != self._told or time.monotonic() - self._sent > self._peer_seconds / _BEATS:
            self.send(line)

    def check(self, *, stopping: bool) -> None:
        """Raise if the other pod is gone. After a request to stop that is only to be expected."""
        last = self.last
        if last.ended is None and self.is_open and not self.is_silent:
            return
        if stopping or last.ended == ExitCode.Interrupted:
            raise TrainerError(
                ExitCode.Interrupted,
                "The gang was asked to stop." if stopping else f"{self.name} was asked to stop.",
                "The next attempt goes on from the last checkpoint in the workspace.",
            )
        if last.ended == ExitCode.PeerLost:
            raise lost(last.message)
        if last.ended is not None:
            raise lost(f"{self.name} ended with {last.reason}: {last.message}")
        if self.is_open:
            raise lost(f"{self.name} was not heard of for {self._peer_seconds:g} s")
        raise lost(f"{self.name} hung up without a word: its process or its node died")


def lost(what: str) -> TrainerError:
    """Return the end of a pod that cannot go on without another."""
    return TrainerError(
        ExitCode.PeerLost,
        what.removesuffix(".") + ".",
        "The gang starts again from the last checkpoint. See the other pod for the cause.",
    )


def last_words(line: PeerMessage, ending: Ending) -> PeerMessage:
    """Return the line with which a pod ends."""
    error = ending.termination.error
    return msgspec.structs.replace(
        line,
        ended=int(ending.code),
        reason=error.reason if error else ExitCode.Complete.name,
        message=error.message[:_TEXT_LENGTH] if error else "",
    )
