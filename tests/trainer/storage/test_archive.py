import os
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard
from finetune_trainer.storage import archive as archive_module
from finetune_trainer.storage.archive import without_wrapping

from tests.trainer.support.archives import member, refuse, tar_of, unpack, zip_of
from tests.trainer.support.datasets import make_photos


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (tar_of(member("../malicious.jpg")), "leaves the folder: '../malicious.jpg'"),
        (tar_of(member("cat/../../malicious.jpg")), "leaves the folder"),
        (tar_of(member("/tmp/malicious.jpg")), "leaves the folder: '/tmp/malicious.jpg'"),
        (tar_of(member("cat", tarfile.SYMTYPE, "/etc"), member("cat/x.jpg")), "symbolic link"),
        (tar_of(member("cat/x.jpg", tarfile.LNKTYPE, "/etc/passwd")), "hard link"),
        (tar_of(member("cat/null", tarfile.CHRTYPE)), "a device: 'cat/null'"),
        (tar_of(member("cat/pipe", tarfile.FIFOTYPE)), "a pipe"),
        (tar_of(member("cat"), member("cat/x.jpg")), "a name for a file and for a folder"),
        (tar_of(member("x" * 300)), "does not take (File name too long)"),
        (zip_of("../malicious.jpg"), "leaves the folder"),
        (zip_of("..\\malicious.jpg"), "leaves the folder"),
        (zip_of("/tmp/malicious.jpg"), "leaves the folder"),
        (zip_of("cat/link.jpg", mode=0o120777), "symbolic link: 'cat/link.jpg'"),
    ],
)
def test_an_archive_with_a_malicious_member_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], named: str
) -> None:
    assert named in refuse(make(tmp_path))


def test_an_archive_that_unpacks_to_far_more_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "MAX_FREE_OF_RATIO", 1 << 20)
    with zipfile.ZipFile(tmp_path / "bomb.zip", "w", zipfile.ZIP_DEFLATED) as opened:
        for number in range(4):
            opened.writestr(f"cat/{number}.bmp", bytes(1 << 20))
    assert "unpacks to more than 50 times its size" in refuse(tmp_path / "bomb.zip")
    written = sum(path.stat().st_size for path in (tmp_path / "content").rglob("*.bmp"))
    assert written <= 1 << 20


def test_too_many_members_are_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(archive_module, "MAX_MEMBERS", 3)
    archive = tar_of(*(member(f"cat/{number}.jpg") for number in range(4)))(tmp_path)
    assert "more than 3 members" in refuse(archive)


def truncated_gzip(directory: Path) -> Path:
    make_photos(directory / "photos", {"cat": 5})
    with tarfile.open(directory / "whole.tgz", "w:gz") as tar:
        tar.add(directory / "photos", "photos")
    whole = (directory / "whole.tgz").read_bytes()
    (directory / "photos.tgz").write_bytes(whole[: len(whole) // 2])
    return directory / "photos.tgz"


def damaged_zip(directory: Path) -> Path:
    make_photos(directory / "photos", {"cat": 1})
    with zipfile.ZipFile(directory / "photos.zip", "w") as opened:
        opened.write(directory / "photos/cat/0.jpg", "cat/0.jpg")
    content = bytearray((directory / "photos.zip").read_bytes())
    content[200] ^= 0xFF
    (directory / "photos.zip").write_bytes(content)
    return directory / "photos.zip"


def cut_zip(directory: Path) -> Path:
    archive = damaged_zip(directory)
    archive.write_bytes(archive.read_bytes()[:-30])
    return archive


def encrypted_zip(directory: Path) -> Path:
    archive = zip_of("cat/1.jpg")(directory)
    content = bytearray(archive.read_bytes())
    for signature, offset in ((b"PK\3\4", 6), (b"PK\1\2", 8)):
        struct.pack_into("<H", content, content.index(signature) + offset, 1)
    archive.write_bytes(content)
    return archive


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (truncated_gzip, "cannot be unpacked: Compressed file ended"),
        (damaged_zip, "cannot be unpacked: Bad CRC-32"),
        (cut_zip, "has no table of its members at the end"),
        (encrypted_zip, "file with a password"),
    ],
)
def test_a_damaged_archive_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], named: str
) -> None:
    assert named in refuse(make(tmp_path))


def test_a_web_page_is_no_archive(tmp_path: Path) -> None:
    (tmp_path / "photos.tar.gz").write_text("<!DOCTYPE html><title>Log in</title>")
    assert "it begins with b'<!DOCTYPE html><title>Lo'" in refuse(tmp_path / "photos.tar.gz")


def zstd_tar(directory: Path, content: bytes) -> Path:
    (directory / "photos.tar.zst").write_bytes(zstandard.ZstdCompressor().compress(content))
    return directory / "photos.tar.zst"


def test_a_tar_with_zstandard_is_unpacked(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 2, "dog": 1})
    with tarfile.open(tmp_path / "plain.tar", "w") as tar:
        tar.add(photos, ".")
    content = unpack(zstd_tar(tmp_path, (tmp_path / "plain.tar").read_bytes()))
    for name in ("cat/0.jpg", "cat/1.jpg", "dog/0.jpg"):
        assert (content / name).read_bytes() == (photos / name).read_bytes()


def malicious_zstd(directory: Path) -> Path:
    plain = tar_of(member("cat/1.jpg"), member("../malicious.jpg"))(directory)
    return zstd_tar(directory, plain.read_bytes())


def cut_zstd(directory: Path) -> Path:
    make_photos(directory / "photos", {"cat": 5})
    with tarfile.open(directory / "plain.tar", "w") as tar:
        tar.add(directory / "photos", "photos")
    archive = zstd_tar(directory, (directory / "plain.tar").read_bytes())
    archive.write_bytes(archive.read_bytes()[: archive.stat().st_size // 2])
    return archive


def damaged_zstd(directory: Path) -> Path:
    archive = cut_zstd(directory)
    content = bytearray(archive.read_bytes())
    content[6:400] = b"\xff" * 394
    archive.write_bytes(content)
    return archive


def greedy_zstd(directory: Path) -> Path:
    settings = zstandard.ZstdCompressionParameters(window_log=28)
    compressor = zstandard.ZstdCompressor(compression_params=settings).compressobj()
    (directory / "photos.tar.zst").write_bytes(
        compressor.compress(bytes(4096)) + compressor.flush()
    )
    return directory / "photos.tar.zst"


def no_tar_zstd(directory: Path) -> Path:
    return zstd_tar(directory, b"no tar, but long enough to be one" * 100)


@pytest.mark.parametrize(
    ("make", "named"),
    [
        (malicious_zstd, "leaves the folder: '../malicious.jpg'"),
        (cut_zstd, "only the beginning of one"),
        (damaged_zstd, "cannot be unpacked"),
        (greedy_zstd, "cannot be unpacked"),
        (no_tar_zstd, "holds no tar"),
    ],
)
def test_a_malicious_or_damaged_zstandard_tar_is_refused(
    tmp_path: Path, make: Callable[[Path], Path], named: str
) -> None:
    assert named in refuse(make(tmp_path))


def test_a_zstandard_tar_that_unpacks_to_far_more_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archive_module, "MAX_FREE_OF_RATIO", 1 << 20)
    info = member("cat/1.bmp")
    info.size = 4 << 20
    plain = tar_of(info)(tmp_path)
    archive = zstd_tar(tmp_path, plain.read_bytes())
    assert "unpacks to more than 50 times its size" in refuse(archive)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_tar_files_are_recognised_by_content(tmp_path: Path, mode: str) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 2, "dog": 1})
    with tarfile.open(tmp_path / "download", mode) as tar:  # type: ignore[call-overload]
        tar.add(photos, ".")
    content = unpack(tmp_path / "download")
    for name in ("cat/0.jpg", "cat/1.jpg", "dog/0.jpg"):
        assert (content / name).read_bytes() == (photos / name).read_bytes()


def test_a_zip_made_on_windows_has_folders(tmp_path: Path) -> None:
    assert (unpack(zip_of("cat\\1.jpg")(tmp_path)) / "cat/1.jpg").read_bytes() == b"12345"


@pytest.mark.parametrize(
    ("files", "root"),
    [
        (["cat/1.jpg", "dog/1.jpg"], "."),
        (["photos/cat/1.jpg", "photos/dog/1.jpg"], "photos"),
        (["photos/v2/cat/1.jpg", "photos/v2/dog/1.jpg"], "photos/v2"),
        (["photos/cat/1.jpg", "photos/dog/1.jpg", "__MACOSX/photos/._x", ".DS_Store"], "photos"),
        (["photos/cat/1.jpg", "photos/dog/1.jpg", "readme.txt"], "photos"),
        (["photos/cat/1.jpg", "photos/dog/1.jpg", "README.md", "LICENSE", "Thumbs.db"], "photos"),
        (["photos/cat/1.jpg", "photos/dog/1.jpg", "README.roboflow.txt", "paper.pdf"], "photos"),
        (["photos/cat/1.jpg", "photos/dog/1.jpg", "desktop.ini", "@eaDir/x.jpg"], "photos"),
        (["photos/cat/1.jpg", "photos/dog/1.jpg", "labels.csv"], "."),
        (["photos/cat/1.jpg", "photos/dog/1.jpg", "classes.txt"], "."),
        (["photos/cat/1.jpg", "photos/dog/1.jpg", "train.rec"], "."),
        (["photos/cat/1.jpg", "photos/dog/1.jpg", "more.zip"], "."),
        (["photos/cat/1.jpg", "photos/dog/1.jpg", "extra.jpg"], "."),
        (["photos/cat/1.jpg", "photos/dog/1.jpg", "license-plates.csv"], "."),
        (["photos/cat/1.jpg", "photos/dog/1.jpg", "readme.jpg"], "."),
        (["photos/cat/1.jpg", "photos/dog/1.jpg", "annotations.json"], "."),
        (["photos/cat/1.jpg", "photos/dog/1.jpg", "README.md", "more/1.jpg"], "."),
        (["cat/1.jpg"], "."),
        ([], "."),
    ],
)
def test_the_folder_around_everything_is_stepped_into(
    tmp_path: Path, files: list[str], root: str
) -> None:
    for name in files:
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    assert os.path.relpath(without_wrapping(tmp_path), tmp_path) == root
