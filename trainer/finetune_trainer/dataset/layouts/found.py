"""What a layout finds in a source: photos with their class, and what it leaves out and why."""

import dataclasses
import os
from pathlib import Path

from finetune_trainer.dataset.lock import Fate, LayoutName, SplitName

SUFFIXES = (
    *(".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".gif", ".webp", ".bmp", ".tif", ".tiff"),
    *(".ppm", ".pgm", ".heic", ".heif", ".avif"),
)
"""Names of pictures; heic, heif and avif so that they are named as unreadable, not passed over."""


@dataclasses.dataclass(frozen=True, slots=True)
class Photo:
    """A file that ought to be a photo of a class, or a record that holds one."""

    path: str
    """Relative to the scanned folder; a record is FILE#NUMBER."""
    class_name: str
    size: int
    mtime_ns: int
    offset: int | None = None
    """Where a record begins in its file."""

    @property
    def file(self) -> str:
        """The file that holds it."""
        return self.path if self.offset is None else self.path.rpartition("#")[0]


@dataclasses.dataclass(frozen=True, slots=True)
class LeftOut:
    """A file that is no photo of a class, and why."""

    path: str
    fate: Fate
    reason: str
    listed: bool = False
    """A list names it: it ought to be a photo."""


@dataclasses.dataclass(frozen=True)
class Scan:
    """The photos of one split of a source, in an order that depends on names only."""

    root: Path
    photos: tuple[Photo, ...]
    classes: tuple[str, ...]
    """The label is the index."""
    left_out: tuple[LeftOut, ...] = ()
    empty: tuple[str, ...] = ()
    """Class folders without a photo of their own."""


@dataclasses.dataclass(frozen=True)
class Found:
    """What a source holds."""

    layout: LayoutName
    splits: dict[SplitName, Scan]
    """Only `train` if the layout has no splits of its own."""
    described: str
    """What it was taken for, for people."""


def is_picture(name: str) -> bool:
    """Tell by the name whether a file ought to be a picture."""
    return os.path.splitext(name)[1].lower() in SUFFIXES


def fate_of(name: str, reason: str) -> tuple[Fate, str]:
    """Return what becomes of a file in a place where photos are not used."""
    return ("rejected", reason) if is_picture(name) else ("ignored", "not named like a picture")


def printable(name: str) -> str:
    """Return a file name with bytes that are not UTF-8 as escapes: JSON cannot hold them."""
    if name.isascii():
        return name  # the same object: names are most of what a large data set needs of memory
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def split_of(stem: str) -> SplitName | None:
    """Return the split that a folder or list is named after: train, photos_val, ..."""
    word = stem.lower().rpartition("_")[2].rpartition("-")[2]
    if word in ("train", "training"):
        return "train"
    return "validation" if word in ("val", "valid", "validation", "test") else None
