"""The end of a tar: damage must not look like it, or photos are lost without an error."""

import bz2
import gzip
import io
import lzma
import os
import shutil
import subprocess
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest
import zstandard

from tests.trainer.support.archives import (
    member,
    plain_tar,
    refusal,
    refuse,
    tar_of,
    unpack,
    unpack_with_warnings,
)
from tests.trainer.support.datasets import make_photos

NAMES = [f"{kind}/{number}.jpg" for number in range(3) for kind in ("cat", "dog")]
THIRD = 2 * 1536
"""The place of the third member's header."""
MEMBERS = len(NAMES) * 1536


def flipped(content: bytes, place: int) -> bytes:
    damaged = bytearray(content)
    damaged[place] ^= 1
    return bytes(damaged)


DAMAGED: dict[str, tuple[Callable[[bytes], bytes], str]] = {
    "a bit in a header": (lambda tar: flipped(tar, THIRD + 110), f"the header at byte {THIRD}"),
    "a cut in a header": (lambda tar: tar[: THIRD + 300], f"cut off in the header at byte {THIRD}"),
    "a cut between members": (lambda tar: tar[:THIRD], f"it ends at byte {THIRD} of the tar"),
    "a cut after the last member": (lambda tar: tar[:MEMBERS], f"it ends at byte {MEMBERS}"),
    "a cut in a member": (lambda tar: tar[: THIRD + 600], "unexpected end of data"),
    "a header of zeros": (
        lambda tar: tar[:THIRD] + bytes(512) + tar[THIRD + 512 :],
        f"goes on after its end at byte {THIRD} of the tar: there is more at byte {THIRD + 512}",
    ),
    "two tars in one file": (
        lambda tar: tar + plain_tar(["cat/9.jpg"]),
        f"goes on after its end at byte {MEMBERS} of the tar: there is more at byte 10240",
    ),
    "text after the end": (lambda tar: tar + b"the end\n", "there is more at byte 10240"),
}
COMPRESSIONS: dict[str, Callable[[bytes], bytes]] = {
    "tar": lambda content: content,
    "tar.gz": gzip.compress,
    "tar.bz2": bz2.compress,
    "tar.xz": lzma.compress,
    "tar.zst": zstandard.ZstdCompressor().compress,
}


def written(directory: Path, content: bytes) -> Path:
    (directory / "photos").write_bytes(content)
    return directory / "photos"


@pytest.mark.parametrize("compression", COMPRESSIONS)
@pytest.mark.parametrize("damage", DAMAGED)
def test_a_tar_whose_end_is_not_its_own_is_refused_with_the_byte(
    tmp_path: Path, damage: str, compression: str
) -> None:
    change, named = DAMAGED[damage]
    content = COMPRESSIONS[compression](change(plain_tar(NAMES)))
    assert named in refuse(written(tmp_path, content))


@pytest.mark.parametrize("compression", COMPRESSIONS)
def test_a_whole_tar_is_unpacked(tmp_path: Path, compression: str) -> None:
    content = unpack(written(tmp_path, COMPRESSIONS[compression](plain_tar(NAMES))))
    for number, name in enumerate(NAMES):
        assert (content / name).read_bytes() == bytes([number]) * 700


@pytest.mark.parametrize("compression", [name for name in COMPRESSIONS if name != "tar"])
def test_other_data_after_the_compressed_content_is_refused(
    tmp_path: Path, compression: str
) -> None:
    content = COMPRESSIONS[compression](plain_tar(NAMES))
    assert "has other data after its compressed content" in refuse(
        written(tmp_path, content + b"not compressed")
    )


@pytest.mark.parametrize("compression", [name for name in COMPRESSIONS if name != "tar"])
def test_a_tar_in_several_compressed_streams_is_unpacked(tmp_path: Path, compression: str) -> None:
    compress, tar = COMPRESSIONS[compression], plain_tar(NAMES)
    content = unpack(written(tmp_path, compress(tar[:4000]) + compress(tar[4000:])))
    assert sorted(path.name for path in content.rglob("*.jpg")) == sorted(
        name.split("/")[1] for name in NAMES
    )


@pytest.mark.parametrize("compression", [name for name in COMPRESSIONS if name != "tar"])
def test_a_compressed_tar_that_is_cut_is_refused(tmp_path: Path, compression: str) -> None:
    content = COMPRESSIONS[compression](plain_tar(NAMES))
    assert "dataset.source: the archive" in refuse(written(tmp_path, content[:-20]))


@pytest.mark.parametrize("compression", [name for name in COMPRESSIONS if name != "tar"])
def test_a_compressed_file_that_is_no_tar_has_a_remedy(tmp_path: Path, compression: str) -> None:
    error = refusal(written(tmp_path, COMPRESSIONS[compression](b"path,label\n" * 100)))
    assert "holds no tar" in error.message
    assert "tar -czf photos.tar.gz -C FOLDER ." in error.hint


def test_zeros_in_any_number_may_follow_the_end(tmp_path: Path) -> None:
    tar = plain_tar(NAMES)[: MEMBERS + 512]  # one block of zeros is a mark of the end
    for number, content in enumerate((tar, tar + bytes(100), tar + bytes(1 << 20))):
        folder = tmp_path / str(number)
        folder.mkdir()
        assert len(list(unpack(written(folder, content)).rglob("*.jpg"))) == len(NAMES)


def test_a_file_of_zeros_that_ends_a_member_is_not_the_end(tmp_path: Path) -> None:
    zeros, after = member("cat/zeros.jpg"), member("dog/1.jpg")
    zeros.size = 1 << 20
    assert (unpack(tar_of(zeros, after)(tmp_path)) / "dog/1.jpg").exists()


@pytest.mark.parametrize("style", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_cut_after_the_header_of_a_long_name_is_refused(tmp_path: Path, style: int) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=style) as tar:
        tar.addfile(member("cat/1.jpg"), io.BytesIO(bytes(5)))
        tar.addfile(member(f"cat/{'x' * 150}.jpg"), io.BytesIO(bytes(5)))
    assert "is cut off" in refuse(written(tmp_path, file.getvalue()[: 1024 + 1024]))


def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    archive = tar_of(member("cat/1.jpg"), member("dog/1.jpg"), member("./cat/1.jpg"))(tmp_path)
    error = refusal(archive)
    assert "has two members with one name: './cat/1.jpg'" in error.message
    assert "tar -r" in error.hint


def test_a_folder_may_come_twice(tmp_path: Path) -> None:
    folder = member("cat", tarfile.DIRTYPE)
    assert (unpack(tar_of(folder, member("cat/1.jpg"), folder)(tmp_path)) / "cat/1.jpg").exists()


def test_a_tar_with_a_label_is_unpacked(tmp_path: Path) -> None:
    archive = tar_of(member("Photos of 2024", b"V"), member("cat/1.jpg"))(tmp_path)
    assert [path.name for path in unpack(archive).iterdir()] == ["cat"]


@pytest.mark.parametrize("first", ["PKLot/empty/1.jpg", "BZh9/cat/1.jpg", "]/cat/1.jpg"])
def test_the_first_name_of_a_tar_may_look_like_another_archive(tmp_path: Path, first: str) -> None:
    assert (unpack(written(tmp_path, plain_tar([first]))) / first).exists()


def test_names_that_are_not_utf_8_keep_their_bytes_and_are_warned_of(tmp_path: Path) -> None:
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w", format=tarfile.GNU_FORMAT, encoding="latin-1") as tar:
        for name in ("M\xfcsli/1.jpg", "M\xfcsli/2.jpg", "bar/1.jpg"):
            tar.addfile(member(name), io.BytesIO(bytes(5)))
    content, warnings = unpack_with_warnings(written(tmp_path, file.getvalue()))
    assert b"M\xfcsli" in {bytes(path).rsplit(b"/")[-1] for path in content.iterdir()}
    assert len(warnings) == 1
    assert warnings[0].startswith(
        "dataset.source: file names in the archive may be wrong, as they are not in UTF-8: 2"
    )
    assert r"M\udcfcsli/1.jpg" in warnings[0]
    assert "convmv" in warnings[0]


def gnu_tar(*arguments: str, folder: Path) -> Path:
    """Return the tar that GNU tar makes: the remedies name its options."""
    subprocess.run(["tar", "-cf", folder.parent / "photos.tar", *arguments], cwd=folder, check=True)
    return folder.parent / "photos.tar"


@pytest.mark.parametrize(
    ("spoil", "made_with", "reason", "remedy"),
    [
        ("hard link", (), "a member that is a hard link", "-h --hard-dereference"),
        ("symbolic link", (), "a member that is a symbolic link", "-h --hard-dereference"),
        ("absolute", ("-P",), "a member that leaves the folder", "-C"),
        ("pipe", (), "a member that is a pipe", "--exclude"),
    ],
)
def test_the_remedy_of_a_refused_member_works(
    tmp_path: Path, spoil: str, made_with: tuple[str, ...], reason: str, remedy: str
) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 1, "dog": 1})
    {
        "hard link": lambda: (photos / "cat/also.jpg").hardlink_to(photos / "cat/0.jpg"),
        "symbolic link": lambda: (photos / "cat/also.jpg").symlink_to(photos / "cat/0.jpg"),
        "absolute": lambda: None,
        "pipe": lambda: os.mkfifo(photos / "cat/pipe"),
    }[spoil]()
    named = str(photos) if spoil == "absolute" else "."
    error = refusal(gnu_tar(*made_with, named, folder=photos))
    assert reason in error.message
    assert remedy in error.hint
    shutil.rmtree(tmp_path / "content")
    option = {"-C": ("-C", str(photos)), "--exclude": ("--exclude=cat/pipe",)}.get(
        remedy, tuple(remedy.split())
    )
    assert (unpack(gnu_tar(*option, ".", folder=photos)) / "cat/0.jpg").exists()
