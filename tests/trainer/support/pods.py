"""The trainer's supervisor as a process with the environment of a pod."""

import ctypes
import dataclasses
import json
import os
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from finetune_trainer.contract import Termination

PR_SET_CHILD_SUBREAPER = 36


def make_job(**changes: Any) -> dict[str, Any]:
    """Return FINETUNE_JOB as an object."""
    return {
        "name": "flowers",
        "namespace": "team-a",
        "uid": "11111111-0000-0000-0000-000000000000",
        "attempt": 2,
        "podUid": "22222222-0000-0000-0000-000000000000",
        "model": {"name": "efficientnet-lite0"},
        "dataset": {"source": {"uri": "pvc://photos/flowers"}},
        **changes,
    }


@dataclasses.dataclass
class Pod:
    """One container: a directory for its volumes, and its process."""

    directory: Path
    process: "subprocess.Popen[bytes]"

    @property
    def job_directory(self) -> Path:
        """Return the job's directory in the workspace."""
        return self.directory / "workspace/jobs" / str(make_job()["uid"])

    @property
    def log(self) -> str:
        """Return the output so far."""
        return (self.directory / "log").read_text(errors="replace")

    @property
    def message(self) -> bytes:
        """Return the termination message as bytes."""
        return (self.directory / "termination-log").read_bytes()

    @property
    def termination(self) -> Termination:
        """Return the termination message."""
        return msgspec.json.decode(self.message, type=Termination)

    def wait(self) -> int:
        """Wait for the end; return the exit code."""
        return self.process.wait(timeout=60)

    def wait_for(self, text: str) -> None:
        """Wait until `text` was printed."""
        wait_until(lambda: text in self.log or self.process.poll() is not None)
        assert text in self.log, self.log

    def get(self, path: str) -> bytes:
        """Return the pod's HTTP response for this path."""
        self.wait_for("HTTP on port")
        match = re.search(r"HTTP on port (\d+)", self.log)
        assert match
        with urllib.request.urlopen(f"http://127.0.0.1:{match[1]}{path}", timeout=5) as response:
            body: bytes = response.read()
            return body


def wait_until(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    """Wait until the condition holds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def start_pod(
    directory: Path,
    *stages: str,
    job: dict[str, Any] | str | None = None,
    module: str = "",
    **environment: str,
) -> Pod:
    """Supervise `job` with stages of small_stages, or with the real ones if none are named."""
    module = module or ("tests.trainer.support.small_stages" if stages else "finetune_trainer")
    text = job if isinstance(job, str) else json.dumps(job or make_job())
    with open(directory / "log", "wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *(stages or ("supervise",))],
            stdout=log,
            stderr=log,
            preexec_fn=_be_like_process_1,
            env=os.environ
            | {
                "PYTHONPATH": os.pathsep.join(sys.path),
                "FINETUNE_JOB": text,
                "FINETUNE_PORT": "0",
                "FINETUNE_WORKSPACE": str(directory / "workspace"),
                "FINETUNE_CLAIMS": str(directory / "claims"),
                "FINETUNE_TERMINATION_LOG": str(directory / "termination-log"),
            }
            | environment,
        )
    return Pod(directory, process)


def _be_like_process_1() -> None:
    """Orphans below the process become its children, as in a container."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
