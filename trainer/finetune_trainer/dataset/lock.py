"""dataset.lock.json: every file of a data set, its fate, and the reason.

The sha256 of dataset.lock.json is the digest of the data set. It depends on names, contents and
settings only, never on times, machines or the order in which files were read.
"""

import contextlib
import dataclasses
import hashlib
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import msgspec

from finetune_trainer.contract import DatasetStatus, Framing, GroupBy, Struct

LOCK = "dataset.lock.json"
FORMAT = 6
"""The version of the packing: raise it when the same photos would be packed in another way."""

NOTES = ", "
"""The characters between the notes of a file."""
MOST_PAIRS = 1000
_FILES = b',"files":[\n'
"""The bytes between the header and the files, which have a line each."""

LISTED_TWICE = "a list names it in several classes"
"""The reason for a photo that has no certain label."""
Fate = Literal["packed", "rejected", "ignored", "read"]
"""rejected: looks like a photo and is not used; ignored: does not look like one; read: a list that
was used, or the index of a record file."""
SplitName = Literal["train", "validation"]
LayoutName = Literal["Folder", "Split", "Csv", "Lst", "RecordIO"]


class Settings(Struct, frozen=True):
    """All that decides how photos are packed, besides the photos themselves."""

    format: int
    """The version of the packing; see FORMAT."""
    layout: LayoutName
    framing: Framing
    resize_short: int
    jpeg_quality: int
    seed: int
    train_per_class: int | None = None
    train_fraction: str | None = None
    group_by: GroupBy | None = None
    near_duplicates: Literal["Together", "Split"] = "Together"
    validation_given: bool = False
    """True if dataset.validationSource or the layout gives the validation split."""
    exact: bool = False
    """True if the pixels are those of im2rec.py; see dataset/exact.py."""


class File(Struct, frozen=True):
    """One file of the source."""

    path: str
    fate: Fate
    source: SplitName = "train"
    """The split that the file was found in, before one is split off."""
    reason: str = ""
    """The reason why the file is rejected or ignored."""
    listed: bool = False
    """True if a list names the file, but there is no such file (so it has no label)."""
    note: str = ""
    """A change that a user might not expect, such as `turned upright`."""
    sha256: str = ""
    same_as: str = ""
    """The first file with the same picture, byte for byte or after decoding."""
    size: int = 0
    label: int | None = None
    split: SplitName | None = None

    @property
    def is_unreadable(self) -> bool:
        """True for a rejected file that should be a photo by its place, or by a list."""
        is_expected = self.label is not None or self.listed
        return self.fate == "rejected" and is_expected and not self.same_as


class Pair(Struct, frozen=True):
    """Two photos that look alike, but are not the same."""

    one: str
    other: str
    bits: int
    """Bits that differ between their perceptual hashes of 128 bits."""


class LockHeader(Struct, frozen=True, kw_only=True):
    """The lock without its files, of which there may be millions."""

    settings: Settings
    described: str = ""
    """The layout with the lists and columns that were used."""
    passed_over: tuple[str, ...] = ()
    """Lists and folders that are not used, each with the reason."""
    classes: tuple[str, ...]
    warnings: tuple[str, ...]
    near_duplicates: tuple[Pair, ...]
    """The first MOST_PAIRS pairs; `near_duplicate_count` counts all of them."""
    near_duplicate_count: int


class Lock(LockHeader, frozen=True, kw_only=True):
    """The whole lock, for tools that need every file at once."""

    files: tuple[File, ...]

    def rejected(self) -> list[File]:
        """Return the files that look like photos and are not used."""
        return [file for file in self.files if file.fate == "rejected"]


def _lines(header: LockHeader, files: Iterable[File]) -> Iterator[bytes]:
    """Yield one line for each file, so that `diff` can compare two locks."""
    yield msgspec.json.encode(header).removesuffix(b"}") + _FILES
    for number, file in enumerate(files):
        yield (b",\n" if number else b"") + msgspec.json.encode(file)
    yield b"\n]}\n"


def write_lock(directory: Path, header: LockHeader, files: Iterable[File]) -> str:
    """Write the lock file by file, never the whole of it in memory; return its digest."""
    digest = hashlib.sha256()
    with open(directory / LOCK, "wb") as written:
        for line in _lines(header, files):
            digest.update(line)
            written.write(line)
    return digest.hexdigest()


def read_lock(directory: Path) -> Lock:
    """Read the whole lock of a packed data set."""
    return msgspec.json.decode((directory / LOCK).read_bytes(), type=Lock)


@contextlib.contextmanager
def open_lock(directory: Path) -> Iterator[tuple[LockHeader, Iterator[File]]]:
    """Give the header of a packed data set's lock, and its files one by one."""
    decode = msgspec.json.Decoder(File).decode
    with open(directory / LOCK, "rb") as lines:
        header = msgspec.json.decode(next(lines).removesuffix(_FILES) + b"}", type=LockHeader)
        yield header, (decode(line.rstrip(b",\n")) for line in lines if line.startswith(b"{"))


@dataclasses.dataclass
class Tally:
    """Counts of a data set's files."""

    photos: int = 0
    """Files in places where photos belong, whatever their fate."""
    copies: int = 0
    splits: Counter[tuple[int | None, SplitName | None]] = dataclasses.field(
        default_factory=Counter
    )
    """Files by label and split."""
    readable: Counter[int | None] = dataclasses.field(default_factory=Counter)
    """Packed photos of dataset.source by label: those that can be split."""
    rejected: list[File] = dataclasses.field(default_factory=list)
    """Rejected files, in the order of the lock."""
    others: Counter[tuple[Fate, str]] = dataclasses.field(default_factory=Counter)
    """Files that are no photos, by fate and reason."""
    notes: Counter[str] = dataclasses.field(default_factory=Counter)
    """Packed photos by note."""
    noted: dict[str, str] = dataclasses.field(default_factory=dict)
    """The first photo of each note."""
    listed_twice: int = 0
    """Photos that a list names in several classes."""
    missing: int = 0
    """Photos that a list names and that are not there."""

    @classmethod
    def of(cls, files: Iterable[File]) -> "Tally":
        """Count files."""
        tally = cls()
        for file in files:
            tally.photos += file.label is not None or file.listed
            tally.copies += bool(file.same_as)
            tally.splits[file.label, file.split] += 1
            tally.missing += file.listed
            tally.listed_twice += file.reason == LISTED_TWICE
            for note in filter(None, file.note.split(NOTES)):
                tally.notes[note] += 1
                tally.noted.setdefault(note, file.path)
            if file.fate == "rejected":
                tally.rejected.append(file)
            elif file.fate == "packed" and file.source == "train":
                tally.readable[file.label] += 1
            elif file.fate in ("ignored", "read"):
                tally.others[file.fate, file.reason] += 1
        return tally

    def images(self, split: SplitName) -> int:
        """Return the number of images in a split."""
        return sum(count for (_, name), count in self.splits.items() if name == split)

    def unreadable(self) -> list[File]:
        """Return the rejected files that should be photos by their place, or by a list."""
        return [file for file in self.rejected if file.is_unreadable]

    def conflicts(self) -> list[File]:
        """Return the rejected files whose picture is in two classes."""
        return [file for file in self.rejected if file.same_as]

    @property
    def files(self) -> int:
        """Number of files in the sources, or of their records: each has one fate."""
        images = self.images("train") + self.images("validation")
        return images + len(self.rejected) - self.missing + self.others.total()

    def status(self, header: LockHeader, digest: str) -> DatasetStatus:
        """Return the counts for the job's status."""
        return DatasetStatus(
            classes=len(header.classes),
            train_images=self.images("train"),
            validation_images=self.images("validation"),
            rejected_images=len(self.rejected),
            other_files=self.others.total(),
            missing_images=self.missing,
            duplicate_images=self.copies,
            near_duplicates=header.near_duplicate_count,
            label_conflicts=len(self.conflicts()) + self.listed_twice,
            digest=digest,
        )
