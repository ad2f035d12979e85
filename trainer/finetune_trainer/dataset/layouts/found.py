"""The result of a layout: photos with their class, and files that are left out with the reason."""

import dataclasses
import os
from pathlib import Path

from finetune_trainer.dataset.lock import Fate, LayoutName, SplitName

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".heic", ".heif", ".avif"),
)
"""Endings of pictures; heic, heif and avif so that they are reported as unreadable, not ignored."""


@dataclasses.dataclass(frozen=True, slots=True)
class Photo:
    """A file, or a record, that should be a photo of a class."""

    path: str
    """Relative to the scanned folder; a record is FILE#NUMBER."""
    class_name: str
    size: int
    mtime_ns: int
    offset: int | None = None
    """The byte where the record begins, if it is one."""

    @property
    def file(self) -> str:
        """The path of the photo's file, or of the record's."""
        return self.path if self.offset is None else self.path.rpartition("#")[0]


@dataclasses.dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is no photo of a class, and the reason."""

    path: str
    fate: Fate
    reason: str
    listed: bool = False
    """True if a list names the file."""


@dataclasses.dataclass(frozen=True)
class Scan:
    """The photos of one split of a source, in an order that depends on names only."""

    root: Path
    photos: tuple[Photo, ...]
    classes: tuple[str, ...]
    """Names of the classes; the index is the label."""
    left_out: tuple[LeftOut, ...] = ()
    empty: tuple[str, ...] = ()
    """Names of class folders without a photo directly in them."""


@dataclasses.dataclass(frozen=True)
class Found:
    """All that a source holds."""

    layout: LayoutName
    splits: dict[SplitName, Scan]
    """The photos of each split; only `train` if the source has no validation split."""
    described: str
    """Human-readable description of the layout, for messages."""


def is_picture(name: str) -> bool:
    """Return True if the name is that of a picture."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def fate_of(name: str, reason: str) -> tuple[Fate, str]:
    """Return the fate of a file in a place where photos are not used."""
    return ("rejected", reason) if is_picture(name) else ("ignored", "not named like a picture")


def printable(name: str) -> str:
    """Return a file name with bytes that are not UTF-8 as escapes: JSON cannot hold them."""
    if name.isascii():
        return name  # the same object: names take most of the memory of a large data set
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def split_of(stem: str) -> SplitName | None:
    """Return the split that a folder or list is named after: train, photos_val, ..."""
    word = stem.lower().rpartition("_")[2].rpartition("-")[2]
    if word in ("train", "training"):
        return "train"
    return "validation" if word in ("val", "valid", "validation", "test") else None
