"""A user's shell: nothing in it is from this project."""

import os
import re
import signal
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.cluster.programs import CACHE

OURS = {"PYTHONPATH", "VIRTUAL_ENV", "KUBECONFIG"}
SECONDS = 300


@dataclass(frozen=True)
class Shell:
    """Where a user types, and the environment there."""

    directory: Path
    environment: dict[str, str]

    def run(self, line: str) -> str:
        """Run a line; return what it prints."""
        with self.started(line) as process:
            printed, _ = process.communicate(timeout=SECONDS)
        assert process.returncode == 0, f"{line}\nended with {process.returncode}:\n{printed}"
        return printed

    def run_until(self, pattern: str, line: str) -> str:
        """Run a line that has no end of its own until a line that it prints is as wanted."""
        printed = ""
        deadline = time.monotonic() + SECONDS
        with self.started(line) as process:
            assert process.stdout
            for printed_line in process.stdout:
                printed += printed_line
                if re.search(pattern, printed_line):
                    return printed
                assert time.monotonic() < deadline, printed
        raise AssertionError(f"{line}\nended without {pattern}:\n{printed}")

    @contextmanager
    def started(self, line: str) -> Iterator[subprocess.Popen[str]]:
        """Start a line; it and all that it has started end with the block."""
        with subprocess.Popen(
            ["bash", "-o", "pipefail", "-c", line],
            cwd=self.directory,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    os.killpg(process.pid, signal.SIGKILL)


def plain_environment() -> dict[str, str]:
    """Return this process's environment without what it has of the project."""
    folders = os.environ["PATH"].split(os.pathsep)
    path = os.pathsep.join(x for x in folders if not Path(x).is_relative_to(CACHE))
    kept = {name: value for name, value in os.environ.items() if name not in OURS}
    return kept | {"PATH": path}
