"""One child process: its output and reports until its end, and the reaping of the orphans that a
process 1 inherits. Knows nothing of jobs.
"""

import contextlib
import os
import re
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence

REPORT_FD = "FINETUNE_REPORT_FD"
_CHUNK = 64 * 1024
_DRAIN_SECONDS = 1.0


class Lines:
    """Splits a stream into lines; keeps at most `limit` bytes of one, however long it is."""

    def __init__(self, take: Callable[[bytes], None], *, limit: int) -> None:
        self._take = take
        self._limit = limit
        self._rest = b""

    def feed(self, data: bytes) -> None:
        """Pass on each line that `data` completes. Progress bars end lines by carriage returns."""
        *complete, rest = re.split(rb"[\r\n]", data)
        for line in complete:
            self._finish(line)
        self._rest = (self._rest + rest)[: self._limit]

    def _finish(self, line: bytes) -> None:
        line, self._rest = (self._rest + line)[: self._limit], b""
        if line.strip():
            self._take(line)


class Child:
    """A process in a session of its own, so that a terminal's Ctrl-C reaches only its parent."""

    def __init__(self, command: Sequence[str], *, environment: Mapping[str, str]) -> None:
        self.output, output = os.pipe2(os.O_CLOEXEC)
        self.reports, reports = os.pipe2(os.O_CLOEXEC)
        try:
            self._process = subprocess.Popen(
                command,
                env={**environment, REPORT_FD: str(reports)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                pass_fds=(reports,),
                start_new_session=True,
            )
        finally:
            os.close(output)
            os.close(reports)
        self.ended: float | None = None
        """Time of the end by time.monotonic(); None: it still runs."""

    @property
    def status(self) -> int:
        """The exit code; negative: the signal that ended the process."""
        status = self._process.returncode
        assert status is not None
        return status

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the process alone: it ends its own helpers."""
        if self.ended is None:
            os.kill(self._process.pid, number)

    def reap(self) -> None:
        """Collect every process that has ended, this one or an inherited orphan."""
        while (pid := _ended_child()) is not None:
            if pid == self._process.pid:
                # The group dies before its number is free to be used again.
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.killpg(pid, signal.SIGKILL)
                self._process.wait()
                self.ended = time.monotonic()
            else:
                os.waitpid(pid, 0)

    def close(self) -> None:
        """Kill what is left and close the pipes."""
        if self.ended is None:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait()
        os.close(self.output)
        os.close(self.reports)


def run_to_end(
    child: Child,
    *,
    output: Callable[[bytes], None],
    reports: Callable[[bytes], None],
    wakeup: int,
    tick: Callable[[], None],
) -> None:
    """Read both pipes until the child has ended and they are empty; call `tick` at each round,
    at least once a second.
    """
    with selectors.DefaultSelector() as selector:
        selector.register(child.output, selectors.EVENT_READ, output)
        selector.register(child.reports, selectors.EVENT_READ, reports)
        selector.register(wakeup, selectors.EVENT_READ, lambda data: None)
        while not _is_over(child, open_pipes=len(selector.get_map()) - 1):
            for key, _ in selector.select(timeout=1 if child.ended is None else 0.1):
                if data := os.read(key.fd, _CHUNK):
                    key.data(data)
                else:
                    selector.unregister(key.fd)
            child.reap()
            tick()


def _is_over(child: Child, *, open_pipes: int) -> bool:
    """Return True if all output is read. A daemon that left the process group may hold the pipes
    open: it is not waited for.
    """
    if child.ended is None:
        return False
    return open_pipes == 0 or time.monotonic() - child.ended > _DRAIN_SECONDS


def _ended_child() -> int | None:
    """Return the pid of a child that has ended, still to be waited for."""
    try:
        ended = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
    except ChildProcessError:
        return None
    return ended.si_pid if ended else None
