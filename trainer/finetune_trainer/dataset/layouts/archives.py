"""Archives beside the photos of a source: a class may be in one that nobody has unpacked."""

import posixpath
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.file_types import is_picture
from finetune_trainer.dataset.layouts.names import same_name
from finetune_trainer.dataset.layouts.source import Source

OPENED = (
    *(".zip", ".tar", ".tgz", ".tbz", ".tbz2", ".txz"),
    *(".tar.gz", ".tar.bz2", ".tar.xz"),
)
CLOSED = (
    *(".tar.zst", ".tzst", ".7z", ".rar", ".zipx", ".ace", ".lzh", ".z01", ".001"),
    *(".dmg", ".iso"),
)
INCOMPLETE = (".part", ".partial", ".crdownload", ".download", ".opdownload")
"""Endings of files that a browser is still downloading."""


class Member(NamedTuple):
    """A picture in an archive."""

    name: str
    """Its path within the archive."""
    size: int


def check_archives(source: Source) -> None:
    """Refuse archives of photos that are not in the source, and those that cannot be opened."""
    for file in source.tree:
        name = file.lower()
        stem, ending = posixpath.splitext(name)
        if ending in INCOMPLETE and stem.endswith(OPENED + CLOSED):
            raise _unused(f"{file} is not downloaded completely", "Download it again")
        if name.endswith(OPENED) and source.tree.state(file):
            _check_archive(source, file)


def _check_archive(source: Source, file: str) -> None:
    try:
        new = [
            each.name for each in _members(source.tree.root / file) if _is_new(source, file, each)
        ]
    except (OSError, zipfile.BadZipFile, tarfile.TarError, EOFError, ValueError) as error:
        raise _unused(
            f"{file} may have photos that are not in the source, and cannot be opened: {error}",
            "Download it again",
        ) from error
    if new:
        raise _unused(
            f"{file} is not unpacked, and has {len(new)} photos that are not in the source,"
            f" such as {new[0]}",
            "Unpack it",
        )


def closed_archives(source: Source) -> list[str]:
    """Return the archives that cannot be looked into."""
    return [file for file in source.tree if file.lower().endswith(CLOSED)]


def _members(archive: Path) -> Iterator[Member]:
    """Yield the pictures in an archive; raise an error of zipfile or tarfile if it is damaged."""
    if zipfile.is_zipfile(archive):
        with zipfile.ZipFile(archive) as opened:
            members = [Member(info.filename, info.file_size) for info in opened.infolist()]
    elif archive.suffix.lower() == ".zip":
        raise zipfile.BadZipFile("it is damaged, or cut off")
    else:
        with tarfile.open(archive) as tar:
            members = [Member(info.name, info.size) for info in tar]
    yield from (each for each in members if is_picture(each.name))


def _is_new(source: Source, file: str, member: Member) -> bool:
    """Return True if no photo of this name is in the same folder, or has the same size.

    Names such as 0001.jpg are in every class.
    """
    parent, name = posixpath.split(member.name)
    here = {posixpath.basename(parent)} if parent else _folders_meant(file)
    for path in source.index.with_name(name):
        if same_name(posixpath.basename(posixpath.dirname(path))) in map(same_name, here):
            return False
        state = source.tree.state(path)
        if state is not None and state.st_size == member.size:
            return False
    return True


def _folders_meant(file: str) -> set[str]:
    """Return the folders that an archive without folders may be unpacked into."""
    folder, name = posixpath.split(file)
    return {posixpath.basename(folder), name.partition(".")[0]}


def _unused(message: str, remedy: str) -> TrainerError:
    return TrainerError(
        ExitCode.InvalidData,
        f"dataset.source: {message}",
        f"{remedy}, or move it away; if it is the whole data set, name it in dataset.source.uri."
        " To leave it out, set dataset.layout.",
    )
