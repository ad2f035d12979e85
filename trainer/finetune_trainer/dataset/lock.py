"""dataset.lock.json: every file of a data set, what became of it, and why.

Its sha256 is the digest of the data set. It depends on names, contents and settings only, never
on times, machines or the order in which files were read.
"""

import hashlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import msgspec

from finetune_trainer.contract import DatasetStatus, Struct

LOCK = "dataset.lock.json"
FORMAT = 2
"""Raise it when the same photos and settings would be packed in another way."""

MOST_PAIRS = 1000

Fate = Literal["packed", "rejected", "ignored"]
"""rejected: looks like a photo and is not used; ignored: does not look like one."""
Part = Literal["train", "validation"]
Layout = Literal["Folder", "Split", "Csv", "Lst", "RecordIO"]


class Settings(Struct, frozen=True):
    """Everything but the files that decides what is packed."""

    format: int
    """How photos are packed; see FORMAT."""
    layout: Layout
    resize_short: int
    jpeg_quality: int
    seed: int
    train_per_class: int | None = None
    train_fraction: str | None = None
    validation_given: bool = False
    """By dataset.validationSource, or by the layout."""
    exact: bool = False
    """With the pixels of im2rec.py."""


class File(Struct, frozen=True):
    """One file of the source."""

    path: str
    fate: Fate
    source: Part = "train"
    """Which source it comes from: dataset.source or dataset.validationSource."""
    reason: str = ""
    """Why it is rejected or ignored."""
    note: str = ""
    """What was done to it that one might not expect."""
    sha256: str = ""
    same_as: str = ""
    """The first file with the same picture, byte for byte or after decoding."""
    size: int = 0
    label: int | None = None
    split: Part | None = None


class Pair(Struct, frozen=True):
    """Two photos that look alike, but are not the same."""

    one: str
    other: str
    bits: int
    """How many of the 128 bits of their looks differ."""


class Lock(Struct, frozen=True):
    """The data set."""

    settings: Settings
    classes: tuple[str, ...]
    warnings: tuple[str, ...]
    near_duplicates: tuple[Pair, ...]
    """The first MOST_PAIRS of them."""
    near_duplicate_count: int
    files: tuple[File, ...]

    def lines(self) -> Iterator[bytes]:
        """Yield the file's content, one line a file so that two can be compared."""
        head = msgspec.structs.replace(self, files=())
        yield msgspec.json.encode(head).removesuffix(b"[]}") + b"[\n"
        for number, file in enumerate(self.files):
            yield (b",\n" if number else b"") + msgspec.json.encode(file)
        yield b"\n]}\n"

    def digest(self) -> str:
        """Return the sha256 of the file."""
        digest = hashlib.sha256()
        for line in self.lines():
            digest.update(line)
        return digest.hexdigest()

    def status(self, digest: str) -> DatasetStatus:
        """Return the counts for the job's status."""
        splits = Counter(file.split for file in self.files)
        return DatasetStatus(
            classes=len(self.classes),
            train_images=splits["train"],
            validation_images=splits["validation"],
            rejected_images=len(self.rejected()),
            duplicate_images=sum(1 for file in self.files if file.same_as),
            near_duplicates=self.near_duplicate_count,
            label_conflicts=len(self.conflicts()),
            digest=digest,
        )

    def rejected(self) -> list[File]:
        """Return the files that look like photos and are not used."""
        return [file for file in self.files if file.fate == "rejected"]

    def unreadable(self) -> list[File]:
        """Return the rejected files that lie in the right place but are no pictures."""
        return [file for file in self.rejected() if file.label is not None and not file.same_as]

    def conflicts(self) -> list[File]:
        """Return the files whose picture is in two classes."""
        return [file for file in self.rejected() if file.same_as]


def read_lock(directory: Path) -> Lock:
    """Read the lock of a packed data set."""
    return msgspec.json.decode((directory / LOCK).read_bytes(), type=Lock)
