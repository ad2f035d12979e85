"""The result of a layout: photos with their class, and files that are left out with the reason."""

import dataclasses
import posixpath
from pathlib import Path
from typing import Literal

from finetune_trainer.dataset.file_types import Unreadable, kind_of
from finetune_trainer.dataset.layouts.tree import Tree
from finetune_trainer.dataset.lock import Fate, LayoutName, SplitName

CLASSES_FILE = "classes.txt"
"""Names of the classes; see layouts.classes."""
BELOW = "in a folder below its class folder"
"""The reason for photos that lie too deep."""


@dataclasses.dataclass(frozen=True, slots=True)
class Photo:
    """A file, or a record, that should be a photo of a class."""

    path: str
    """Relative to the source; a record is FILE#NUMBER."""
    class_name: str
    size: int
    mtime_ns: int
    offset: int | None = None
    """The byte where the record begins, if it is one."""
    group: str = ""
    """The group that the list gives it, see `dataset.split.groupBy`; "" if none."""

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
    """True if a list names the file, but there is no such file."""


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
    passed_over: tuple[str, ...] = ()
    """Lists, folders and archives that are not used, each with the reason."""
    warnings: tuple[str, ...] = ()
    """Warnings about lists and names of folders."""
    read: tuple[str, ...] = ()
    """The lists and record files that were read."""
    hidden: int = 0
    """Number of hidden and system files and folders."""


def is_photo(tree: Tree, path: str) -> bool:
    """Return True for a file that counts as a photo where photos are expected, readable or not."""
    kind = _kind(tree, path)
    return kind == "photo" or (kind is not None and not kind.is_video)


def fate_of(tree: Tree, path: str, reason: str) -> tuple[Fate, str]:
    """Return the fate of a file in a place where photos are not used."""
    kind = _kind(tree, path)
    if kind == "photo":
        return "rejected", reason
    if kind is None:
        return "ignored", "no picture"
    return ("ignored" if kind.is_video else "rejected"), kind.reason


def _kind(tree: Tree, path: str) -> Literal["photo"] | Unreadable | None:
    return kind_of(f"{tree.root}/{path}", posixpath.basename(path))


def accounted(found: Found, tree: Tree, reason: str) -> Found:
    """Return the same with every other file of the source left out: no file is without a fate."""
    known = {left.path for scan in found.splits.values() for left in scan.left_out}
    known |= {photo.file for scan in found.splits.values() for photo in scan.photos}
    rest = tuple(_rest(path, found, tree, reason) for path in tree if path not in known)
    train = found.splits["train"]
    train = dataclasses.replace(train, left_out=train.left_out + rest)
    return dataclasses.replace(found, splits=found.splits | {"train": train}, hidden=tree.hidden)


def _rest(path: str, found: Found, tree: Tree, reason: str) -> LeftOut:
    if path in found.read or path == CLASSES_FILE:
        return LeftOut(path, "read", "it was read for the names and classes of photos")
    return LeftOut(path, *fate_of(tree, path, reason))


def escaped(name: str) -> str:
    """Return a file name with bytes that are not UTF-8 as escapes: JSON cannot hold them."""
    if name.isascii():
        return name  # the same object: names take most of the memory of a large data set
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")
