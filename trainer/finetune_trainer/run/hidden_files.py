"""Names of hidden and system files, which are not photos, in users' folders and archives."""

from collections.abc import Iterator
from pathlib import Path

SYSTEM_FOLDERS = frozenset({"lost+found", "__MACOSX", "@eaDir"})
"""Folders that file systems, macOS and network storage devices add."""


def is_skipped(name: str) -> bool:
    """Return True for names of hidden files and of folders that systems add: no photo of a user."""
    return name.startswith(".") or name in SYSTEM_FOLDERS


def visible(folder: Path) -> Iterator[Path]:
    """Yield the entries of a folder that are not hidden, as macOS's ._NAME for each file is."""
    return (path for path in folder.iterdir() if not path.name.startswith("."))
