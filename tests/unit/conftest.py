"""The unit tier: no cluster, no network but the loopback device, 10 s for each test."""

from pathlib import Path

import hypothesis
import pytest

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
