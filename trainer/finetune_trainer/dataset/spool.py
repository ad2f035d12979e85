"""Holds the encoded photos on disk until all are decoded: only then can they be split and packed.

Each decoding process has a file of its own, so that no photo goes through a pipe. A photo takes
about 100 bytes of memory.
"""

import os
import shutil
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

from finetune_trainer.dataset.photo import Encoded
from finetune_trainer.dataset.recordio import BUFFER_BYTES

_ROW = struct.Struct("<32s16s16s?IQI")
"""The sha256 of a photo's file, the digest of its encoded picture, its perceptual hash and whether
there is one, and its place: the process that wrote it (the name of its file), offset and length."""
_SHA256, _CONTENT, _HASH = slice(0, 32), slice(32, 48), slice(48, 64)
_HAS_HASH, _PLACE = 64, struct.Struct("<IQI")


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
    with open(directory / str(writer), "ab", buffering=BUFFER_BYTES) as file:
        end = file.tell()
        for place, photo in enumerate(photos):
            if photo.reason:
                reasons[place] = photo.reason
            if photo.note:
                notes[place] = photo.note
            has_hash = photo.perceptual_hash is not None
            hashed = (photo.perceptual_hash or 0).to_bytes(16, "little")
            at = writer, end, file.write(photo.jpeg)
            rows += _ROW.pack(photo.sha256, photo.content, hashed, has_hash, *at)
            end += len(photo.jpeg)
    return Spooled(bytes(rows), reasons, notes)


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

    def perceptual_hash(self, number: int) -> int | None:
        """Return the perceptual hash of the photo, if it has one."""
        row = self._row(number)
        return int.from_bytes(row[_HASH], "little") if row[_HAS_HASH] else None

    def image(self, number: int) -> bytes:
        """Return the encoded photo."""
        writer, offset, length = _PLACE.unpack_from(self._row(number), _HAS_HASH + 1)
        if writer not in self._files:
            self._files[writer] = os.open(self.directory / str(writer), os.O_RDONLY)
        return os.pread(self._files[writer], length, offset)

    def _row(self, number: int) -> bytearray:
        return self._rows[number * _ROW.size : (number + 1) * _ROW.size]
