"""Follows a FineTuneJob in one line: phase, progress, accuracy, what it waits for.

On a terminal the line is redrawn; in a log each change is a line of its own.
"""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

from tests.demo.clusters import Cluster

Status = dict[str, Any]


def follow(cluster: Cluster, *, namespace: str, name: str) -> Status:
    """Show the job until it has ended; return its last status."""
    start = time.monotonic()
    shown = phase = ""
    draw("    0 s  applied, the operator has not seen it yet", keep=True)
    for status in watch(cluster, namespace=namespace, name=name):
        text = describe(status)
        if text == shown:
            continue
        draw(f"{time.monotonic() - start:5.0f} s  {text}", keep=phase not in ("", status["phase"]))
        shown, phase = text, status["phase"]
        if phase in ("Complete", "Failed"):
            break
    print()
    return status


def watch(cluster: Cluster, *, namespace: str, name: str) -> Iterator[Status]:
    """Yield each status that the operator gives the job, for as long as it exists."""
    command = ["kubectl", "--namespace", namespace, "get", "finetunejob", name]
    command += ["--watch", "--output", 'jsonpath={.status}{"\\n"}']
    while True:  # the API server ends each watch after some minutes
        process = subprocess.Popen(command, env=cluster.environment, stdout=subprocess.PIPE)
        assert process.stdout
        try:
            statuses = (json.loads(line) for line in process.stdout if line.strip())
            yield from (status for status in statuses if "phase" in status)
        finally:
            process.kill()
            process.stdout.close()
            code = process.wait()
        if code:
            raise SystemExit(f"lost sight of the FineTuneJob {namespace}/{name}: see above")


def describe(status: Status) -> str:
    """Say in one line where the job is."""
    trainer = status.get("trainerStatus", {})
    metrics = {metric["name"]: metric["value"] for metric in trainer.get("metrics", [])}
    parts = [f"{status['phase']:<8}"]
    if "progressPercentage" in trainer:
        parts.append(f"{trainer['progressPercentage']:3} %")
    if status.get("accuracy"):
        parts.append(f"accuracy {status['accuracy']}")
    else:
        parts += [f"{name} {metrics[name]}" for name in ("accuracy", "loss") if name in metrics]
    if status.get("eta"):
        parts.append(f"{status['eta']} left")
    if status.get("attempts", 1) > 1:
        parts.append(f"attempt {status['attempts']}")
    if "failure" in status:
        failure = status["failure"]
        parts.append(failure["reason" if status["phase"] == "Failed" else "message"])
    return "  ".join(parts).rstrip()


def draw(line: str, *, keep: bool) -> None:
    """Redraw the line on a terminal, below the last one if that is worth keeping; else print it."""
    if not sys.stdout.isatty():
        print(line, flush=True)
        return
    width = shutil.get_terminal_size().columns - 1
    print(f"{chr(10) if keep else chr(13)}\033[K{line[:width]}", end="", flush=True)
