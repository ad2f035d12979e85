"""The unit tier: no cluster, no network but the loopback device, 10 s for each test."""

from collections.abc import AsyncIterator
from pathlib import Path

import hypothesis
import pytest
from finetune_operator.metrics import Metrics
from finetune_operator.reconcile import Reconciler
from finetune_operator.settings import Settings

from tests.support.api_server import serving
from tests.support.builders import later
from tests.support.scripted_cluster import ScriptedCluster

HERE = Path(__file__).parent
# The machine may be busy with other tiers: how long an example takes says nothing.
hypothesis.settings.register_profile(
    "unit", max_examples=50, deadline=None, database=None, derandomize=True
)
hypothesis.settings.load_profile("unit")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if item.path.is_relative_to(HERE):
            item.add_marker(pytest.mark.timeout(10), append=False)


@pytest.fixture
def cluster() -> ScriptedCluster:
    return ScriptedCluster()


@pytest.fixture
async def reconcile(cluster: ScriptedCluster) -> AsyncIterator[Reconciler]:
    async with serving(cluster.server) as client:
        yield Reconciler(
            client,
            cluster.cache,
            Metrics(cluster.cache),
            Settings(trainer_image="trainer:cpu", trainer_gpu_image="trainer:gpu"),
            clock=lambda: later(cluster.now),
        )
