"""What running jobs cost the API server: status writes and requests per second of one operator. Run
from the root of the checkout:

    python -m bench.status_writes [--jobs 1000] [--seconds 120] [--checkouts . ../earlier]

A real API server, but no controllers. Each pod has an address of its own, where a trainer is
played: its rate and time left change with each answer, its percentage each minute, its accuracy
every two. Several checkouts are measured one after the other on the same objects.
"""

import argparse
import asyncio
import contextlib
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from finetune_operator.kube import urls
from finetune_operator.settings import Settings

from bench import requests
from bench.population import NAMESPACE, populate
from bench.scale.trainers import Trainers
from bench.watch_memory import prepare
from tests.cluster.controlplane import ControlPlane

SETTLE_SECONDS = 30
RUNNING = 5
"""Every so many-th job of the population runs."""
COLUMNS = {
    "status writes": ("PATCH", "finetunejobs/status"),
    "reads of FineTuneJobs": ("GET", "finetunejobs"),
    "Events": ("POST", "events"),
}


@contextlib.contextmanager
def operating(plane: ControlPlane, checkout: Path) -> Iterator[None]:
    """Run the operator of a checkout; it is ready when this is entered."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PYTHONPATH": str(checkout.resolve() / "operator"),
        "KUBECONFIG": str(plane.kubeconfig),
        "FINETUNE_OPERATOR_PORT": str(port),
        "FINETUNE_OPERATOR_TRAINER_IMAGE": "example.test/trainer:cpu",
    }
    command = [sys.executable, "-m", "finetune_operator"]
    process = subprocess.Popen(
        command, env=environment, cwd=checkout, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        while not is_ready(port):
            if process.poll() is not None:
                sys.exit(f"the operator of {checkout} ended with {process.returncode}")
            time.sleep(0.5)
        yield
    finally:
        process.terminate()
        process.wait()


def is_ready(port: int) -> bool:
    """Return True if the operator says so."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=5) as answer:
            return bool(answer.read() == b"ok")
    except OSError:
        return False


async def measure(plane: ControlPlane, checkout: Path, seconds: float) -> list[float]:
    """Return the requests per second, by column, and all together."""
    with operating(plane, checkout):
        await asyncio.sleep(SETTLE_SECONDS)
        before, begin = await asyncio.to_thread(requests.answered, plane), time.monotonic()
        await asyncio.sleep(seconds)
        after, passed = await asyncio.to_thread(requests.answered, plane), time.monotonic() - begin
    after.subtract(before)
    return [each / passed for each in (*(after[key] for key in COLUMNS.values()), after.total())]


async def run(jobs: int, seconds: float, checkouts: list[Path]) -> None:
    """Print one line of the table for each checkout."""
    with ControlPlane(controllers=False) as plane:
        prepare(plane)
        plane.add_namespace(Settings().lease.partition("/")[0])  # of the operator's Lease
        await populate(plane, range(0, RUNNING * jobs, RUNNING))
        pods = plane.api.get(urls.pods(NAMESPACE))["items"]
        print(f"\n{len(pods)} running jobs, requests per second over {seconds:.0f} s\n")
        print(f"| checkout | {' | '.join(COLUMNS)} | all |\n|{' --- |' * (len(COLUMNS) + 2)}")
        async with Trainers() as trainers:
            await trainers.play({pod["status"]["podIP"]: _identity(pod) for pod in pods})
            for checkout in checkouts:
                figures = await measure(plane, checkout, seconds)
                line = " | ".join(f"{each:.1f}" for each in figures)
                print(f"| {checkout} | {line} |", flush=True)


def _identity(pod: dict[str, Any]) -> tuple[str, dict[str, str]]:
    return pod["metadata"]["uid"], pod["metadata"]["labels"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--checkouts", type=Path, nargs="+", default=[Path()])
    arguments = parser.parse_args()
    asyncio.run(run(arguments.jobs, arguments.seconds, arguments.checkouts))


if __name__ == "__main__":
    main()
