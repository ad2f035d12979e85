"""A second operator that hears of nothing new, and writes late, does no harm to what the first one
has done.
"""

import asyncio
import json
import os
import subprocess
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from itertools import pairwise
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.faults.cluster import Cluster, Namespace, Object
from tests.faults.kubelet import Kubelet, Trains
from tests.faults.operators import Operator
from tests.faults.proxy import Proxy
from tests.faults.scenarios import SCENARIOS, apply, end_of
from tests.faults.trouble import Stale, Trouble

pytestmark = pytest.mark.timeout(120)
LATE_SECONDS = 2
# The old cache has no attempt, one that waits for a node, one that runs, one that has ended.
MOMENTS: dict[str, Callable[[Namespace], object]] = {
    "applied": lambda namespace: namespace.applied,
    "created": lambda namespace: namespace.objects["jobs"],
    "running": lambda namespace: any(p["status"].get("phase") == "Running" for p in namespace.pods),
    "second": lambda namespace: len(namespace.objects["jobs"]) > 1,
}


async def test_stale_second_operator_takes_nothing_back(
    plane: ControlPlane,
    operator_token: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    async with Cluster(plane) as cluster:
        runs = [Run(plane, cluster, operator_token, tmp_path / moment) for moment in MOMENTS]
        proxies = await asyncio.gather(*(run.play(MOMENTS[run.moment]) for run in runs))
    late = sum(proxy.conflicts for proxy in proxies)
    assert late, "nothing that a stale operator wrote came too late"
    with capsys.disabled():
        writes = sum(call.method != "GET" for proxy in proxies for call in proxy.calls)
        print(f"\n{writes} writes of {len(runs)} stale operators, {late} of them refused as late")


class Run:
    """One FineTuneJob, with two operators."""

    def __init__(self, plane: ControlPlane, cluster: Cluster, token: str, directory: Path) -> None:
        self.moment = directory.name
        self._plane = plane
        self._cluster = cluster
        self._token = token
        self._directory = directory

    async def play(self, is_moment: Callable[[Namespace], object]) -> Proxy:
        """Start the second operator at the moment, let the job end, and check all it has said."""
        scenario = SCENARIOS["retries"]
        attempts = tuple(Trains(code=each.code, seconds=3) for each in scenario.attempts)
        namespace = await self._cluster.add_namespace(f"stale-{self.moment}")
        kubelet = asyncio.create_task(Kubelet(namespace, attempts).run())
        with statuses_of(self._plane, namespace) as statuses:
            async with self._operator("first", namespace, Trouble()):
                await apply(namespace, scenario)
                await namespace.until(self.moment, lambda: is_moment(namespace))
                late = Stale(late_seconds=LATE_SECONDS)
                async with self._operator("stale", namespace, late) as stale:
                    end = scenario.end
                    await namespace.until("the end", lambda: end_of(namespace) == end, seconds=60)
                    await asyncio.sleep(3 * LATE_SECONDS)  # what is on its way arrives
                    assert end_of(namespace) == end
            assert_monotone(statuses())
        kubelet.cancel()
        assert not namespace.violations
        return stale

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
                sweep_seconds=1,  # it looks at the job each second, whatever it hears
            )
            operator.start()
            try:
                yield proxy
                assert operator.is_alive(), operator.log()
            finally:
                operator.kill()


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
        told = before.get("history", [])
        assert after.get("history", [])[: len(told)] == told, f"the history changed {change}"
        if before.get("phase") in ("Complete", "Failed"):
            assert after == before, f"an ended job changed {change}"
