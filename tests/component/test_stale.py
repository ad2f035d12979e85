"""A second operator with an old cache, whose writes come late, takes nothing back of what the
first one has done.
"""

import asyncio
import json
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.support.faults.kubelet import Kubelet, Trains
from tests.support.faults.operators import Operator
from tests.support.faults.proxy import Proxy
from tests.support.faults.scenarios import SCENARIOS, apply, end_of
from tests.support.faults.trouble import Stale, Trouble
from tests.support.faults.watched_cluster import Namespace, Object, WatchedCluster

pytestmark = [pytest.mark.slow, pytest.mark.timeout(120)]
SCENARIO = SCENARIOS["retries"]
ATTEMPTS = tuple(Trains(code=each.code, seconds=3) for each in SCENARIO.attempts)
View = Literal["empty", "waiting", "running"]
VIEWS: tuple[View, ...] = ("empty", "waiting", "running")


async def test_stale_second_operator_takes_nothing_back(
    plane: ControlPlane, operator_token: str, tmp_path: Path
) -> None:
    async with WatchedCluster(plane) as cluster:
        runs = [Run(plane, cluster, operator_token, tmp_path / view) for view in VIEWS]
        stale = await asyncio.gather(*map(Run.play, runs, VIEWS))
    # It believed that the first attempt's pod waited, and said so when that had ended.
    assert stale[VIEWS.index("waiting")].conflicts


class Run:
    """One FineTuneJob, with two operators."""

    def __init__(
        self, plane: ControlPlane, cluster: WatchedCluster, token: str, directory: Path
    ) -> None:
        self._plane = plane
        self._cluster = cluster
        self._token = token
        self._directory = directory

    async def play(self, view: View) -> Proxy:
        """Let the second operator know no more of the first attempt than this; let through what
        it writes when that has ended; return its proxy.
        """
        namespace = await self._cluster.add_namespace(f"stale-{view}")
        kubelet = Kubelet(namespace, ATTEMPTS).run()
        stale = Stale(asyncio.Event())
        second = self._operator("second", namespace, stale)
        async with AsyncExitStack() as stack:
            statuses = stack.enter_context(statuses_of(self._plane, namespace))
            await stack.enter_async_context(self._operator("first", namespace, Trouble()))
            if view == "empty":
                proxy = await stack.enter_async_context(second)
                await _holds(stale)
            await apply(namespace, SCENARIO)
            if view == "waiting":
                await namespace.until("a pod", lambda: namespace.pods)
                proxy = await stack.enter_async_context(second)
                await _holds(stale)
            playing = asyncio.create_task(kubelet)
            if view == "running":
                await namespace.until("a running pod", lambda: _is_running(namespace))
                proxy = await stack.enter_async_context(second)
            await namespace.until("an end", lambda: namespace.last_status.get("history"))
            stale.gate.set()
            end = SCENARIO.end
            await namespace.until("the end", lambda: end_of(namespace) == end, seconds=60)
            await asyncio.sleep(3)  # the second operator looks at the job each second
            assert end_of(namespace) == end
            assert_monotone(statuses())
        playing.cancel()
        assert not namespace.violations
        return proxy

    @asynccontextmanager
    async def _operator(
        self, name: str, namespace: Namespace, trouble: Trouble
    ) -> AsyncIterator[Proxy]:
        authority = self._plane.certificate_authority
        async with Proxy(
            self._plane.url, certificate_authority=authority, trouble=trouble
        ) as proxy:
            operator = Operator(
                self._directory / name,
                url=proxy.url,
                token=self._token,
                namespaces=namespace.name,
                resync_seconds=1,
            )
            operator.start()
            try:
                yield proxy
                assert operator.is_alive(), operator.log()
            finally:
                operator.kill()


async def _holds(stale: Stale) -> None:
    async with asyncio.timeout(20):
        while not stale.holds:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


def _is_running(namespace: Namespace) -> bool:
    return any(pod["status"].get("phase") == "Running" for pod in namespace.pods)


@contextmanager
def statuses_of(plane: ControlPlane, namespace: Namespace) -> Iterator[Callable[[], list[Object]]]:
    """Record each status that the FineTuneJob has."""
    command = ["kubectl", "get", "finetunejobs", "--watch", "--output=json", "--namespace"]
    environment = os.environ | {"KUBECONFIG": str(plane.kubeconfig)}
    with tempfile.NamedTemporaryFile() as file:
        watch = subprocess.Popen([*command, namespace.name], stdout=file, env=environment)
        try:
            yield lambda: [body.get("status", {}) for body in _objects_in(Path(file.name))]
        finally:
            watch.kill()
            watch.wait()


def _objects_in(path: Path) -> Iterator[Object]:
    text, decoder = path.read_text(), json.JSONDecoder()
    while text := text.strip():
        body, end = decoder.raw_decode(text)
        yield body
        text = text[end:]


def assert_monotone(statuses: list[Object]) -> None:
    """Check that nothing which is written once is ever taken back."""
    assert len(statuses) > 5, "the watch missed the run"
    for before, after in pairwise(statuses):
        change = f"from {json.dumps(before)} to {json.dumps(after)}"
        for count in ("attempts", "failures", "disruptions", "observedGeneration"):
            assert after.get(count, 0) >= before.get(count, 0), f"{count} went back {change}"
        recorded = before.get("history", [])
        assert after.get("history", [])[: len(recorded)] == recorded, (
            f"the history changed {change}"
        )
        assert before.get("phase") not in ("Complete", "Failed"), f"an ended job changed {change}"
