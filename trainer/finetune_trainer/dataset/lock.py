"""dataset.lock.json: every file of a data set, what became of it, and why.

Its sha256 is the digest of the data set. It depends on names, contents and settings only, never
on times, machines or the order in which files were read.
"""

import hashlib
from collections import Counter
from pathlib import Path
from typing import Literal

import msgspec

from finetune_trainer.contract import DatasetStatus, Struct

LOCK = "dataset.lock.json"
FORMAT = 1
"""Raise it when the same photos and settings would be packed in another way."""

Fate = Literal["packed", "rejected", "ignored"]
"""rejected: looks like a photo and is not used; ignored: does not look like one."""
Part = Literal["train", "validation"]


class Settings(Struct, frozen=True):
    """Everything but the files that decides what is packed."""

    format: int
    """How photos are packed; see FORMAT."""
    resize_short: int
    jpeg_quality: int
    seed: int
    train_per_class: int | None = None
    train_fraction: str | None = None
    validation_source: bool = False


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
    size: int = 0
    label: int | None = None
    split: Part | None = None


class Lock(Struct, frozen=True):
    """The data set."""

    settings: Settings
    classes: tuple[str, ...]
    warnings: tuple[str, ...]
    files: tuple[File, ...]

    def encode(self) -> bytes:
        """Return the file's content, one line a file so that two can be compared."""
        head = msgspec.structs.replace(self, files=())
        lines = [msgspec.json.encode(file) for file in self.files]
        start = msgspec.json.encode(head).removesuffix(b"[]}")
        return start + b"[\n" + b",\n".join(lines) + b"\n]}\n"

    def digest(self) -> str:
        """Return the sha256 of the encoded file."""
        return hashlib.sha256(self.encode()).hexdigest()

    def status(self) -> DatasetStatus:
        """Return the counts for the job's status."""
        splits = Counter(file.split for file in self.files)
        return DatasetStatus(
            classes=len(self.classes),
            train_images=splits["train"],
            validation_images=splits["validation"],
            rejected_images=len(self.rejected()),
            digest=self.digest(),
        )

    def rejected(self) -> list[File]:
        """Return the files that look like photos and are not used."""
        return [file for file in self.files if file.fate == "rejected"]

    def unreadable(self) -> list[File]:
        """Return the rejected files that lie in the right place: they have a label."""
        return [file for file in self.rejected() if file.label is not None]


def read_lock(directory: Path) -> Lock:
    """Read the lock of a packed data set."""
    return msgspec.json.decode((directory / LOCK).read_bytes(), type=Lock)
