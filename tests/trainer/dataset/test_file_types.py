import io
import os
from pathlib import Path

import pytest
from finetune_trainer.dataset.file_types import Unreadable, kind_of
from PIL import Image

from tests.trainer.support.datasets import draw


def content(image: Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


@pytest.mark.parametrize("name", ["a.jpg", "a.JPEG", "a.tiff", "a.heic", "a.jp2", "a.avif"])
def test_a_file_named_like_a_picture_is_a_photo_without_being_opened(name: str) -> None:
    assert kind_of("/does/not/exist", name) == "photo"


@pytest.mark.parametrize(
    "kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP", "TIFF", "PPM", "JPEG2000", "AVIF"]
)
@pytest.mark.parametrize("name", ["photo", "photo.jpg_1200x800", "photo.jpg@640w", "photo.jpg.1"])
def test_first_bytes_of_a_picture_make_a_photo_of_any_name(
    tmp_path: Path, kind: str, name: str
) -> None:
    (tmp_path / name).write_bytes(content(draw(1), kind))
    assert kind_of(str(tmp_path / name), name) == "photo"


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("a.CR2", "a camera raw file (CR2): export it as JPEG"),
        ("a.nef", "a camera raw file (NEF): export it as JPEG"),
        ("a.dng", "a camera raw file (DNG): export it as JPEG"),
        ("a.svg", "a drawing (SVG): export it as PNG"),
        ("a.psd", "a Photoshop file (PSD): export it as JPEG"),
        ("a.MOV", "a video: extract still pictures, or remove it"),
        ("a.tga", "a Targa picture (TGA): export it as PNG"),
        ("a.pcx", "a PCX picture: export it as PNG"),
        ("a.nii", "a NIfTI volume: export it as PNG"),
        ("a.nii.gz", "a compressed photo: unpack it"),
        ("a.JPG.gz", "a compressed photo: unpack it"),
        (".a.heic.icloud", "a photo that is only in iCloud: download it, and copy it again"),
        (
            "a.jpg.nextcloud",
            "a photo that is only in the cloud: make it available offline, and copy it again",
        ),
        ("a.jpg.lnk", "a link to a photo: copy the photo itself"),
        ("my cat.jpg - Shortcut.lnk", "a link to a photo: copy the photo itself"),
        ("a.jpg.dvc", "a photo that DVC keeps: run `dvc pull` where you copied it from"),
        ("a.png.gpg", "an encrypted photo: decrypt it"),
    ],
)
def test_a_name_of_an_unreadable_picture_gives_its_type_and_the_remedy(
    name: str, reason: str
) -> None:
    kind = kind_of("/does/not/exist", name)
    assert isinstance(kind, Unreadable)
    assert kind.reason == reason


@pytest.mark.parametrize(
    ("head", "type_name"),
    [
        (b"II*\0\x10\0\0\0CR\2\0", "a camera raw file (CR2)"),
        (b"\0\0\0\x18ftypcrx \0\0\0\1", "a camera raw file (CR3)"),
        (b"FUJIFILMCCD-RAW 0201", "a camera raw file (RAF)"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC photo"),
        (b"\0\0\0\x1cftypmif1\0\0\0\0mif1heic", "a HEIC photo"),
        (b"\0\0\0\x20ftypisom\0\0\2\0", "a video"),
        (b"\0\0\0\x14ftypqt  \0\0\2\0", "a video"),
        (b"RIFF\x10\0\0\0AVI LIST", "a video"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>\n<!-- x --><svg width='1'>", "a drawing (SVG)"),
        (b"8BPS\0\1", "a Photoshop file (PSD)"),
        (b"%PDF-1.7", "a PDF document"),
        (b"\xff\x0a\x7a", "a JPEG XL photo"),
        (bytes(128) + b"DICM\2\0", "a DICOM file"),
        (b"\0\0\1\0\2\0", "an icon file (ICO)"),
        (b"\x01\xda\1\1\0\2", "an SGI picture"),
        (b"\xd7\xcd\xc6\x9a\0\0", "a drawing (WMF)"),
        (b"\x5c\1\0\0" + bytes(340) + b"n+1\0", "a NIfTI volume"),
        (b"ObjectType = Image\n", "a MetaImage volume"),
        (b"book\0\0\0\0mark\0\0\0\0", "a link to a photo"),
        (b"L\0\0\0\1\x14\2\0" + bytes(60) + b"C:\\cat.JPG\0", "a link to a photo"),
        (b"L\0\0\0\1\x14\2\0" + "C:\\cat.jpeg".encode("utf-16-le"), "a link to a photo"),
    ],
)
def test_first_bytes_of_an_unreadable_picture_give_its_type(
    tmp_path: Path, head: bytes, type_name: str
) -> None:
    (tmp_path / "file").write_bytes(head + bytes(40))
    kind = kind_of(str(tmp_path / "file"), "file")
    assert isinstance(kind, Unreadable)
    assert kind.type_name == type_name


def test_an_avif_by_a_general_brand_is_a_photo(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"\0\0\0\x1cftypmif1\0\0\0\0mif1avif")
    assert kind_of(str(tmp_path / "file"), "file") == "photo"


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("notes.txt", b"The wide dog"),
        ("labels.csv", b"path,label\n"),
        ("fox.zip", b"PK\3\4"),
        ("page.html", b"<!DOCTYPE html><html><svg>"),
        ("model", b"P1 is the first patient"),
        ("empty", b""),
        ("zeros", bytes(2000)),
        ("labels.csv.gz", b"\x1f\x8b"),
        ("our site.url", b"[InternetShortcut]"),
        ("our program.lnk", b"L\0\0\0\1\x14\2\0" + bytes(60) + b"C:\\program.exe\0"),
        ("a.jpg.json", b"{}"),
    ],
)
def test_other_files_are_no_pictures(tmp_path: Path, name: str, head: bytes) -> None:
    (tmp_path / name).write_bytes(head)
    assert kind_of(str(tmp_path / name), name) is None


@pytest.mark.parametrize("name", ["a.jpg.gz", "a.jpg.url", "a.jpg - Shortcut.lnk"])
def test_what_stands_for_a_photo_is_no_picture_beside_it(tmp_path: Path, name: str) -> None:
    (tmp_path / name).touch()
    assert isinstance(kind_of(str(tmp_path / name), name), Unreadable)
    (tmp_path / "a.jpg").touch()
    assert kind_of(str(tmp_path / name), name) is None


def test_a_copy_of_rsync_that_was_not_finished_is_a_photo(tmp_path: Path) -> None:
    (tmp_path / ".a.jpg.x3fQ0a").write_bytes(bytes(2000))
    assert kind_of(str(tmp_path / ".a.jpg.x3fQ0a"), ".a.jpg.x3fQ0a") == "photo"


def test_what_cannot_be_read_is_no_picture(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "folder").mkdir()
    for name in ("pipe", "folder", "missing"):
        assert kind_of(str(tmp_path / name), name) is None
