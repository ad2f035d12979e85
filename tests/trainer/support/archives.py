"""Archives as people have them, whole and damaged, and what becomes of them."""

import io
import tarfile
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path

import pytest
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.storage.archive import extract

from tests.trainer.support.datasets import make_run

Make = Callable[[Path], Path]
"""Writes an archive into a folder, and returns its path."""


def unpack(archive: Path) -> Path:
    """Return the folder with the archive's content."""
    content, _ = unpack_with_warnings(archive)
    return content


def unpack_with_warnings(archive: Path) -> tuple[Path, tuple[str, ...]]:
    """Return the folder with the archive's content, and what the user is warned of."""
    content = archive.parent / "content"
    content.mkdir()
    run = make_run(archive.parent.parent / "workspace", source={"uri": "x"}).run
    return content, extract(archive, content, field="dataset.source", run=run)


def refusal(archive: Path) -> TrainerError:
    """Return the error; nothing may appear outside the folder."""
    before = set(archive.parent.rglob("*"))
    with pytest.raises(TrainerError) as caught:
        unpack(archive)
    assert caught.value.code == ExitCode.InvalidData
    outside = set(archive.parent.rglob("*")) - before - {archive.parent / "content"}
    assert all(path.is_relative_to(archive.parent / "content") for path in outside)
    return caught.value


def refuse(archive: Path) -> str:
    """Return the message of the error; nothing may appear outside the folder."""
    return refusal(archive).message


def tar_of(*members: tarfile.TarInfo) -> Make:
    """Return the maker of a tar with these members, whose files hold zeros."""

    def write(directory: Path) -> Path:
        with tarfile.open(directory / "photos.tar", "w") as tar:
            for member in members:
                tar.addfile(member, io.BytesIO(bytes(member.size)))
        return directory / "photos.tar"

    return write


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    """Return a member of a tar: a file of 5 bytes, or something else."""
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = 5 if kind == tarfile.REGTYPE else 0
    return info


def plain_tar(names: Iterable[str]) -> bytes:
    """Return a tar of files with 700 bytes each; a member's header is at a multiple of 1,536."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = 700
            tar.addfile(info, io.BytesIO(bytes([number]) * 700))
    return file.getvalue()


def zip_of(*names: str, mode: int = 0, extra: bytes = b"", encoding: str | None = None) -> Make:
    """Return the maker of a zip with these names; an encoding means no flag for UTF-8."""

    class Info(zipfile.ZipInfo):
        def _encodeFilenameFlags(self) -> tuple[bytes, int]:
            return self.filename.encode(encoding or "utf-8"), self.flag_bits & ~0x800

    def write(directory: Path) -> Path:
        with zipfile.ZipFile(directory / "photos.zip", "w") as opened:
            for name in names:
                info = Info(name) if encoding else zipfile.ZipInfo(name)
                info.external_attr, info.extra = mode << 16, extra
                opened.writestr(info, b"12345")
        return directory / "photos.zip"

    return write
