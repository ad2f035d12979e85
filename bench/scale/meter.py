"""What was used between two moments: CPU by process, requests, and how the operator kept up."""

import asyncio
import contextlib
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

from finetune_operator.metrics.process import PREFIX
from prometheus_client.parser import text_string_to_metric_families

from bench import requests
from bench.scale.figures import REQUESTS, TOGETHER, quantiles
from bench.scale.processes import cpu_seconds, memory_mib
from tests.cluster.controlplane import ControlPlane
from tests.support.operator_process import OperatorProcess

OPERATOR = "operator"
PROCESSES = (OPERATOR, "kube-apiserver", "kube-controller-manager", "kube-scheduler", "etcd")
"""The processes whose CPU is the cost of a job; KWOK is in the place of kubelets."""
QUEUE = f"{PREFIX}_workqueue_queue_duration_seconds"
Buckets = dict[float, float]


@dataclass(frozen=True)
class Reading:
    """What has been used since the start."""

    at: float
    cpu: dict[str, float]
    answered: requests.Counts
    page: str
    """The operator's metrics."""


@dataclass
class Meter:
    """The processes of a cluster."""

    plane: ControlPlane
    operator: OperatorProcess | None
    lags: list[float] = field(default_factory=list)
    """Milliseconds of the operator's answers so far."""

    async def read(self) -> Reading:
        """Read all that is counted."""
        # CPU first: to read the others takes some.
        cpu = {name: cpu_seconds(pid) for name, pid in self._pids().items()}
        answered = await asyncio.to_thread(requests.answered, self.plane)
        page = await asyncio.to_thread(self.operator.get, "/metrics") if self.operator else ""
        return Reading(time.monotonic(), cpu, answered, page)

    def memory(self, when: str, field: str = "VmRSS") -> dict[str, float]:
        """Return the operator's memory; VmHWM: its peak."""
        if not self.operator:
            return {}
        return {f"operator's memory {when}, MiB": memory_mib(self.operator.pid, field)}

    async def scrape(self) -> dict[str, float]:
        """Return what one scrape costs: the operator's CPU, and the time until it is there."""
        if not self.operator:
            return {}
        used, begin = cpu_seconds(self.operator.pid), time.monotonic()
        for _ in range(times := 5):
            await asyncio.to_thread(self.operator.get, "/metrics")
        cpu = cpu_seconds(self.operator.pid) - used
        wall = time.monotonic() - begin
        return {"scrape, ms of CPU": 1000 * cpu / times, "scrape, ms": 1000 * wall / times}

    async def idle(self, seconds: float) -> dict[str, float]:
        """Return the share of a core that the operator uses when nothing happens."""
        if not self.operator:
            return {}
        used = cpu_seconds(self.operator.pid)
        await asyncio.sleep(seconds)
        share = (cpu_seconds(self.operator.pid) - used) / seconds
        return {"idle operator, % of a core": 100 * share}

    @contextlib.asynccontextmanager
    async def watching_the_loop(self) -> AsyncIterator[None]:
        """Record how late the operator answers meanwhile."""
        self.lags.clear()
        if not self.operator:
            yield
            return
        command = [sys.executable, "-m", "bench.scale.lag", str(self.operator.port)]
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(*command, stdout=pipe)
        reading = asyncio.create_task(self._read_lags(process))
        try:
            yield
        finally:
            process.kill()
            await process.wait()
            await reading

    async def _read_lags(self, process: asyncio.subprocess.Process) -> None:
        assert process.stdout
        async for line in process.stdout:
            self.lags.append(float(line))

    def _pids(self) -> dict[str, int]:
        return self.plane.pids() | ({OPERATOR: self.operator.pid} if self.operator else {})


def cpu_between(before: Reading, after: Reading) -> dict[str, float]:
    """Return the CPU seconds by process."""
    there = before.cpu.keys() & after.cpu.keys()
    return {name: after.cpu[name] - before.cpu[name] for name in sorted(there)}


def requests_between(before: Reading, after: Reading) -> dict[str, int]:
    """Return what the API server has answered, and what the operator says that it has sent; its
    Lease is renewed as time goes by.
    """
    sent = requests.count_sent(after.page)
    sent.subtract(requests.count_sent(before.page))
    answered: Counter[tuple[str, str]] = after.answered - before.answered
    named = {" ".join(key): count for key, count in sorted(answered.items())}
    return named | {
        f"operator: {' '.join(key)}": n
        for key, n in sorted(sent.items())
        if n and key[1] != "leases"
    }


def costs(before: Reading, after: Reading, *, jobs: int) -> dict[str, float]:
    """Return what a job cost."""
    cpu = cpu_between(before, after)
    each = {f"{name}, ms of CPU a job": 1000 * cpu.get(name, 0) / jobs for name in PROCESSES}
    answered: Counter[tuple[str, str]] = after.answered - before.answered
    together = 1000 * sum(cpu.get(name, 0) for name in PROCESSES) / jobs
    return {**each, TOGETHER: together, REQUESTS: answered.total() / jobs}


def shares(before: Reading, after: Reading) -> dict[str, float]:
    """Return the cores that the operator and the API server used on average."""
    cpu, seconds = cpu_between(before, after), after.at - before.at
    return {f"{name}, cores": cpu.get(name, 0) / seconds for name in PROCESSES[:2]}


def queue_age(before: Reading, after: Reading) -> dict[str, float]:
    """Return how long FineTuneJobs waited for a worker, by the operator's histogram."""
    begin, end = _buckets(before.page), _buckets(after.page)
    counts = {limit: count - begin.get(limit, 0) for limit, count in end.items()}
    if not counts or not max(counts.values()):
        return {}
    parts = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    return {f"wait for a worker {name}, s": quantile(counts, q) for name, q in parts.items()}


def quantile(counts: Buckets, share: float) -> float:
    """Return a quantile of cumulative buckets as Prometheus does, by a line within the bucket."""
    rank, low, below = share * max(counts.values()), 0.0, 0.0
    for limit, count in sorted(counts.items()):
        if count >= rank and limit == float("inf"):
            return low
        if count >= rank:
            return low + (limit - low) * (rank - below) / (count - below)
        low, below = limit, count
    return low


def lag(meter: Meter) -> dict[str, float]:
    """Return how late the operator's event loop answered."""
    return quantiles("operator's answer to a probe", meter.lags, unit="ms")


def _buckets(page: str) -> Buckets:
    return {
        float(sample.labels["le"]): sample.value
        for family in text_string_to_metric_families(page)
        if family.name == QUEUE
        for sample in family.samples
        if sample.name.endswith("_bucket")
    }
