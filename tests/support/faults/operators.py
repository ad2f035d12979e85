"""Operator processes that start fast: forks of one that has imported everything.

operator = Operator(directory, url=..., token=..., namespaces="a,b")
operator.start() ... operator.kill() ... operator.start()
"""

import itertools
import json
import multiprocessing
import os
import random
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import NamedTuple, Self

import aiohttp
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.credentials import kubeconfig
from tests.support import leases

# pytest: multiprocessing imports the parent's main module into each child.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload(["pytest", "finetune_operator.__main__"])
# Below the ports that the kernel gives to connections.
PORTS = itertools.count(random.randint(10_000, 30_000))
TIMES = {
    "FINETUNE_OPERATOR_TRAINER_IMAGE": "example.test/trainer:cpu",
    "FINETUNE_OPERATOR_PROGRESS_INTERVAL_SECONDS": "2",
    "FINETUNE_OPERATOR_STUCK_AFTER_SECONDS": "1",
    "FINETUNE_OPERATOR_BACKOFF_SECONDS": "0.5",
    "FINETUNE_OPERATOR_NODE_LOST_SECONDS": "2",
}


COUNTERS_OF_JOBS = ("finetune_jobs_completed_total", "finetune_jobs_failed_total")


class Counted(NamedTuple):
    """The transitions in an operator's counters: ended attempts and ended jobs."""

    attempts: int = 0
    jobs: int = 0

    def plus(self, other: Self) -> Self:
        """Return the sum."""
        return type(self)(self.attempts + other.attempts, self.jobs + other.jobs)


class Operator:
    """The operator as a process of its own, with short times."""

    def __init__(
        self, directory: Path, *, url: str, token: str, namespaces: str, resync_seconds: float
    ) -> None:
        directory.mkdir(parents=True)
        self._log = directory / "log"
        config = directory / "kubeconfig"
        config.write_text(json.dumps(kubeconfig(url, token)))
        self._environment = TIMES | {
            "KUBECONFIG": str(config),
            "FINETUNE_OPERATOR_NAMESPACES": namespaces,
            "FINETUNE_OPERATOR_SWEEP_INTERVAL_SECONDS": str(resync_seconds),
            "FINETUNE_OPERATOR_PORT": str(next(PORTS)),
        }
        self._process: ForkServerProcess | None = None

    def start(self) -> None:
        """Start it; it is ready some tenths of a second later."""
        environment = self._environment | leases.settings_of_a_new_lease()
        arguments = (environment, str(self._log))
        self._process = FORKS.Process(target=_operate, args=arguments, daemon=True)
        self._process.start()

    def kill(self) -> None:
        """End it without any warning."""
        assert self._process is not None
        self._process.kill()
        self._process.join()

    async def counted(self) -> Counted:
        """Return what this process has counted; nothing while it does not serve it yet."""
        url = f"http://127.0.0.1:{self._environment['FINETUNE_OPERATOR_PORT']}/metrics"
        try:
            async with aiohttp.ClientSession() as session, session.get(url) as response:
                page = await response.text()
        except aiohttp.ClientError:
            return Counted()
        samples = [
            sample for family in text_string_to_metric_families(page) for sample in family.samples
        ]
        return Counted(
            attempts=sum(int(s.value) for s in samples if s.name == "finetune_attempts_total"),
            jobs=sum(int(s.value) for s in samples if s.name in COUNTERS_OF_JOBS),
        )

    def is_alive(self) -> bool:
        """Whether it has not ended by itself."""
        return self._process is not None and self._process.is_alive()

    def log(self) -> str:
        """Everything it has written."""
        return self._log.read_text(errors="replace") if self._log.exists() else ""


def _operate(environment: dict[str, str], log: str) -> None:
    from finetune_operator.__main__ import main
    from kubernetes.aio.config import kube_config

    os.environ.update(environment)
    kube_config.KUBE_CONFIG_DEFAULT_LOCATION = environment["KUBECONFIG"]  # it is read at import
    with open(log, "ab") as file:
        os.dup2(file.fileno(), 1)
        os.dup2(file.fileno(), 2)
    main()
