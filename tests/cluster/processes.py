"""Starts, finds and ends programs that outlive this tool, without an init system.

A program is known by a mark in its environment, which its children (containerd's shims) inherit:
it is found again after any crash, and nothing on disk can go stale.
"""

import os
import select
import signal
import subprocess
import time
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path

from tests.cluster.layout import LOGS, NAME

MARK = "FINETUNE_CLUSTER_PROCESS"
END_SECONDS = 10
# The cluster is on this machine: a proxy from the environment is only for pulling images.
DIRECT = "127.0.0.0/8,198.51.100.0/24,10.96.0.0/16,10.244.0.0/16,localhost"


def ensure(name: str, command: list[str]) -> None:
    """Start a program, unless it runs with just this command line."""
    if command in [_command_line(pid) for pid in _find_leaders(name)]:
        return
    # Not its children: containerd's shims and their containers go on without it.
    kill_until_gone(lambda: _find_leaders(name))
    LOGS.mkdir(parents=True, exist_ok=True)
    with _log(name).open("ab") as file:
        # No child of this process: it is to outlive it, and nobody would wait for it.
        subprocess.run(
            ["setsid", "--fork", *command],
            check=True,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            cwd="/",
            env=os.environ | {MARK: f"{NAME}/{name}", "NO_PROXY": DIRECT, "no_proxy": DIRECT},
        )


def find(name: str = "") -> list[int]:
    """The processes of one program, or of a whole node or cluster, with all their children."""
    mark = f"{MARK}={NAME}/{name}".rstrip("/").encode()
    return [
        int(entry.name)
        for entry in Path("/proc").iterdir()
        if entry.name.isdigit() and _has_mark(entry, mark)
    ]


def assert_running(*names: str) -> None:
    """Stop here with the last words of a program that has ended."""
    for name in names:
        if not _find_leaders(name):
            words = _log(name).read_text(errors="replace")[-2000:]
            raise SystemExit(
                f"{words}\n{name} ended early, see {_log(name)}. If the cluster was damaged, by a"
                " power cut or a full disk: `python -m tests.cluster down`, then `up`"
            )


def end(name: str = "") -> None:
    """Kill what `find` finds; nothing here has anything to save."""
    kill_until_gone(lambda: find(name))


def kill_until_gone(find_pids: Callable[[], list[int]]) -> None:
    """Kill processes until none is found, because dying ones may still start others."""
    for _ in range(500):
        pids = find_pids()
        if not pids:
            return
        with ExitStack() as stack:
            for file in [_kill(pid, stack) for pid in pids]:
                # A dying process loses its environment before its sockets: it is not found any
                # more, and yet it listens.
                if file is not None and not select.select([file], [], [], END_SECONDS)[0]:
                    raise TimeoutError(f"processes {pids}: no end {END_SECONDS} s after SIGKILL")
        time.sleep(0.02)
    raise TimeoutError(f"processes {pids} start others for ever")


def _kill(pid: int, stack: ExitStack) -> int | None:
    """Kill a process; return a file that can be read once it has ended."""
    with suppress(ProcessLookupError):
        file = os.pidfd_open(pid)
        stack.callback(os.close, file)
        signal.pidfd_send_signal(file, signal.SIGKILL)
        return file
    return None


def _find_leaders(name: str) -> list[int]:
    return [pid for pid in find(name) if _leads_session(pid)]


def _leads_session(pid: int) -> bool:
    try:
        return os.getsid(pid) == pid
    except ProcessLookupError:
        return False


def _has_mark(entry: Path, mark: bytes) -> bool:
    try:
        variables = (entry / "environ").read_bytes().split(b"\0")
    except OSError:  # it ended meanwhile, or is a kernel thread
        return False
    return any((variable + b"/").startswith(mark + b"/") for variable in variables)


def _log(name: str) -> Path:
    return LOGS / f"{name.replace('/', '-')}.log"


def _command_line(pid: int) -> list[str]:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[:-1]
    except OSError:
        return []
