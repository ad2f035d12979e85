"""Encoded photos between decoding and packing, which can begin only when all were decoded.

Each process that decodes has a file of its own, so that no photo goes through a pipe. What is known
of a photo takes 100 bytes of memory; the photos stay on disk.
"""

import os
import shutil
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple, Self

from finetune_trainer.dataset.photo import Encoded

_ROW = struct.Struct("<32s16s16s?IQI")
_SHA256, _CONTENT, _LOOK = slice(0, 32), slice(32, 48), slice(48, 64)
_HAS_LOOK, _PLACE = 64, struct.Struct("<IQI")


class Spooled(NamedTuple):
    """What became of a photo, and where it lies in the spool."""

    sha256: bytes
    content: bytes
    look: int | None
    reason: str
    note: str
    writer: int
    """The process that has written it; its file is named after it."""
    offset: int
    length: int


def write_photos(directory: Path, photos: Iterable[Encoded]) -> list[Spooled]:
    """Append photos to this process's file of the spool."""
    writer = os.getpid()
    with open(directory / str(writer), "ab") as file:
        return [
            Spooled(
                sha256=photo.sha256,
                content=photo.content,
                look=photo.look,
                reason=photo.reason,
                note=photo.note,
                writer=writer,
                offset=file.tell(),
                length=file.write(photo.jpeg),
            )
            for photo in photos
        ]


class Spool:
    """Photos by number, in the order in which they were added."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.reasons: dict[int, str] = {}
        """Why photos cannot be used."""
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

    def add(self, photo: Spooled) -> None:
        """Remember a photo that a process has written."""
        if photo.reason:
            self.reasons[len(self)] = sys.intern(photo.reason)
        if photo.note:
            self.notes[len(self)] = sys.intern(photo.note)
        has_look, look = photo.look is not None, (photo.look or 0).to_bytes(16, "little")
        place = photo.writer, photo.offset, photo.length
        self._rows += _ROW.pack(photo.sha256, photo.content, look, has_look, *place)

    def __len__(self) -> int:
        return len(self._rows) // _ROW.size

    def sha256(self, number: int) -> str:
        """Return the digest of the file; "" if there is none, as it could not be read."""
        digest = self._row(number)[_SHA256]
        return digest.hex() if any(digest) else ""

    def content(self, number: int) -> bytes:
        """Return the digest of the encoded photo."""
        return bytes(self._row(number)[_CONTENT])

    def look(self, number: int) -> int | None:
        """Return the look of the photo, if it has one."""
        row = self._row(number)
        return int.from_bytes(row[_LOOK], "little") if row[_HAS_LOOK] else None

    def image(self, number: int) -> bytes:
        """Return the encoded photo."""
        writer, offset, length = _PLACE.unpack_from(self._row(number), _HAS_LOOK + 1)
        if writer not in self._files:
            self._files[writer] = os.open(self.directory / str(writer), os.O_RDONLY)
        return os.pread(self._files[writer], length, offset)

    def _row(self, number: int) -> bytearray:
        return self._rows[number * _ROW.size : (number + 1) * _ROW.size]
