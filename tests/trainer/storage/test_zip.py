"""The table of a zip's members, and their names."""

import struct
import subprocess
import zipfile
import zlib
from pathlib import Path

import pytest
from finetune_trainer.storage.zip import zip_members

from tests.trainer.support.archives import (
    Make,
    refusal,
    refuse,
    unpack,
    unpack_with_warnings,
    zip_of,
)
from tests.trainer.support.datasets import make_photos


def names(content: Path) -> set[str]:
    return {str(path.relative_to(content)) for path in content.rglob("*") if path.is_file()}


def changed(archive: Path, *, record: bytes, offset: int, value: int, kind: str = "<H") -> Path:
    """Write a value into each record of a kind."""
    content = bytearray(archive.read_bytes())
    start = content.find(record)
    while start >= 0:
        struct.pack_into(kind, content, start + offset, value)
        start = content.find(record, start + 1)
    archive.write_bytes(content)
    return archive


def test_names_in_utf_8_need_no_flag(tmp_path: Path) -> None:
    archive = zip_of("K\xe4fer/1.jpg", "\u732b/1.jpg", encoding="utf-8")(tmp_path)
    content, warnings = unpack_with_warnings(archive)
    assert names(content) == {"K\xe4fer/1.jpg", "\u732b/1.jpg"}
    assert warnings == ()


def test_names_with_the_flag_for_utf_8_are_unpacked(tmp_path: Path) -> None:
    content, warnings = unpack_with_warnings(zip_of("K\xe4fer/1.jpg")(tmp_path))
    assert names(content) == {"K\xe4fer/1.jpg"}
    assert warnings == ()


@pytest.mark.parametrize("encoding", ["cp932", "gbk"])
def test_names_in_another_encoding_are_warned_of(tmp_path: Path, encoding: str) -> None:
    # The bytes of \u732b in gbk are valid UTF-8.
    paths = [f"{kind}/{number}.jpg" for kind in ("\u72d7", "\u732b") for number in range(5)]
    content, warnings = unpack_with_warnings(
        zip_of("cat/1.jpg", *paths, encoding=encoding)(tmp_path)
    )
    assert len(names(content)) == 11
    assert len(warnings) == 1
    shown = paths[0].encode(encoding).decode("cp437")
    assert warnings[0].startswith(
        "dataset.source: file names in the archive may be wrong, as they are not in UTF-8: 10"
    )
    assert shown in warnings[0]
    assert "7z a -mcu=on" in warnings[0]


def unicode_path(raw: bytes, name: str) -> bytes:
    body = struct.pack("<BL", 1, zlib.crc32(raw)) + name.encode()
    return struct.pack("<HH", 0x7075, len(body)) + body


def test_the_extra_field_of_info_zip_has_the_name(tmp_path: Path) -> None:
    other = struct.pack("<HHL", 0x5855, 4, 0)
    extra = other + unicode_path(b"K?fer/1.jpg", "K\xe4fer/1.jpg")
    content, warnings = unpack_with_warnings(
        zip_of("K?fer/1.jpg", extra=extra, encoding="ascii")(tmp_path)
    )
    assert names(content) == {"K\xe4fer/1.jpg"}
    assert warnings == ()


def test_the_extra_field_of_another_name_is_not_believed(tmp_path: Path) -> None:
    extra = unicode_path(b"another name", "K\xe4fer/1.jpg")
    archive = zip_of("cat/1.jpg", extra=extra, encoding="ascii")(tmp_path)
    assert names(unpack(archive)) == {"cat/1.jpg"}


def test_a_name_in_an_extra_field_cannot_leave_the_folder(tmp_path: Path) -> None:
    extra = unicode_path(b"cat/1.jpg", "../malicious.jpg")
    archive = zip_of("cat/1.jpg", extra=extra, encoding="ascii")(tmp_path)
    assert "leaves the folder: '../malicious.jpg'" in refuse(archive)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_name_that_comes_twice_is_refused(tmp_path: Path) -> None:
    archive = zip_of("cat/1.jpg", "dog/1.jpg", "cat/1.jpg")(tmp_path)
    assert "has two members with one name: 'cat/1.jpg'" in refuse(archive)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_a_folder_may_come_twice(tmp_path: Path) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name in ("cat/", "cat/1.jpg", "cat/"):
            opened.writestr(name, b"" if name.endswith("/") else b"12345")
    assert names(unpack(archive)) == {"cat/1.jpg"}


def test_fewer_members_than_the_end_says_are_refused(tmp_path: Path) -> None:
    archive = changed(
        zip_of("cat/1.jpg", "dog/1.jpg")(tmp_path), record=b"PK\5\6", offset=10, value=3
    )
    assert "it has 2 members, but its end says 3" in refuse(archive)


def test_more_than_65535_members_need_no_zip64(tmp_path: Path) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for number in range(65_537):
            opened.writestr(f"cat/{number}", b"")
    content = archive.read_bytes()
    start = content.rindex(b"PK\6\6")
    size, place = struct.unpack_from("<QQ", content, start + 40)
    end = struct.pack("<4sHHHHLLH", b"PK\5\6", 0, 0, 1, 1, size, place, 0)
    archive.write_bytes(content[:start] + end)
    with zip_members(archive, content[:64]) as members:
        assert sum(1 for _ in members) == 65_537


def over_4_gib(directory: Path) -> Path:
    """Return a zip as macOS makes it: places are modulo 4 GiB. Its file has holes."""
    archive = directory / "photos.zip"
    with zipfile.ZipFile(archive, "w") as opened:
        for name in ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg"):
            opened.writestr(name, name.encode())
    content = bytearray(archive.read_bytes())
    places = [opened.getinfo(name).header_offset for name in opened.namelist()]
    moved = [place + number * (3 << 30) for number, place in enumerate(places)]
    table = content.index(b"PK\1\2")
    entry = table
    for place in moved:
        struct.pack_into("<L", content, entry + 42, place % (1 << 32))
        entry = content.find(b"PK\1\2", entry + 1)
    struct.pack_into("<L", content, len(content) - 6, (table - places[-1] + moved[-1]) % (1 << 32))
    with open(archive, "wb") as file:
        for start, end, place in zip(places, [*places[1:], len(content)], moved, strict=True):
            file.seek(place)
            file.write(content[start:end])
    return archive


def test_a_zip_of_macos_over_4_gib_is_unpacked(tmp_path: Path) -> None:
    content = unpack(over_4_gib(tmp_path))
    for name in ("cat/1.jpg", "cat/2.jpg", "dog/1.jpg"):
        assert (content / name).read_text() == name


def test_two_zips_in_one_file_are_refused(tmp_path: Path) -> None:
    first = zip_of("cat/1.jpg")(tmp_path).read_bytes()
    second = zip_of("dog/1.jpg")(tmp_path).read_bytes()
    (tmp_path / "photos.zip").write_bytes(first + second)
    error = refusal(tmp_path / "photos.zip")
    assert f"has other content before its first member at byte {len(first)}" in error.message
    assert "make one archive" in error.hint


def test_a_zip_that_unpacks_itself_is_unpacked(tmp_path: Path) -> None:
    archive = zip_of("cat/1.jpg", "dog/1.jpg")(tmp_path)
    archive.write_bytes(b"MZ" + bytes(3000) + archive.read_bytes())
    assert names(unpack(archive)) == {"cat/1.jpg", "dog/1.jpg"}


def in_parts(directory: Path) -> list[Path]:
    for number in range(2):
        (directory / f"{number}.jpg").write_bytes(bytes(range(256)) * 400)
    subprocess.run(
        ["zip", "-q", "-0", "-s", "100k", "photos.zip", "0.jpg", "1.jpg"], cwd=directory, check=True
    )
    return [directory / "photos.z01", directory / "photos.zip"]


def test_a_part_of_a_zip_is_refused_with_a_remedy_that_works(tmp_path: Path) -> None:
    parts = in_parts(tmp_path)
    for part, reason in zip(parts, ("one part of several", "is the last part"), strict=True):
        error = refusal(part)
        assert reason in error.message
        assert "zip -s 0 photos.zip --out whole.zip" in error.hint
        (tmp_path / "content").rmdir()
    command = ["zip", "-q", "-s", "0", "photos.zip", "--out", "whole.zip"]
    subprocess.run(command, cwd=tmp_path, check=True)
    assert names(unpack(tmp_path / "whole.zip")) == {"0.jpg", "1.jpg"}


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
def test_the_methods_of_python_are_read(tmp_path: Path, method: int) -> None:
    archive = tmp_path / "photos.zip"
    with zipfile.ZipFile(archive, "w", method) as opened:
        opened.writestr("cat/1.jpg", b"12345" * 99)
    assert (unpack(archive) / "cat/1.jpg").read_bytes() == b"12345" * 99


@pytest.mark.parametrize(
    ("method", "named"), [(9, "Deflate64"), (93, "Zstandard"), (77, "method 77")]
)
def test_another_method_is_refused_by_its_name(tmp_path: Path, method: int, named: str) -> None:
    archive = zip_of("cat/1.jpg")(tmp_path)
    changed(archive, record=b"PK\1\2", offset=10, value=method)
    error = refusal(changed(archive, record=b"PK\3\4", offset=8, value=method))
    assert f"compressed with {named}, which is not supported: 'cat/1.jpg'" in error.message
    assert "7z a -mm=Deflate" in error.hint


@pytest.mark.parametrize(
    ("make", "remedy"),
    [
        (zip_of("/home/me/cat/1.jpg"), "zip -r ../photos.zip ."),
        (zip_of("cat/1.jpg", mode=0o120777), "without -y"),
        (zip_of("cat/1.jpg", mode=0o010644), "zip -x NAME"),
    ],
)
def test_each_cause_has_its_own_remedy(tmp_path: Path, make: Make, remedy: str) -> None:
    assert remedy in refusal(make(tmp_path)).hint


def test_a_zip_without_links_is_the_remedy_of_one_with_links(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 1, "dog": 1})
    (photos / "cat/also.jpg").symlink_to(photos / "cat/0.jpg")
    for options in ("-qry", "-qr"):
        (tmp_path / "photos.zip").unlink(missing_ok=True)
        subprocess.run(["zip", options, "../photos.zip", "."], cwd=photos, check=True)
        if options == "-qry":
            assert "a symbolic link" in refuse(tmp_path / "photos.zip")
            subprocess.run(["rm", "-r", tmp_path / "content"], check=True)
    assert "cat/also.jpg" in names(unpack(tmp_path / "photos.zip"))
