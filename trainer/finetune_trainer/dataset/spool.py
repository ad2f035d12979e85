"""Holds the encoded photos on disk until all are decoded: only then can they be split and packed.

Each decoding process has files of its own, so that no photo goes through a pipe: one of photos, one
of their miniatures. A photo takes about 100 bytes of memory.
"""

import os
import shutil
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

import numpy as np

from finetune_trainer.dataset.duplicates import SIDE, Array
from finetune_trainer.dataset.photo import Encoded
from finetune_trainer.dataset.recordio import BUFFER_BYTES

_ROW = struct.Struct("<32s16sIQII")
"""The sha256 of a photo's file, the digest of its encoded picture, and its place: the process that
wrote it (the name of its file), offset and length. The last number is that of its miniature in the
process's other file, counted from 1; 0 if it has none."""
_SHA256, _CONTENT = slice(0, 32), slice(32, 48)
_PLACE, _PLACED = struct.Struct("<IQI"), 48
_FIELDS = np.dtype([("digests", "V48"), ("writer", "<u4"), ("place", "V12"), ("miniature", "<u4")])


class Spooled(NamedTuple):
    """The results for a few photos, and their places in the spool."""

    rows: bytes
    reasons: dict[int, str]
    """Reasons why photos cannot be used, by their position among these photos."""
    notes: dict[int, str]


def write_photos(directory: Path, photos: Iterable[Encoded]) -> Spooled:
    """Append photos to this process's file in the spool."""
    writer, rows = os.getpid(), bytearray()
    reasons, notes = {}, {}
    with (
        open(directory / str(writer), "ab", buffering=BUFFER_BYTES) as file,
        open(_miniatures(directory, writer), "ab") as miniatures,
    ):
        end, count = file.tell(), miniatures.tell() // SIDE**2
        for place, photo in enumerate(photos):
            if photo.reason:
                reasons[place] = photo.reason
            if photo.note:
                notes[place] = photo.note
            at = writer, end, file.write(photo.jpeg)
            count += miniatures.write(photo.miniature) // SIDE**2
            rows += _ROW.pack(photo.sha256, photo.content, *at, count if photo.miniature else 0)
            end += len(photo.jpeg)
    return Spooled(bytes(rows), reasons, notes)


def _miniatures(directory: Path, writer: int) -> Path:
    return directory / f"{writer}.miniatures"


class Spool:
    """Photos by number, in the order in which they were added."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.reasons: dict[int, str] = {}
        """Reasons why photos cannot be used."""
        self.notes: dict[int, str] = {}
        self._rows = bytearray()
        self._files: dict[int, int] = {}

    def __enter__(self) -> Self:
        self.directory.mkdir()
        return self

    def __exit__(self, *_: object) -> None:
        for file in self._files.values():
            os.close(file)
        shutil.rmtree(self.directory)

    def add(self, photos: Spooled) -> None:
        """Number photos that a process has written."""
        first = len(self)
        for texts, added in ((self.reasons, photos.reasons), (self.notes, photos.notes)):
            texts.update((first + place, sys.intern(text)) for place, text in added.items())
        self._rows += photos.rows

    def __len__(self) -> int:
        return len(self._rows) // _ROW.size

    def sha256(self, number: int) -> str:
        """Return the digest of the file; "" if it could not be read."""
        digest = self._row(number)[_SHA256]
        return digest.hex() if any(digest) else ""

    def content(self, number: int) -> bytes:
        """Return the digest of the encoded photo."""
        return bytes(self._row(number)[_CONTENT])

    def with_miniature(self) -> Array:
        """Return the numbers of the photos that have enough contrast to be compared."""
        return np.flatnonzero(np.frombuffer(self._rows, _FIELDS)["miniature"])

    def miniatures(self, numbers: Array) -> Array:
        """Return the miniatures of photos that have one, as `duplicates` compares them."""
        rows = np.frombuffer(self._rows, _FIELDS)[numbers]
        found = np.empty((len(numbers), SIDE, SIDE), np.uint8)
        for writer in np.unique(rows["writer"]):
            of_writer = rows["writer"] == writer
            written = np.memmap(_miniatures(self.directory, writer), np.uint8, "r")
            places = rows["miniature"][of_writer] - 1
            found[of_writer] = written.reshape(-1, SIDE, SIDE)[places]
        return found

    def image(self, number: int) -> bytes:
        """Return the encoded photo."""
        writer, offset, length = _PLACE.unpack_from(self._row(number), _PLACED)
        if writer not in self._files:
            self._files[writer] = os.open(self.directory / str(writer), os.O_RDONLY)
        return os.pread(self._files[writer], length, offset)

    def _row(self, number: int) -> bytearray:
        return self._rows[number * _ROW.size : (number + 1) * _ROW.size]
