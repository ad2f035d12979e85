"""Files that are whole or absent: written to a temporary name, synced, renamed."""

import contextlib
import ctypes
import fcntl
import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, TypeVar

import msgspec

T = TypeVar("T")


@contextlib.contextmanager
def whole_file(path: Path) -> Iterator[BinaryIO]:
    """Yield a file that becomes `path` when the block ends well: no reader ever sees a part of it,
    even after a crash. If the block fails, the file is deleted.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    sync_directory(path.parent)


def write_atomic(path: Path, data: bytes) -> None:
    """Write a whole file."""
    with whole_file(path) as file:
        file.write(data)


def sync_directory(path: Path) -> None:
    """Make a rename in this directory durable."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_files(directory: Path) -> None:
    """Make all files of a flat directory durable."""
    for path in directory.iterdir():
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    sync_directory(directory)


def write_json(path: Path, value: object) -> None:
    """Write a struct as indented JSON, atomically."""
    write_atomic(path, msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n")


def read_json(path: Path, type: type[T]) -> T:
    """Read a struct. Raises FileNotFoundError, or msgspec.DecodeError for other content."""
    return msgspec.json.decode(path.read_bytes(), type=type)


def sha256_of(path: Path) -> str:
    """Return the hex digest of a file's content."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def sync_filesystem(path: Path) -> None:
    """Make the whole file system of `path` durable: faster than file by file for thousands."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            raise OSError(number := ctypes.get_errno(), os.strerror(number), str(path))
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def exclusive(path: Path, *, waiting: Callable[[int], None]) -> Iterator[None]:
    """Hold the lock file `path` against all other processes of the volume.

    While another one holds it, `waiting` is called once a second with the seconds so far. The
    kernel releases the lock of a process that died.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "ab") as file:
        seconds = 0
        while True:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                waiting(seconds)
                time.sleep(1)
                seconds += 1
        yield


@contextlib.contextmanager
def whole_directory(target: Path, *, check: Callable[[], None] = lambda: None) -> Iterator[Path]:
    """Yield a temporary directory that becomes `target` when the block ends well.

    `check` is called right before the rename; if it raises, `target` stays as it was. A process
    that is killed leaves its temporary directory behind: see `clear_leftovers`.
    """
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as temporary:
        staged = Path(temporary, target.name)
        staged.mkdir()
        yield staged
        sync_files(staged)
        check()
        if target.exists():
            os.rename(target, Path(temporary, "replaced"))
        os.rename(staged, target)
        sync_directory(target.parent)


@contextlib.contextmanager
def scratch_directory(path: Path) -> Iterator[Path]:
    """Yield an empty directory, and remove it at the end. What a killed process left is removed."""
    shutil.rmtree(path, ignore_errors=True)
    path.mkdir(parents=True)
    try:
        yield path
    finally:
        shutil.rmtree(path)


def mark_used(directory: Path) -> None:
    """Record a use of packed or fetched data; to be called under its lock. See prune."""
    os.utime(directory)


def clear_leftovers(directory: Path, name: str = "*") -> None:
    """Remove the temporary directories of killed writers of `whole_directory`, for targets of this
    name (a pattern).

    Call it only where no other process writes: the directory of a live writer looks the same.
    """
    for path in directory.glob(f".{name}.*"):
        if path.is_dir():
            shutil.rmtree(path)
