"""What all tiers need."""

import asyncio
import os
from collections.abc import Iterator

import pytest

from tests.cluster import programs


def pytest_configure() -> None:
    """Find the kubectl and helm that were built, whatever the machine has."""
    built = (str(program.directory) for program in programs.ALL)
    os.environ["PATH"] = os.pathsep.join([*built, os.environ["PATH"]])


@pytest.fixture(autouse=True, scope="session")
def main_loop() -> Iterator[None]:
    """pytest-asyncio asks the main thread for a loop, which would make one that nobody closes."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()
