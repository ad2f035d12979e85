"""Archives of a folder, unpacked into the workspace once.

An archive may be malicious: no member may leave the folder, be a link or a device, or unpack to far
more than the archive's own size.
"""

import contextlib
import dataclasses
import errno
import hashlib
import lzma
import re
import tarfile
import zipfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path, PurePosixPath
from typing import IO, NamedTuple

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.run.context import Run
from finetune_trainer.run.files import (
    exclusive,
    mark_used,
    read_json,
    scratch_directory,
    sync_filesystem,
    write_json,
)
from finetune_trainer.run.hidden_files import is_skipped
from finetune_trainer.run.reporter import Pace
from finetune_trainer.storage.member import MAKE_AGAIN, Member, Refused
from finetune_trainer.storage.tar import is_tar, tar_members
from finetune_trainer.storage.zip import SIGNATURES, is_zip, zip_members

MAX_MEMBERS = 5_000_000
MAX_RATIO = 50
"""Photos hardly compress: content of more than 50 times the archive's size is an attack."""
MAX_FREE_OF_RATIO = 1 << 30
"""Content up to this size may have any ratio."""
MAX_BYTES = 10 << 40
"""The most bytes of all members together."""
WAITING = "waiting for another job that fetches the same archive"
FEW = 3
"""Names that a warning shows."""

_BROKEN = (tarfile.TarError, zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError)
_UNSUPPORTED = (NotImplementedError, RuntimeError, ValueError)
_NAME_ERRORS = frozenset({errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ})
_KNOWN = "a .tar, .tar.gz, .tar.bz2, .tar.xz, .tar.zst or .zip archive"
_OTHERS = {
    b"Rar!": "a RAR archive",
    b"7z\xbc\xaf": "a 7z archive",
    b"MSCF": "a CAB archive",
    b"\x04\x22\x4d\x18": "compressed with LZ4",
    b"\x1f\x9d": "compressed with compress",
}
"""Archives of other kinds, by their first bytes."""
_UNPACK = "Unpack it on a volume, and name the folder: pvc://CLAIM/PATH."
_FROM_INSIDE = (
    "Make the archive inside the folder: tar -C FOLDER -cf photos.tar . (a zip: cd FOLDER;"
    " zip -r ../photos.zip .)."
)
_TWICE = "Make the archive again, into a new file: tar -r, tar -u and tools like them add to it."
_DOCUMENTS = re.compile(
    r"(readme|licen[cs]e|copying|notice|citation|authors|changelog|contributing)([.\- ].*)?"
)
_DOCUMENT_SUFFIXES = re.compile(r"\.(md|rst|pdf|html?|docx?|rtf|bib|cff|url)")


class Put(NamedTuple):
    """The way to take a source that is a single file instead of a folder or an archive."""

    move: Callable[[Path, Path], None]
    """Moves the fetched file into a folder."""
    is_file: Callable[[Path], bool]
    """True for a file that is taken as it is, though it is a zip or tar."""

    def takes(self, path: Path) -> bool:
        """Return True for a file that is not unpacked."""
        return self.is_file(path) or not is_archive(path)


@dataclasses.dataclass(frozen=True)
class Obtained:
    """A local folder; `version` identifies its contents, if an ETag or a digest is known."""

    path: Path
    version: str | None = None
    warnings: tuple[str, ...] = ()
    """Sentences for the user about an archive's names."""


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
    done, warnings = fetched / key, fetched / f"{key}.warnings.json"
    with exclusive(fetched / f"{key}.lock", waiting=run.reporter.waiting(WAITING)):
        if not done.is_dir():
            with scratch_directory(fetched / f".{key}.tmp") as temporary:
                content = temporary / "content"
                content.mkdir()
                provided = provide(temporary)
                if put and put.takes(provided):
                    put.move(provided, content)
                else:
                    # Kept for later jobs, which find the folder unpacked.
                    write_json(warnings, extract(provided, content, field=field, run=run))
                sync_filesystem(content)
                content.rename(done)
        mark_used(done)
    told = read_json(warnings, tuple[str, ...]) if warnings.exists() else ()
    return Obtained(path=without_wrapping(done), version=version, warnings=told)


def without_wrapping(directory: Path) -> Path:
    """Step into the one folder that holds everything: archives often have it (photos/CLASS/...).

    Documents such as a README may lie beside it, but no file that may say something of the photos.
    """
    while True:
        entries = [entry for entry in directory.iterdir() if not is_skipped(entry.name)]
        folders = [entry for entry in entries if entry.is_dir()]
        if len(folders) != 1 or not any(entry.is_dir() for entry in folders[0].iterdir()):
            return directory
        if not all(is_document(entry.name) for entry in entries if entry != folders[0]):
            return directory
        directory = folders[0]


def is_document(name: str) -> bool:
    """Return True for the name of a file that people read, and that lists no photos."""
    path = PurePosixPath(name.casefold())
    if path.suffix in ("", ".txt"):
        return _DOCUMENTS.fullmatch(path.name) is not None
    return _DOCUMENT_SUFFIXES.fullmatch(path.suffix) is not None


def extract(archive: Path, directory: Path, *, field: str, run: Run) -> tuple[str, ...]:
    """Unpack a tar or zip into an empty directory, or raise InvalidData. Return warnings."""
    limit = min(MAX_BYTES, max(MAX_FREE_OF_RATIO, MAX_RATIO * archive.stat().st_size))
    written, pace, uncertain = 0, Pace(), UncertainNames()
    with _as_invalid_data(field), _members(archive) as members:
        for number, member in enumerate(members, start=1):
            if number > MAX_MEMBERS:
                raise Refused(f"has more than {MAX_MEMBERS} members", _UNPACK)
            uncertain.add(member)
            for size in _extract_member(member, directory):
                written += size
                if written > limit:
                    raise Refused(
                        f"unpacks to more than {MAX_RATIO} times its size,"
                        f" or {MAX_BYTES >> 40} TiB",
                        _UNPACK,
                    )
                if pace.is_due():
                    note = f"unpacked {number} files, {written >> 20} MiB"
                    run.reporter.progress(step=number + (written >> 20), note=note)
    return uncertain.warnings(field)


class UncertainNames:
    """The names whose encoding is unknown."""

    def __init__(self) -> None:
        self._count = 0
        self._remedies: dict[str, list[str]] = {}

    def add(self, member: Member) -> None:
        """Count a file whose name may be wrong; keep a few names."""
        if member.name_remedy and not member.is_folder:
            self._count += 1
            few = self._remedies.setdefault(member.name_remedy, [])
            if len(few) < FEW:
                few.append(member.name)

    def warnings(self, field: str) -> tuple[str, ...]:
        """Return a sentence with the count, a few names and the remedy."""
        return tuple(
            f"{field}: file names in the archive may be wrong, as they are not in UTF-8:"
            f" {self._count}, such as {', '.join(map(_printable, few))}."
            f" Classes and lists go by names: {remedy}."
            for remedy, few in self._remedies.items()
        )


def _printable(name: str) -> str:
    return name.encode(errors="backslashreplace").decode()


def _extract_member(member: Member, directory: Path) -> Iterator[int]:
    """Yield the size of each piece of a member before the piece is written."""
    name = PurePosixPath(member.name)
    if name.is_absolute() or ".." in name.parts:
        raise Refused(f"has a member that leaves the folder: {member.name!r}", _FROM_INSIDE)
    if "\0" in member.name:
        raise Refused(f"has a name with a zero byte: {member.name!r}", MAKE_AGAIN)
    target = directory / name
    if member.is_folder:
        with _explained(member.name, target):
            target.mkdir(parents=True, exist_ok=True)
        return
    with _create(target, member.name) as file, member.open() as content:
        while chunk := content.read(1 << 20):
            yield len(chunk)
            file.write(chunk)


def _create(target: Path, name: str) -> IO[bytes]:
    with _explained(name, target):
        target.parent.mkdir(parents=True, exist_ok=True)
        return open(target, "xb")  # no member may replace an earlier one


@contextlib.contextmanager
def _explained(name: str, target: Path) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, NotADirectoryError) as error:
        if isinstance(error, FileExistsError) and target.is_file():
            raise Refused(f"has two members with one name: {name!r}", _TWICE) from error
        raise Refused(f"has a name for a file and for a folder: {name!r}", _TWICE) from error
    except OSError as error:
        if error.errno not in _NAME_ERRORS:
            raise
        raise Refused(
            f"has a name that the workspace's file system does not take ({error.strerror}):"
            f" {name[:80]!r}",
            "Rename the file, and make the archive again.",
        ) from error


def is_archive(path: Path) -> bool:
    """Return True for a file that can be unpacked."""
    head = _head(path)
    return is_zip(path, head) or (not head.startswith(SIGNATURES) and is_tar(path, head))


@contextlib.contextmanager
def _members(archive: Path) -> Iterator[Iterator[Member]]:
    head = _head(archive)
    if head.startswith(SIGNATURES):
        opened = zip_members(archive, head)
    elif is_tar(archive, head):
        opened = tar_members(archive, head)
    elif zipfile.is_zipfile(archive):  # a program that unpacks itself
        opened = zip_members(archive, head)
    else:
        raise _no_archive(head)
    with opened as members:
        yield members


def _no_archive(head: bytes) -> Refused:
    for magic, kind in _OTHERS.items():
        if head.startswith(magic):
            return Refused(
                f"is {kind}, and not {_KNOWN}", "Unpack it, and make a .zip or .tar of its folder."
            )
    if head.startswith(b"version https://git-lfs"):
        return Refused(f"is a pointer of Git LFS, and not {_KNOWN}", "Run git lfs pull first.")
    if not head:
        return Refused("is an empty file", "Copy or download it again.")
    return Refused(
        f"is not {_KNOWN}: it begins with {head[:24]!r}",
        "Name an archive, or a folder. A browser shows whether a URI gives the archive itself or a"
        " page about it.",
    )


def _head(path: Path) -> bytes:
    with open(path, "rb") as file:
        return file.read(64)


@contextlib.contextmanager
def _as_invalid_data(field: str) -> Iterator[None]:
    try:
        yield
    except Refused as error:
        raise _invalid(field, error.reason, error.remedy) from error
    except (*_BROKEN, *_UNSUPPORTED) as error:
        raise _damaged(field, error) from error
    except OSError as error:
        if error.errno not in (None, errno.EINVAL):  # the disk's, not gzip's or of a false place
            raise
        raise _damaged(field, error) from error


def _damaged(field: str, error: Exception) -> TrainerError:
    what = f"cannot be unpacked: {str(error) or type(error).__name__}"
    return _invalid(field, what, MAKE_AGAIN)


def _invalid(field: str, what: str, remedy: str) -> TrainerError:
    return TrainerError(ExitCode.InvalidData, f"{field}: the archive {what}", remedy)
