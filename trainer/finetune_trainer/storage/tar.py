"""The members of a tar, plain or compressed.

Python's tarfile takes a damaged header, and the end of a file that was cut off, for the end of the
archive. Here an archive ends with the mark of its end, and only zeros may follow.
"""

import bz2
import contextlib
import gzip
import lzma
import re
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Protocol, cast

from finetune_trainer.storage.member import MAKE_AGAIN, Member, Refused

CHUNK = 1 << 18
_CUT = "Copy or download it again; if that does not help, make it again: files are missing."
VOLUME_LABEL = b"V"
"""The type of GNU tar's entry that holds only a name for the whole archive."""
# With -h alone a link to a file of the same folder becomes a hard link.
_NO_LINKS = "Make the archive with GNU tar's -h --hard-dereference, or make a .zip without -y."
_KINDS = {
    tarfile.LNKTYPE: ("a hard link", _NO_LINKS),
    tarfile.SYMTYPE: ("a symbolic link", _NO_LINKS),
    tarfile.CHRTYPE: ("a device", "Leave it out: tar --exclude=NAME."),
    tarfile.BLKTYPE: ("a device", "Leave it out: tar --exclude=NAME."),
    tarfile.FIFOTYPE: ("a pipe", "Leave it out: tar --exclude=NAME."),
    b"M": ("the rest of a file of another volume", "Make one archive, without --multi-volume."),
}
"""The types of members that are refused, each with its remedy."""


class Readable(Protocol):
    """A file that is read from its beginning to its end."""

    def read(self, size: int, /) -> bytes:
        """Return at most `size` bytes; none at the end."""


Opener = Callable[[IO[bytes]], contextlib.AbstractContextManager[Readable]]
"""The way to read the content of a compressed file."""


def is_tar(path: Path, head: bytes) -> bool:
    """Return True for a tar, and for compressed content that may be one."""
    return _decompressor(head) is not None or tarfile.is_tarfile(path)


@contextlib.contextmanager
def tar_members(path: Path, head: bytes) -> Iterator[Iterator[Member]]:
    """Yield the members in their order; the archive's end is checked after the last one."""
    if not (decompressed := _decompressor(head)):
        with tarfile.open(path, tarinfo=CheckedHeader) as opened:
            yield _members(opened)
        return
    with (
        open(path, "rb") as file,
        decompressed(file) as content,
        tarfile.open(
            fileobj=cast(IO[bytes], content), mode="r|", bufsize=CHUNK, tarinfo=CheckedHeader
        ) as opened,
    ):
        yield _members(opened)


class CheckedHeader(tarfile.TarInfo):
    """The header of a member; raises Refused where tarfile would believe that the archive ends."""

    @classmethod
    def fromtarfile(cls, archive: tarfile.TarFile) -> "CheckedHeader":
        """Read the next header; see https://github.com/python/cpython/issues/120740."""
        try:
            return super().fromtarfile(archive)
        except tarfile.EOFHeaderError:  # type: ignore[attr-defined]
            _check_rest(archive)
            raise
        except tarfile.HeaderError as error:
            raise _no_header(archive.offset, error) from error


def _no_header(offset: int, error: tarfile.HeaderError) -> Refused:
    if isinstance(error, tarfile.EmptyHeaderError) and offset:  # type: ignore[attr-defined]
        return Refused(
            f"is cut off: it ends at byte {offset} of the tar, without the mark of its end", _CUT
        )
    if isinstance(error, tarfile.TruncatedHeaderError) and offset:  # type: ignore[attr-defined]
        return Refused(f"is cut off in the header at byte {offset} of the tar", _CUT)
    if offset:
        return Refused(f"is damaged: the header at byte {offset} of the tar: {error}", MAKE_AGAIN)
    return Refused(
        f"holds no tar, or only the beginning of one: {error}",
        "Copy or download it again, or make it of a folder: tar -czf photos.tar.gz -C FOLDER .",
    )


def _check_rest(archive: tarfile.TarFile) -> None:
    """Raise Refused if anything but zeros follows the mark of the end."""
    content = archive.fileobj
    assert content is not None
    position = content.tell()
    while chunk := content.read(CHUNK):
        if data := chunk.lstrip(b"\0"):
            raise Refused(
                f"goes on after its end at byte {archive.offset} of the tar: there is more at"
                f" byte {position + len(chunk) - len(data)}",
                "Copy or download it again. If it is two archives in one file, unpack both with"
                " tar --ignore-zeros -xf, and make one archive.",
            )
        position += len(chunk)


def _members(archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        if info.type != VOLUME_LABEL:
            yield _member(archive, info)
        archive.members = []  # type: ignore[attr-defined]  # otherwise it keeps every header in memory


def _member(archive: tarfile.TarFile, info: tarfile.TarInfo) -> Member:
    if not (info.isreg() or info.isdir()):
        kind, remedy = _KINDS.get(
            info.type, (f"of the unknown type {info.type!r}", "Make the archive with tar -cf.")
        )
        raise Refused(f"has a member that is {kind}: {info.name!r}", remedy)
    return Member(info.name, info.isdir(), lambda: _content(archive, info), _name_remedy(info.name))


def _name_remedy(name: str) -> str:
    """Return the remedy for a name that is not in UTF-8: tarfile has surrogates for its bytes."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return "rename the files before tar packs them: convmv -f latin1 -t utf8 -r --notest FOLDER"
    return ""


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(info)
    if content is None:
        raise tarfile.ReadError(f"{info.name} has no content")
    return content


def _decompressor(head: bytes) -> Opener | None:
    return next((opener for magic, opener in _COMPRESSIONS.items() if magic.match(head)), None)


def _trailing() -> Refused:
    return Refused("has other data after its compressed content", MAKE_AGAIN)


@contextlib.contextmanager
def _without_gzip(file: IO[bytes]) -> Iterator[Readable]:
    try:
        with gzip.GzipFile(fileobj=file) as content:
            yield content
    except gzip.BadGzipFile as error:
        raise (_trailing() if "Not a gzipped" in str(error) else error) from error


@contextlib.contextmanager
def _without_zstandard(file: IO[bytes]) -> Iterator[Readable]:
    import zstandard

    # The archive decides how much memory its window takes; `zstd -d` allows 128 MiB as well.
    reader = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    try:
        with reader.stream_reader(file, read_across_frames=True) as content:
            yield content
    except zstandard.ZstdError as error:
        if "Unknown frame descriptor" in str(error):
            raise _trailing() from error
        raise tarfile.ReadError(str(error)) from error


class Decompressor(Protocol):
    """The decompressor of one stream of bz2 or lzma."""

    @property
    def eof(self) -> bool:
        """True at the end of the stream."""

    @property
    def needs_input(self) -> bool:
        """True if all input was used."""

    @property
    def unused_data(self) -> bytes:
        """The input after the end of the stream."""

    def decompress(self, data: bytes, max_length: int = -1) -> bytes:
        """Return at most `max_length` bytes."""


class Streams:
    """The content of compressed streams, one after the other.

    BZ2File and LZMAFile ignore whatever follows a stream and is none. Here only zeros may follow.
    """

    def __init__(self, file: IO[bytes], new: Callable[[], Decompressor]) -> None:
        self._file = file
        self._new = new
        self._decompressor = new()
        self._is_empty = False
        """True until the first byte of a stream after the first one."""

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes; none at the end."""
        data = b""
        while not self._decompressor.eof or (data := self._next_stream()):
            if not data and self._decompressor.needs_input and not (data := self._more()):
                raise (
                    _trailing() if self._is_empty else EOFError("the compressed content is cut off")
                )
            try:
                content = self._decompressor.decompress(data, size)
            except (OSError, lzma.LZMAError) as error:
                if self._is_empty:
                    raise _trailing() from error
                raise tarfile.ReadError(f"its compressed content is damaged: {error}") from error
            if content:
                self._is_empty = False
                return content
            data = b""
        return b""

    def _more(self) -> bytes:
        return self._file.read(CHUNK)

    def _next_stream(self) -> bytes:
        """Begin the next stream and return its first data; none at the end of the file."""
        data = self._decompressor.unused_data.lstrip(b"\0")
        while not data and (more := self._more()):
            data = more.lstrip(b"\0")
        if data:
            self._decompressor = self._new()
            self._is_empty = True
        return data


@contextlib.contextmanager
def _without_bzip2(file: IO[bytes]) -> Iterator[Readable]:
    yield Streams(file, bz2.BZ2Decompressor)


@contextlib.contextmanager
def _without_xz(file: IO[bytes]) -> Iterator[Readable]:
    yield Streams(file, lzma.LZMADecompressor)


_COMPRESSIONS: dict[re.Pattern[bytes], Opener] = {
    re.compile(rb"\x1f\x8b\x08"): _without_gzip,
    re.compile(rb"BZh[1-9]1AY&SY"): _without_bzip2,
    re.compile(rb"\xfd7zXZ\0"): _without_xz,
    re.compile(rb"\x28\xb5\x2f\xfd"): _without_zstandard,
}
"""The compressions of a tar by the first bytes, long enough for no name of a plain tar's member."""
