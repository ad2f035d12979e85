"""The members of a zip, and their names.

The table of members at the end is checked against what Python's zipfile makes of it, and a name
without the flag for UTF-8 is not believed to be in cp437.
"""

import contextlib
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from finetune_trainer.storage.member import Member, Refused

SIGNATURES = (b"PK\3\4", b"PK\5\6", b"PK\7\x08", b"PK00PK\3\4")
"""The first bytes of a zip with members, of an empty one, and of two that were in parts."""
_WRAP = 1 << 32
_UTF_8, _ENCRYPTED = 0x800, 1
_UNICODE_PATH = 0x7075
"""The extra field of Info-ZIP for a name in UTF-8."""
_METHODS = frozenset(
    {zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA}
)
_OTHER_METHODS = {1: "Shrink", 6: "Implode", 9: "Deflate64", 93: "Zstandard", 95: "xz", 98: "PPMd"}
_WHOLE = "Join the parts first: zip -s 0 photos.zip --out whole.zip (of .zip.001: cat, in order)."
_NAME_REMEDY = "make the zip on macOS or Linux, or with 7z a -mcu=on"


def is_zip(path: Path, head: bytes) -> bool:
    """Return True for a whole zip that begins with a member."""
    return head.startswith(SIGNATURES) and zipfile.is_zipfile(path)


@contextlib.contextmanager
def zip_members(path: Path, head: bytes) -> Iterator[Iterator[Member]]:
    """Yield the members in the order of the table at the zip's end."""
    count = _count(path)
    with zipfile.ZipFile(path) as opened:
        found = opened.infolist()
        # Without Zip64, as macOS writes it, the count is modulo 65,536.
        if (len(found) - count) % (1 << 16):
            raise Refused(
                f"is damaged: it has {len(found)} members, but its end says {count}",
                "Make the archive again: files may be missing.",
            )
        _restore_offsets(found)
        first = min((info.header_offset for info in found), default=0)
        if first > 4 and head.startswith(b"PK\3\4"):
            raise Refused(
                f"has other content before its first member at byte {first}, as two archives"
                " in one file have",
                "Unpack each of the archives into one folder, and make one archive of it.",
            )
        # One writer, one encoding: some names of other encodings happen to be valid UTF-8.
        is_utf_8 = all(name_of(info).encoding != "unknown" for info in found)
        trusted = {"known", "UTF-8"} if is_utf_8 else {"known"}
        yield (_member(opened, info, trusted) for info in found)


def _count(path: Path) -> int:
    """Return the number of members by the record at the end; refuse a zip in several parts."""
    try:
        with open(path, "rb") as file:
            end = zipfile._EndRecData(file)  # type: ignore[attr-defined]
    except zipfile.BadZipFile as error:  # raised for nothing but several parts
        raise Refused("is one part of a zip in several parts", _WHOLE) from error
    if end is None:
        raise Refused(
            "has no table of its members at the end: it is cut off, or one part of several",
            f"Copy or download it again. {_WHOLE}",
        )
    if end[zipfile._ECD_DISK_NUMBER]:  # type: ignore[attr-defined]
        raise Refused("is the last part of a zip in several parts", _WHOLE)
    count: int = end[zipfile._ECD_ENTRIES_TOTAL]  # type: ignore[attr-defined]
    return count


def _restore_offsets(found: list[zipfile.ZipInfo]) -> None:
    """Correct the places of members in a zip of more than 4 GiB that macOS made without Zip64.

    They are modulo 4 GiB, so that zipfile takes the bytes that are left for ones before the zip.
    """
    shift = min((info.header_offset for info in found), default=0)
    if shift == 0 or shift % _WRAP:
        return
    wraps = before = 0
    for info in found:
        place = info.header_offset - shift
        wraps += place < before
        before = place
        info.header_offset = place + wraps * _WRAP


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, trusted: set[str]) -> Member:
    text, encoding = name_of(info)
    name = text.replace("\\", "/")  # archives made on Windows
    mode = stat.S_IFMT(info.external_attr >> 16)
    if mode == stat.S_IFLNK:
        raise Refused(
            f"has a member that is a symbolic link: {name!r}",
            "Make the zip without -y (--symlinks), which packs the files that links name.",
        )
    if mode not in (0, stat.S_IFREG, stat.S_IFDIR):
        raise Refused(f"has a member that is a device: {name!r}", "Leave it out: zip -x NAME.")
    is_folder = name.endswith("/") or mode == stat.S_IFDIR
    if not is_folder:
        _check_readable(info, name)
    return Member(
        name, is_folder, lambda: archive.open(info), "" if encoding in trusted else _NAME_REMEDY
    )


def _check_readable(info: zipfile.ZipInfo, name: str) -> None:
    if info.flag_bits & _ENCRYPTED:
        raise Refused(
            f"has a member that is a file with a password: {name!r}",
            "Make the zip again without a password.",
        )
    if info.compress_type not in _METHODS:
        method = _OTHER_METHODS.get(info.compress_type, f"method {info.compress_type}")
        raise Refused(
            f"has a member that is compressed with {method}, which is not supported: {name!r}",
            "Make the zip with the method Deflate (7z a -mm=Deflate photos.zip .), or make a .tar;"
            " Windows' Explorer takes Deflate64 for files of 2 GiB and more.",
        )


class Name(NamedTuple):
    """The name of a member, and the way in which its encoding is known."""

    text: str
    encoding: Literal["known", "UTF-8", "unknown"]
    """UTF-8: nothing says so, but the bytes fit."""


def name_of(info: zipfile.ZipInfo) -> Name:
    """Return the name of a member, read as cp437 if its encoding is unknown."""
    text = info.orig_filename
    if info.flag_bits & _UTF_8:
        return Name(text, "known")
    raw = text.encode("cp437")  # as zipfile decoded it: every byte has a character
    try:
        if unicode_path := _unicode_path(info.extra, raw):
            return Name(unicode_path, "known")
        return Name(raw.decode(), "known" if raw.isascii() else "UTF-8")
    except UnicodeDecodeError:
        return Name(text, "unknown")


def _unicode_path(extra: bytes, raw: bytes) -> str | None:
    """Return the name in the extra field that Info-ZIP adds, if it belongs to the raw name."""
    while len(extra) >= 9:
        kind, size, _, crc = struct.unpack_from("<HHBL", extra)
        if kind == _UNICODE_PATH and crc == zlib.crc32(raw):
            return extra[9 : 4 + size].decode()
        extra = extra[4 + size :]
    return None
