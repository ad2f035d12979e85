"""Fixtures for the tests of networks that users bring."""

from pathlib import Path

import pytest


@pytest.fixture
def claim(tmp_path: Path) -> Path:
    """The folder of a volume claim that a model.source names."""
    folder = tmp_path / "claims" / "networks" / "imagenet"
    folder.mkdir(parents=True)
    return folder
