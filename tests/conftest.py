"""What all tiers need."""

import asyncio
from collections.abc import Iterator

import pytest


@pytest.fixture(autouse=True, scope="session")
def main_loop() -> Iterator[None]:
    """pytest-asyncio asks the main thread for a loop, which would make one that nobody closes."""
    loop = asyncio.new_event_loop()
    asyncio.set_event_loop(loop)
    yield
    loop.close()
