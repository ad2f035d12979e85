"""Finds the photos below class folders and names everything that it leaves out; opens no file."""

import dataclasses
import os
import stat
from collections.abc import Iterator
from pathlib import Path

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.lock import Fate

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".heic", ".heif", ".avif"),
)
"""Names of pictures; heic, heif and avif so that they are named as unreadable, not passed over."""
SYSTEM_FOLDERS = frozenset({"lost+found", "__MACOSX", "@eaDir"})
"""Folders that file systems, macOS and storage boxes add; hidden ones are passed over too."""


@dataclasses.dataclass(frozen=True, slots=True)
class Photo:
    """A file that ought to be a photo of a class."""

    path: str
    """CLASS/NAME, relative to the scanned folder."""
    size: int
    mtime_ns: int

    @property
    def class_name(self) -> str:
        """The folder it lies in."""
        return self.path.partition("/")[0]


@dataclasses.dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is no photo of a class, and why."""

    path: str
    fate: Fate
    reason: str


@dataclasses.dataclass(frozen=True)
class Scan:
    """What one folder of class folders holds, in an order that only depends on names."""

    root: Path
    photos: tuple[Photo, ...]
    left_out: tuple[LeftOut, ...]
    empty: tuple[str, ...]
    """Class folders without a photo of their own."""

    @property
    def classes(self) -> tuple[str, ...]:
        """The class folders with photos, by code point: the label is the index."""
        return tuple(dict.fromkeys(photo.class_name for photo in self.photos))


def scan(root: Path) -> Scan:
    """List the photos of each class folder; folders further below are named, never a class."""
    photos: list[Photo] = []
    left_out: list[LeftOut] = []
    empty = []
    for entry in _entries(root):
        if not entry.is_dir():
            left_out.append(_stray(entry, entry.name, "not in a class folder"))
            continue
        before = len(photos)
        for found in _class_folder(entry):
            (photos if isinstance(found, Photo) else left_out).append(found)  # type: ignore[arg-type]
        if len(photos) == before:
            empty.append(entry.name)
    return Scan(root, tuple(photos), tuple(left_out), tuple(empty))


def _class_folder(folder: os.DirEntry[str]) -> Iterator[Photo | LeftOut]:
    if not folder.name.isprintable():
        raise TrainerError(
            ExitCode.InvalidData,
            f"The class folder {folder.name!r} has a name that cannot be printed",
            "Rename it: the name becomes the class's.",
        )
    for entry in _entries(folder.path):
        path = f"{folder.name}/{entry.name}"
        if entry.is_dir():
            yield from _nested(entry, path)
        elif _is_picture(entry.name) and (state := _regular_file(entry)):
            yield Photo(path, state.st_size, state.st_mtime_ns)
        else:
            yield _stray(entry, path, "neither a file nor a link to one")


def _nested(folder: os.DirEntry[str], path: str) -> Iterator[LeftOut]:
    for directory, folders, names in os.walk(folder.path):
        folders[:] = sorted(name for name in folders if not _is_passed_over(name))
        below = os.path.relpath(directory, folder.path)
        for name in sorted(names):
            nested = os.path.normpath(f"{path}/{below}/{name}")
            reason = "in a folder below its class folder"
            yield LeftOut(printable(nested), *_fate_of(name, reason))


def _stray(entry: os.DirEntry[str], path: str, reason: str) -> LeftOut:
    return LeftOut(printable(path), *_fate_of(entry.name, reason))


def _fate_of(name: str, reason: str) -> tuple[Fate, str]:
    return ("rejected", reason) if _is_picture(name) else ("ignored", "not named like a picture")


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        kept = [entry for entry in entries if not _is_passed_over(entry.name)]
    return sorted(kept, key=lambda entry: entry.name)


def _is_passed_over(name: str) -> bool:
    return name.startswith(".") or name in SYSTEM_FOLDERS


def _is_picture(name: str) -> bool:
    return os.path.splitext(name)[1].lower() in SUFFIXES


def _regular_file(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        state = entry.stat()
    except FileNotFoundError:  # a link to nowhere
        return None
    return state if stat.S_ISREG(state.st_mode) else None


def printable(name: str) -> str:
    """Return a file name with bytes that are not UTF-8 as escapes: JSON cannot hold them."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
