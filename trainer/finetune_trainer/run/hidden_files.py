"""Names in users' folders and archives that are not the users': hidden ones, and systems' own."""

from collections.abc import Iterator
from pathlib import Path

SYSTEM_FOLDERS = frozenset({"lost+found", "__MACOSX", "@eaDir"})
"""Folders that file systems, macOS and storage boxes add."""


def is_skipped(name: str) -> bool:
    """Return True for names of hidden files and of folders that systems add: no photo of a user."""
    return name.startswith(".") or name in SYSTEM_FOLDERS


def visible(folder: Path) -> Iterator[Path]:
    """Yield what a folder holds, but for hidden files, such as macOS's ._NAME beside each."""
    return (path for path in folder.iterdir() if not path.name.startswith("."))
