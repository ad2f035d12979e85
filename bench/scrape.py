"""What a scrape of many FineTuneJobs costs: time, size, series, memory, and for how long the event
loop does nothing else. Run from the root of the checkout:

    python -m bench.scrape [--jobs 5000] [--scrapes 10]

Four in five jobs are complete; the others train. The page is served by the operator's own server,
and read over the loopback device by another process.
"""

import argparse
import asyncio
import statistics
import sys
import time
from pathlib import Path
from typing import Any

from finetune_operator.metrics import Metrics
from finetune_operator.observe.cache import Cache
from finetune_operator.server import Server

from bench import population

PORT = 18080
MIB = 1024 * 1024
METRICS = {
    "epoch": "10",
    "loss": "0.2208",
    "train-accuracy": "0.9534",
    "accuracy": "0.9412",
    "learning-rate": "0.0125",
    "images-per-second": "212.4",
    "data-stall": "0.0712",
}
READ = """
import sys, time, urllib.request
start = time.monotonic()
page = urllib.request.urlopen(sys.argv[1]).read()
series = sum(not line.startswith(b"#") for line in page.splitlines())
print(time.monotonic() - start, len(page), series)
"""


def body(number: int) -> dict[str, Any]:
    """Return a FineTuneJob as the watch reports it."""
    running = number % 5 == 0
    job = population.fine_tune_job(number)
    status = population.job_status(number, running=running)
    metrics = [{"name": name, "value": value} for name, value in METRICS.items()]
    status["trainerStatus"] |= {"metrics": metrics, "estimatedRemainingSeconds": 600}
    job["metadata"] |= {
        "namespace": f"{population.NAMESPACE}-{number % 20}",
        "uid": f"{number:036}",
        "creationTimestamp": population.TIME.format(0),
    }
    return {**job, "status": status}


def rss() -> float:
    """Return the resident memory of this process in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / MIB


async def scrape() -> list[float]:
    """Return seconds, bytes and series of one scrape."""
    address = f"http://127.0.0.1:{PORT}/metrics"
    pipe = asyncio.subprocess.PIPE
    reader = await asyncio.create_subprocess_exec(sys.executable, "-c", READ, address, stdout=pipe)
    output, _ = await reader.communicate()
    return [float(figure) for figure in output.split()]


async def watch_loop(gaps: list[float]) -> None:
    """Record for how long the loop did not come back to this."""
    while True:
        start = time.monotonic()
        await asyncio.sleep(0)
        gaps.append(time.monotonic() - start)


async def run(jobs: int, scrapes: int) -> None:
    """Print the figures."""
    cache = Cache()
    server = Server(metrics=Metrics(cache), healthy=lambda: "", ready=lambda: "")
    serving = asyncio.create_task(server.run(PORT))
    await asyncio.sleep(0.2)
    await scrape()
    before = rss()
    for number in range(jobs):
        cache.observe_fine_tune_job(body(number), deleted=False)
    kept = rss()
    seconds, blocked = [], []
    for _ in range(scrapes):
        gaps: list[float] = []
        watching = asyncio.create_task(watch_loop(gaps))
        took, size, series = await scrape()
        watching.cancel()
        seconds.append(took)
        blocked.append(max(gaps))
    serving.cancel()
    print(f"{jobs} jobs: {series:.0f} series, {size / 1e6:.1f} MB")
    print(f"scrape: median {statistics.median(seconds):.3f} s, longest {max(seconds):.3f} s")
    print(
        f"loop blocked for at most {max(blocked):.3f} s, median {statistics.median(blocked):.3f} s"
    )
    print(f"memory: {before:.0f} MiB before, {kept:.0f} with the jobs, {rss():.0f} after scrapes")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--jobs", type=int, default=5000)
    parser.add_argument("--scrapes", type=int, default=10)
    arguments = parser.parse_args()
    asyncio.run(run(arguments.jobs, arguments.scrapes))


if __name__ == "__main__":
    main()
