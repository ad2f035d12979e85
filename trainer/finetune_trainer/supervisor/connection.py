"""A TCP connection between two pods of a gang: messages, heartbeats, detection of a lost pod."""

import contextlib
import socket
import time

import msgspec

from finetune_trainer.contract import ExitCode, JobRef, Struct, TrainerError
from finetune_trainer.supervisor.child import Lines
from finetune_trainer.supervisor.termination import Ending

_LINE_BYTES = 4096
_TEXT_LENGTH = 500
_HEARTBEATS = 6
"""Heartbeats within the time after which a pod that sends nothing counts as dead."""


class PeerMessage(Struct):
    """The identity and the state of a pod, as it sends them to another, again and again."""

    job: JobRef | None = None
    index: int = 0
    host: str = ""
    stopping: bool = False
    """True if the pod was asked to stop."""
    fitted: bool = False
    """True if the leader has saved the fit and no longer needs the others."""
    ended: int | None = None
    """The exit code of the pod, in its final message."""
    reason: str = ""
    message: str = ""


class Connection:
    """One end of a connection; never blocks."""

    def __init__(self, connected: socket.socket, *, peer_seconds: float) -> None:
        connected.setblocking(False)
        self._peer_seconds = peer_seconds
        self._socket = connected
        self._lines = Lines(self._take, limit=_LINE_BYTES)
        self._received_at = time.monotonic()
        self._sent_at, self._last_sent = 0.0, PeerMessage()
        self.is_open = True
        self.first: PeerMessage | None = None
        """The first message, which identifies the other pod; None: not received yet."""
        self.last = PeerMessage()
        """The newest message: the state of the other pod."""

    def send(self, message: PeerMessage) -> None:
        """Send a message. No error is raised: a dead pod is found by its missing heartbeats."""
        self._sent_at, self._last_sent = time.monotonic(), message
        with contextlib.suppress(OSError):
            self._socket.send(msgspec.json.encode(message) + b"\n")

    def receive(self) -> None:
        """Read all messages that have arrived."""
        while self.is_open:
            try:
                data = self._socket.recv(_LINE_BYTES)
            except BlockingIOError:
                return
            except OSError:
                data = b""
            if not data:
                return self.close()
            self._received_at = time.monotonic()
            self._lines.feed(data)

    def close(self) -> None:
        """Close the connection."""
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
    def is_unreachable(self) -> bool:
        """True if nothing was received for too long."""
        return time.monotonic() - self._received_at > self._peer_seconds

    @property
    def name(self) -> str:
        """Human-readable name of the other pod."""
        first = self.first
        return f"Pod {first.index} of the gang ({first.host})" if first else "A pod of the gang"

    def send_heartbeat(self, message: PeerMessage) -> None:
        """Send the message if it has changed, or if a heartbeat is due."""
        interval = self._peer_seconds / _HEARTBEATS
        if message != self._last_sent or time.monotonic() - self._sent_at > interval:
            self.send(message)

    def check(self, *, stopping: bool) -> None:
        """Raise PeerLost if the other pod has ended or is unreachable. After a request to stop this
        is expected: raise Interrupted then.
        """
        last = self.last
        if last.ended is None and self.is_open and not self.is_unreachable:
            return
        if stopping or last.ended == ExitCode.Interrupted:
            raise TrainerError(
                ExitCode.Interrupted,
                "The gang was asked to stop." if stopping else f"{self.name} was asked to stop.",
                "The next attempt resumes from the last checkpoint in the workspace.",
            )
        if last.ended == ExitCode.PeerLost:
            raise peer_lost(last.message)
        if last.ended is not None:
            raise peer_lost(f"{self.name} ended with {last.reason}: {last.message}")
        if self.is_open:
            raise peer_lost(f"{self.name} sent no message for {self._peer_seconds:g} s")
        raise peer_lost(
            f"{self.name} closed the connection without a final message: its process or node died"
        )


def peer_lost(message: str) -> TrainerError:
    """Return the error of a pod that cannot continue without another pod."""
    return TrainerError(
        ExitCode.PeerLost,
        message.removesuffix(".") + ".",
        "The gang restarts from the last checkpoint. See the log of the other pod for the cause.",
    )


def final_message(state: PeerMessage, ending: Ending) -> PeerMessage:
    """Return the last message of a pod: its state, exit code and error."""
    error = ending.termination.error
    return msgspec.structs.replace(
        state,
        ended=int(ending.code),
        reason=error.reason if error else ExitCode.Complete.name,
        message=error.message[:_TEXT_LENGTH] if error else "",
    )
