"""Reads and writes RecordIO with an index, byte for byte as dmlc-core and MXNet's im2rec do."""

import contextlib
import dataclasses
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, TextIO

MAGIC = struct.pack("<I", 0xCED7230A)
_HEADER = struct.Struct("<IfQQ")
"""MXNet's IRHeader: flag, label, id, id2. A flag N above 0: N labels, float32, follow the header,
and its own label is not used, as in the records of `im2rec.py --pack-label`.

https://github.com/apache/mxnet/blob/1.9.1/python/mxnet/recordio.py
"""
_LABEL = struct.Struct("<f")
BUFFER_BYTES = 1 << 18
WHOLE, FIRST, MIDDLE, LAST = 0, 1, 2, 3


class RecordWriter:
    """A file of records and its index; records are numbered from 0."""

    def __init__(self, records: BinaryIO, index: TextIO) -> None:
        self._records = records
        self._index = index
        self._count = self._end = 0

    def write(self, *, label: int, image: bytes) -> None:
        """Append one encoded image."""
        self._index.write(f"{self._count}\t{self._end}\n")
        header = _HEADER.pack(0, label, self._count, 0)
        if MAGIC in image:
            parts = [framed(header + image)]
        else:  # the same without a copy of the image
            length = len(header) + len(image)
            parts = [MAGIC + struct.pack("<I", length) + header, image, bytes(-length % 4)]
        self._records.writelines(parts)
        self._end += sum(map(len, parts))
        self._count += 1


@contextlib.contextmanager
def open_records(path: Path) -> Iterator[RecordWriter]:
    """Write PATH.rec and PATH.idx."""
    with (
        open(path.with_suffix(".rec"), "wb", buffering=BUFFER_BYTES) as records,
        open(path.with_suffix(".idx"), "w", encoding="ascii") as index,
    ):
        yield RecordWriter(records, index)


class RecordError(Exception):
    """The file is not RecordIO, or is damaged; the text names the byte."""


@dataclasses.dataclass(frozen=True, slots=True)
class RecordHeader:
    """The header of a record: its place, and the size and label of its image."""

    offset: int
    size: int
    """The size of the image in bytes."""
    label: float
    """The first label."""
    labels: int
    """The number of labels."""


def read_headers(path: Path) -> Iterator[RecordHeader]:
    """Yield the headers of all records, without reading the images."""
    enough = _HEADER.size + _LABEL.size
    with open(path, "rb") as file:
        end = file.seek(0, 2)
        file.seek(0)
        while (offset := file.tell()) < end:
            kind, size = _read_part(file, offset)
            start = file.read(min(size, enough))
            position = _after(file, offset, size, end)
            while kind not in (WHOLE, LAST):
                kind, length = _read_part(file, position)
                size += len(MAGIC) + length
                if len(start) < enough:
                    start += MAGIC + file.read(min(length, enough))
                position = _after(file, position, length, end)
            yield _header(offset, start, size)


def _header(offset: int, start: bytes, size: int) -> RecordHeader:
    """Return the header of a record from its first bytes."""
    if len(start) < _HEADER.size:
        raise RecordError(f"has no image header at byte {offset}")
    flag, label, _, _ = _HEADER.unpack_from(start)
    size -= _HEADER.size + flag * _LABEL.size
    if size < 0:
        raise RecordError(f"is damaged at byte {offset}: {flag} labels are longer than the record")
    if flag:
        (label,) = _LABEL.unpack_from(start, _HEADER.size)
    return RecordHeader(offset, size, label, max(1, flag))


def read_offsets(index: Path) -> list[int]:
    """Return the byte where each record of a .rec begins, from its .idx."""
    return [int(line.split("\t")[1]) for line in index.read_text().splitlines()]


def read_image(path: Path, offset: int) -> bytes:
    """Return the image of the record that begins at a byte of the file."""
    parts = []
    with open(path, "rb") as file:
        kind = FIRST
        while kind not in (WHOLE, LAST):
            file.seek(offset)
            kind, length = _read_part(file, offset)
            parts.append(file.read(length))
            offset += 8 + length + -length % 4
    payload = MAGIC.join(parts)
    labels = int.from_bytes(payload[:4], "little")
    return payload[_HEADER.size + labels * _LABEL.size :]


def _read_part(file: BinaryIO, offset: int) -> tuple[int, int]:
    start = file.read(8)
    if len(start) < 8 or start[:4] != MAGIC:
        raise RecordError(f"is damaged at byte {offset}: no record begins there")
    word = int.from_bytes(start[4:], "little")
    return word >> 29, word & (1 << 29) - 1


def _after(file: BinaryIO, offset: int, length: int, end: int) -> int:
    position = offset + 8 + length + -length % 4
    if position > end:
        raise RecordError(f"is cut off: the record at byte {offset} goes beyond its end")
    file.seek(position)
    return position


def framed(payload: bytes) -> bytes:
    """Return a record as it is stored.

    A reader may search for the magic number at any multiple of four. So a payload that has it there
    is cut at that place, and the reader puts it back.
    """
    cuts = _aligned_magics(payload)
    if not cuts:
        return _part(WHOLE, payload)
    bounds = [0, *(cut + 4 for cut in cuts)]
    parts = [payload[start:cut] for start, cut in zip(bounds, cuts, strict=False)]
    kinds = [FIRST] + [MIDDLE] * (len(parts) - 1)
    start = b"".join(_part(kind, part) for kind, part in zip(kinds, parts, strict=True))
    return start + _part(LAST, payload[bounds[-1] :])


def _part(kind: int, content: bytes) -> bytes:
    padding = bytes(-len(content) % 4)
    return MAGIC + struct.pack("<I", kind << 29 | len(content)) + content + padding


def _aligned_magics(payload: bytes) -> list[int]:
    found, position = [], payload.find(MAGIC)
    while position >= 0:
        if position % 4 == 0:
            found.append(position)
        position = payload.find(MAGIC, position + 1)
    return found
