"""Archives of a folder, unpacked into the workspace once.

An archive may be malicious: no member may leave the folder, be a link or a device, or unpack to far
more than the archive's own size.
"""

import contextlib
import dataclasses
import errno
import hashlib
import lzma
import stat
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.run.context import Run
from finetune_trainer.run.files import exclusive, scratch_directory, sync_filesystem
from finetune_trainer.run.hidden_files import is_skipped
from finetune_trainer.run.reporter import Pace

MAX_MEMBERS = 5_000_000
MAX_RATIO = 50
"""Photos hardly compress: content of more than 50 times the archive's size is an attack."""
MAX_FREE_OF_RATIO = 1 << 30
"""Content up to this size may have any ratio."""
MAX_BYTES = 10 << 40
"""The most bytes of all members together."""
WAITING = "waiting for another job that fetches the same archive"
ZSTANDARD = b"\x28\xb5\x2f\xfd"

_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)
_UNSUPPORTED = (NotImplementedError, RuntimeError, ValueError)
_NAME_CLASHES = frozenset(
    {None, errno.EISDIR, errno.ENOTDIR, errno.EEXIST, errno.ENAMETOOLONG, errno.EINVAL}
)
"""errno of an OSError that is the archive's fault (None: gzip's own); others are the disk's."""


@dataclasses.dataclass(frozen=True)
class Member:
    """One entry of an archive."""

    name: str
    kind: str
    """`file`, `folder`, or the reason why the archive is refused."""
    open: Callable[[], IO[bytes]]


class Put(NamedTuple):
    """The way to take a source that is a single file instead of a folder or an archive."""

    move: Callable[[Path, Path], None]
    """Moves the fetched file into a folder."""
    is_file: Callable[[Path], bool]
    """True for a file that is taken as it is, though it is a zip or tar."""

    def takes(self, path: Path) -> bool:
        """Return True for a file that is not unpacked."""
        return self.is_file(path) or not is_archive(path)


"""Puts a file (first argument) into a folder (second argument)."""


@dataclasses.dataclass(frozen=True)
class Obtained:
    """A local folder; `version` identifies its contents, if an ETag or a digest is known."""

    path: Path
    version: str | None = None


def unpacked(archive: Path, *, field: str, run: Run) -> Obtained:
    """Return the folder of an archive on a claim, unpacked if it was not before."""
    state = archive.stat()
    identity = f"{archive}:{state.st_size}:{state.st_mtime_ns}"
    return unpacked_once(identity, lambda temporary: archive, field=field, run=run)


def unpacked_once(
    identity: str,
    provide: Callable[[Path], Path],
    *,
    field: str,
    run: Run,
    put: Put | None = None,
) -> Obtained:
    """Return the folder unpacked from what `provide(temporary folder)` returns.

    All jobs of the workspace share the folder by `identity`: one unpacks, the others wait. A single
    file that `put` takes is moved into the folder.
    """
    fetched = run.paths.workspace / "fetched"
    version = hashlib.sha256(identity.encode()).hexdigest()
    key = version[:24]
    done = fetched / key
    with exclusive(fetched / f"{key}.lock", waiting=run.reporter.waiting(WAITING)):
        if not done.is_dir():
            with scratch_directory(fetched / f".{key}.tmp") as temporary:
                content = temporary / "content"
                content.mkdir()
                provided = provide(temporary)
                if put and put.takes(provided):
                    put.move(provided, content)
                else:
                    extract(provided, content, field=field, run=run)
                sync_filesystem(content)
                content.rename(done)
    return Obtained(path=without_wrapping(done), version=version)


def without_wrapping(directory: Path) -> Path:
    """Step into the one folder that holds everything: archives often have it (photos/CLASS/...)."""
    while True:
        entries = [entry for entry in directory.iterdir() if not is_skipped(entry.name)]
        if len(entries) != 1 or not any(e.is_dir() for e in _children(entries[0])):
            return directory
        directory = entries[0]


def _children(path: Path) -> Iterator[Path]:
    return path.iterdir() if path.is_dir() else iter(())


def extract(archive: Path, directory: Path, *, field: str, run: Run) -> None:
    """Unpack a .tar, .tar.gz, .tar.zst or .zip into an empty directory, or raise InvalidData."""
    limit = min(MAX_BYTES, max(MAX_FREE_OF_RATIO, MAX_RATIO * archive.stat().st_size))
    written, pace = 0, Pace()
    with _as_invalid_data(archive, field), _members(archive, field) as members:
        for number, member in enumerate(members, start=1):
            if number > MAX_MEMBERS:
                raise _refused(field, f"has more than {MAX_MEMBERS} members")
            for size in _extract_member(member, directory, field=field):
                written += size
                if written > limit:
                    raise _refused(
                        field,
                        f"unpacks to more than {MAX_RATIO} times its size,"
                        f" or {MAX_BYTES >> 40} TiB",
                    )
                if pace.is_due():
                    note = f"unpacked {number} files, {written >> 20} MiB"
                    run.reporter.progress(step=number + (written >> 20), note=note)


def _extract_member(member: Member, directory: Path, *, field: str) -> Iterator[int]:
    """Yield the size of each piece of a member before the piece is written."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts or "\0" in member.name:
        raise _refused(field, f"has a member that leaves the folder: {member.name!r}")
    if member.kind not in ("file", "folder"):
        raise _refused(field, f"has a member that is a {member.kind}: {member.name!r}")
    target = directory / name
    if member.kind == "folder":
        target.mkdir(parents=True, exist_ok=True)
        return
    target.parent.mkdir(parents=True, exist_ok=True)
    with member.open() as content, open(target, "wb") as file:
        while chunk := content.read(1 << 20):
            yield len(chunk)
            file.write(chunk)


def is_archive(path: Path) -> bool:
    """Return True for a file that can be unpacked."""
    head = _head(path)
    if head.startswith(b"PK"):
        with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(path):
            return True
        return False
    return head.startswith(ZSTANDARD) or tarfile.is_tarfile(path)


@contextlib.contextmanager
def _members(archive: Path, field: str) -> Iterator[Iterator[Member]]:
    head = _head(archive)
    if head.startswith(b"PK"):
        with zipfile.ZipFile(archive) as opened:
            yield _zip_members(opened)
    elif head.startswith(ZSTANDARD):
        with (
            _without_zstandard(archive) as content,
            tarfile.open(fileobj=content, mode="r|") as opened_tar,
        ):
            yield _tar_members(opened_tar)
    elif tarfile.is_tarfile(archive):
        with tarfile.open(archive) as opened_tar:
            yield _tar_members(opened_tar)
    else:
        raise TrainerError(
            ExitCode.InvalidData,
            f"{field} is not a .tar, .tar.gz, .tar.zst or .zip archive:"
            f" it begins with {head[:24]!r}",
            "Check in a browser that the URI gives the archive itself, not a page about it.",
        )


@contextlib.contextmanager
def _without_zstandard(archive: Path) -> Iterator[IO[bytes]]:
    import zstandard

    # The archive decides how much memory its window takes; `zstd -d` allows 128 MiB as well.
    reader = zstandard.ZstdDecompressor(max_window_size=1 << 27)
    try:
        with open(archive, "rb") as file, reader.stream_reader(file) as content:
            yield content
    except zstandard.ZstdError as error:
        raise tarfile.ReadError(str(error)) from error


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(64)


def _zip_members(archive: zipfile.ZipFile) -> Iterator[Member]:
    for info in archive.infolist():
        mode = stat.S_IFMT(info.external_attr >> 16)
        kind = "link or device" if mode not in (0, stat.S_IFREG, stat.S_IFDIR) else "file"
        # Archives made on Windows have backslashes.
        name = info.filename.replace("\\", "/")
        if name.endswith("/"):
            kind = "folder"
        elif info.flag_bits & 1:
            kind = "file with a password"
        yield Member(name, kind, lambda info=info: archive.open(info))  # type: ignore[misc]


def _tar_members(archive: tarfile.TarFile) -> Iterator[Member]:
    for info in archive:
        kind = "file" if info.isreg() else "folder" if info.isdir() else "link or device"
        yield Member(info.name, kind, lambda info=info: _content(archive, info))  # type: ignore[misc]
        archive.members = []  # type: ignore[attr-defined]  # otherwise it keeps every header in memory


def _content(archive: tarfile.TarFile, info: tarfile.TarInfo) -> IO[bytes]:
    content = archive.extractfile(info)
    if content is None:
        raise tarfile.ReadError(f"{info.name} has no content")
    return content


@contextlib.contextmanager
def _as_invalid_data(archive: Path, field: str) -> Iterator[None]:
    try:
        yield
    except (*_BROKEN, *_UNSUPPORTED) as error:
        raise _damaged(field, error) from error
    except OSError as error:
        if error.errno not in _NAME_CLASHES:
            raise
        raise _damaged(field, error) from error


def _damaged(field: str, error: Exception) -> TrainerError:
    return TrainerError(
        ExitCode.InvalidData,
        f"{field}: the archive cannot be unpacked: {error or type(error).__name__}",
        "Make the archive again, and set sha256 to notice a damaged copy.",
    )


def _refused(field: str, what: str) -> TrainerError:
    return TrainerError(
        ExitCode.InvalidData,
        f"{field}: the archive {what}",
        "Make the archive of plain files only (tar --dereference, or zip without -y).",
    )
