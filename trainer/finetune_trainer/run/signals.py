"""Requests to stop, and a descriptor that wakes a selector when a signal arrives."""

import os
import select
import signal
from types import FrameType, TracebackType
from typing import Self


class Signals:
    """Records SIGTERM and SIGINT while the context lasts; the process does not die of them."""

    def __init__(self) -> None:
        self.stop = False
        """True if the process was asked to stop."""
        self.hurry = False
        """True after a second Ctrl-C: the user does not want to wait. (A second SIGTERM means
        nothing: the kubelet may repeat it.)"""
        self.wakeup, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    def __enter__(self) -> Self:
        self._handlers = {
            signal.SIGTERM: signal.signal(signal.SIGTERM, self._stop),
            signal.SIGINT: signal.signal(signal.SIGINT, self._stop),
            # Without any handler, the end of a child would not wake the loop.
            signal.SIGCHLD: signal.signal(signal.SIGCHLD, lambda number, frame: None),
        }
        self._previous = signal.set_wakeup_fd(self._write, warn_on_full_buffer=False)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        signal.set_wakeup_fd(self._previous)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self.wakeup)
        os.close(self._write)

    def wait(self, *, seconds: float) -> None:
        """Sleep until a signal arrives, but no longer than `seconds`."""
        if select.select([self.wakeup], [], [], seconds)[0]:
            os.read(self.wakeup, 1024)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.hurry |= self.stop and number == signal.SIGINT
        self.stop = True
