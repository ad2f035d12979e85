"""The operator as users run it: a process that can be stopped, killed and started again."""

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support import leases

IMAGE = "example.test/trainer:cpu"
GPU_IMAGE = "example.test/trainer:gpu"


def free_port() -> int:
    """Return a port of the loopback address that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


class OperatorProcess:
    """`python -m finetune_operator` with short times."""

    def __init__(self, kubeconfig: Path, checkout: Path | None = None, /, **settings: str) -> None:
        """`checkout`: of another revision."""
        other = {"PYTHONPATH": f"{checkout.resolve()}/operator"} if checkout else {}
        self._environment = {
            **os.environ,
            **other,
            "KUBECONFIG": str(kubeconfig),
            "FINETUNE_OPERATOR_TRAINER_IMAGE": IMAGE,
            "FINETUNE_OPERATOR_TRAINER_GPU_IMAGE": GPU_IMAGE,
            "FINETUNE_OPERATOR_PROGRESS_INTERVAL_SECONDS": "0.5",
            "FINETUNE_OPERATOR_STUCK_AFTER_SECONDS": "1",
            "FINETUNE_OPERATOR_BACKOFF_SECONDS": "1",
            **{f"FINETUNE_OPERATOR_{name.upper()}": value for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._log = tempfile.TemporaryFile()  # noqa: SIM115

    def __enter__(self) -> Self:
        """Start it and wait until it is ready."""
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it; a clean exit is part of every test."""
        code = self.stop()
        self._log.close()
        assert code == 0, f"the operator ended with {code}"

    def start(self) -> None:
        """Start it and wait until it is ready."""
        process = self.launch()
        deadline = time.monotonic() + 30
        while self.get("/readyz") != "ok":
            assert process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            time.sleep(0.1)

    def launch(self) -> subprocess.Popen[bytes]:
        """Start it and do not wait."""
        self.port = free_port()
        environment = {
            **leases.settings_of_a_new_lease(),
            **self._environment,
            "FINETUNE_OPERATOR_PORT": str(self.port),
        }
        self._process = subprocess.Popen(
            [sys.executable, "-m", "finetune_operator"],
            env=environment,
            stdout=self._log,
            stderr=self._log,
        )
        return self._process

    @property
    def pid(self) -> int:
        """Its process."""
        assert self._process is not None
        return self._process.pid

    def stop(self) -> int:
        """Ask it to end; return its exit code."""
        assert self._process is not None
        self._process.send_signal(signal.SIGTERM)
        return self._process.wait(timeout=25)

    def kill(self) -> None:
        """End it without any warning."""
        assert self._process is not None
        self._process.kill()
        self._process.wait()

    def close(self) -> None:
        """End it, however it is; its log goes with it."""
        self.kill()
        self._log.close()

    def send(self, number: signal.Signals) -> None:
        """Send it a signal."""
        assert self._process is not None
        self._process.send_signal(number)

    def wait(self, *, seconds: float) -> int:
        """Wait until it ends by itself; return its exit code."""
        assert self._process is not None
        return self._process.wait(timeout=seconds)

    def get(self, path: str) -> str:
        """Return what it answers, or nothing."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as reply:
                return str(reply.read().decode())
        except (urllib.error.URLError, OSError):
            return ""

    def log(self) -> str:
        """Everything it has written."""
        self._log.seek(0)
        return self._log.read().decode(errors="replace")
