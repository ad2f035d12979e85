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
import datetime
import os
import resource
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from aiohttp import web
from finetune_operator.api import constants as c
from finetune_operator.kube import urls
from finetune_operator.settings import Settings

from bench import requests
from bench.population import NAMESPACE, populate
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


def progress_of(pod: dict[str, Any]) -> dict[str, Any]:
    """Return the answer of a trainer that goes on with the time of day."""
    now = datetime.datetime.now(datetime.UTC)
    seconds = int(now.timestamp()) + int(pod["metadata"]["uid"][:4], 16)  # not all at once
    labels = pod["metadata"]["labels"]
    metrics = {
        "accuracy": f"0.{5000 + seconds // 120 % 4000}",
        "images-per-second": f"{200 + time.monotonic() % 20:.1f}",
    }
    return {
        "job": {"uid": labels[c.LABEL_JOB_UID], "attempt": 1, "podUid": pod["metadata"]["uid"]},
        "stage": "fit",
        "step": seconds,
        "trainerStatus": {
            "progressPercentage": seconds // 60 % 100,
            "estimatedRemainingSeconds": 60 * (100 - seconds // 60 % 100) - seconds % 60,
            "metrics": [{"name": name, "value": value} for name, value in metrics.items()],
            "lastUpdatedTime": now.strftime("%Y-%m-%dT%H:%M:%SZ"),
        },
    }


async def play(pods: list[dict[str, Any]]) -> web.AppRunner:
    """Serve the /progress of every pod at its address."""
    by_address = {pod["status"]["podIP"]: pod for pod in pods}

    async def answer(request: web.Request) -> web.Response:
        return web.json_response(progress_of(by_address[request.host.partition(":")[0]]))

    app = web.Application()
    app.router.add_get("/progress", answer)
    runner = web.AppRunner(app, access_log=None)
    await runner.setup()
    for address in by_address:
        await web.TCPSite(runner, address, c.TRAINER_PORT).start()
    return runner


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
        runner = await play(pods)
        print(f"\n{len(pods)} running jobs, requests per second over {seconds:.0f} s\n")
        print(f"| checkout | {' | '.join(COLUMNS)} | all |\n|{' --- |' * (len(COLUMNS) + 2)}")
        for checkout in checkouts:
            figures = await measure(plane, checkout, seconds)
            print(f"| {checkout} | {' | '.join(f'{each:.1f}' for each in figures)} |", flush=True)
        await runner.cleanup()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=1000)
    parser.add_argument("--seconds", type=float, default=120)
    parser.add_argument("--checkouts", type=Path, nargs="+", default=[Path()])
    arguments = parser.parse_args()
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # each trainer listens by itself
    asyncio.run(run(arguments.jobs, arguments.seconds, arguments.checkouts))


if __name__ == "__main__":
    main()
