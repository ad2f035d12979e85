import io
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finetune_trainer.contract import Framing
from finetune_trainer.dataset import photo
from finetune_trainer.dataset.photo import Encoded, Packing, decode_quickly, encode_photo
from finetune_trainer.dataset.resize import BILINEAR, resized
from PIL import Image

from tests.trainer.support.datasets import Pixels, as_ordinary_user, draw


def encode(path: Path, *, framing: Framing = "Crop", resize_short: int = 40) -> Encoded:
    return encode_photo(str(path), Packing(framing, resize_short, 95))


def pixels(encoded: Encoded) -> Pixels:
    assert encoded.reason == ""
    image = Image.open(io.BytesIO(encoded.jpeg))
    assert (image.format, image.mode) == ("JPEG", "RGB")
    return np.asarray(image)


def assert_looks_like(encoded: Encoded, image: Image.Image, *, tolerance: float = 4.0) -> None:
    shown = pixels(encoded).astype(float)
    expected = np.asarray(image.convert("RGB")).astype(float)
    assert shown.shape == expected.shape
    assert np.abs(shown - expected).mean() < tolerance


@pytest.mark.parametrize(
    ("name", "mode", "settings"),
    [
        ("photo.jpg", "RGB", {"quality": 95}),
        ("progressive.jpg", "RGB", {"quality": 95, "progressive": True}),
        ("grey.jpg", "L", {"quality": 95}),
        ("photo.png", "RGB", {}),
        ("opaque.png", "RGBA", {}),
        ("photo.webp", "RGB", {"lossless": True}),
        ("photo.bmp", "RGB", {}),
        ("photo.tiff", "RGB", {}),
        ("photo.avif", "RGB", {"quality": 95}),
        ("photo.jp2", "RGB", {}),
        ("grey.jp2", "L", {}),
        ("photo.j2k", "RGB", {"no_jp2": True}),
        ("png-named.jpg", "RGB", {"format": "PNG"}),
    ],
)
def test_usual_formats_keep_their_pixels(
    tmp_path: Path, name: str, mode: str, settings: dict[str, Any]
) -> None:
    image = draw(1).convert(mode)
    image.save(tmp_path / name, **settings)
    assert_looks_like(encode(tmp_path / name), image)


@pytest.mark.parametrize("name", ["photo.gif", "palette.png"])
def test_palettes_become_rgb(tmp_path: Path, name: str) -> None:
    image = draw(1).quantize(64)
    image.save(tmp_path / name)
    assert_looks_like(encode(tmp_path / name), image, tolerance=8)


def test_the_first_frame_of_a_moving_picture_is_used_and_noted(tmp_path: Path) -> None:
    first, second = draw(1).quantize(64), draw(2).quantize(64)
    first.save(tmp_path / "moving.gif", save_all=True, append_images=[second])
    encoded = encode(tmp_path / "moving.gif")
    assert_looks_like(encoded, first, tolerance=8)
    assert encoded.note == "first of 2 frames"


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P"])
def test_transparent_pixels_are_white_not_their_hidden_colour(tmp_path: Path, mode: str) -> None:
    image = Image.new("RGBA", (40, 40), (255, 0, 255, 0)).convert("RGBA")
    image.paste((0, 0, 0, 255), (0, 0, 40, 20))
    image = image.quantize(8) if mode == "P" else image.convert(mode)
    image.save(tmp_path / "cut-out.png")
    encoded = encode(tmp_path / "cut-out.png")
    shown = pixels(encoded)
    assert shown[:16].max() < 20
    assert shown[24:].min() > 235
    assert encoded.note == "transparency on white"


def test_a_transparent_colour_of_an_rgb_png_is_white(tmp_path: Path) -> None:
    image = Image.new("RGB", (40, 40), "magenta")
    image.paste("black", (0, 0, 40, 20))
    image.save(tmp_path / "key.png", transparency=(255, 0, 255))
    assert pixels(encode(tmp_path / "key.png"))[24:].min() > 235


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_photo_is_turned_as_its_camera_says(tmp_path: Path, orientation: int) -> None:
    upright = draw(3, size=(60, 40))
    stored = {
        1: lambda image: image,
        2: lambda image: image.transpose(Image.Transpose.FLIP_LEFT_RIGHT),
        3: lambda image: image.rotate(180),
        4: lambda image: image.transpose(Image.Transpose.FLIP_TOP_BOTTOM),
        5: lambda image: image.transpose(Image.Transpose.TRANSPOSE),
        6: lambda image: image.rotate(90, expand=True),
        7: lambda image: image.transpose(Image.Transpose.TRANSVERSE),
        8: lambda image: image.rotate(270, expand=True),
    }[orientation](upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(tmp_path / "photo.jpg", exif=exif, quality=95)
    assert_looks_like(encode(tmp_path / "photo.jpg"), upright)


def test_metadata_that_cannot_be_read_does_not_cost_the_photo(tmp_path: Path) -> None:
    draw(1).save(tmp_path / "photo.jpg", exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff", quality=95)
    assert_looks_like(encode(tmp_path / "photo.jpg"), draw(1))


def test_an_avif_is_turned_once(tmp_path: Path) -> None:
    upright, exif = draw(3, size=(60, 40)), Image.Exif()
    exif[0x0112] = 6
    turned = upright.rotate(90, expand=True)
    turned.save(tmp_path / "photo.avif", exif=exif, quality=95)
    assert_looks_like(encode(tmp_path / "photo.avif"), upright, tolerance=6)


@pytest.mark.parametrize("name", ["photo.NEF", "photo.dng"])
def test_a_camera_raw_file_is_not_decoded_to_its_preview(tmp_path: Path, name: str) -> None:
    draw(1).save(tmp_path / name, "TIFF")
    kind = name[-3:].upper()
    assert encode(tmp_path / name).reason == f"a camera raw file ({kind}): export it as JPEG"


@pytest.mark.parametrize("tag", [photo.DNG_VERSION, photo.SUBFILE_TYPE])
def test_a_raw_file_named_like_a_picture_is_not_decoded_to_its_preview(
    tmp_path: Path, tag: int
) -> None:
    draw(1).save(tmp_path / "photo.tif", tiffinfo={tag: 1})
    assert "a preview, as in a camera raw file" in encode(tmp_path / "photo.tif").reason


def test_sixteen_bit_grey_keeps_its_brightness(tmp_path: Path) -> None:
    ramp = np.linspace(0, 65535, 40 * 60).reshape(40, 60).astype(np.uint16)
    Image.fromarray(ramp).save(tmp_path / "deep.png")
    encoded = encode(tmp_path / "deep.png")
    assert_looks_like(encoded, Image.fromarray((ramp // 257).astype(np.uint8)))
    assert encoded.note == "16-bit grey"


def test_cmyk_becomes_rgb(tmp_path: Path) -> None:
    image = draw(1).convert("CMYK")
    image.save(tmp_path / "print.jpg", quality=95)
    encoded = encode(tmp_path / "print.jpg")
    assert_looks_like(encoded, image.convert("RGB"), tolerance=6)
    assert encoded.note == "CMYK"


@pytest.mark.parametrize(
    ("size", "expected"),
    [((400, 100), (160, 40)), ((100, 400), (40, 160)), ((10, 20), (40, 80))],
)
def test_the_shorter_side_gets_the_length(
    tmp_path: Path, size: tuple[int, int], expected: tuple[int, int]
) -> None:
    draw(1, size=size).save(tmp_path / "photo.png")
    height, width, _ = pixels(encode(tmp_path / "photo.png")).shape
    assert (width, height) == expected


def test_decoding_a_large_jpeg_small_changes_little(tmp_path: Path) -> None:
    large = draw(1, size=(1600, 1200))
    large.save(tmp_path / "large.jpg", quality=95)
    expected = large.resize((133, 100), Image.Resampling.BICUBIC)
    assert_looks_like(encode(tmp_path / "large.jpg", resize_short=100), expected, tolerance=3)


def noise(size: tuple[int, int]) -> Image.Image:
    width, height = size
    random = np.random.default_rng(1)
    return Image.fromarray(random.integers(0, 256, (height, width, 3), dtype=np.uint8))


@pytest.mark.parametrize(("name", "convert"), [("photo.png", "RGB"), ("print.jpg", "CMYK")])
def test_all_but_jpegs_for_screens_are_left_to_pillow(
    tmp_path: Path, name: str, convert: str
) -> None:
    noise((200, 150)).convert(convert).save(tmp_path / name)
    content = (tmp_path / name).read_bytes()
    with Image.open(io.BytesIO(content)) as image:
        assert decode_quickly(image, content) is None


JPEGS: list[dict[str, Any]] = [
    {},
    {"progressive": True},
    {"restart_marker_rows": 2},
    {"mode": "L"},
]


def noisy_jpeg(mode: str = "RGB", **settings: Any) -> bytes:
    encoded = io.BytesIO()
    noise((600, 400)).convert(mode).save(encoded, "JPEG", **settings)
    return encoded.getvalue()


DAMAGES: dict[str, Callable[[bytes, int], bytes]] = {
    "zeros in the middle": lambda jpeg, third: jpeg[:third] + bytes(third) + jpeg[2 * third :],
    "zeros at the end": lambda jpeg, third: jpeg[: 2 * third] + bytes(third),
    "the middle removed": lambda jpeg, third: jpeg[:third] + jpeg[2 * third :],
    "the middle repeated": lambda jpeg, third: jpeg[: 2 * third] + jpeg[third:],
    "the end cut off": lambda jpeg, third: jpeg[: 2 * third],
    "the end cut off before its mark": lambda jpeg, third: jpeg[: 2 * third] + b"\xff\xd9",
}


@pytest.mark.parametrize("settings", [*JPEGS, {"mode": "CMYK"}], ids=str)
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_jpeg_of_which_a_part_is_lost_is_rejected(
    tmp_path: Path, settings: dict[str, Any], damage: str
) -> None:
    whole = noisy_jpeg(**settings)
    (tmp_path / "photo.jpg").write_bytes(DAMAGES[damage](whole, len(whole) // 3))
    assert encode(tmp_path / "photo.jpg").reason.startswith("damaged or cut off (")


TABLES = b"\xff\xdb"
HARMLESS: dict[str, Callable[[bytes], bytes]] = {
    "bytes after the end": lambda jpeg: jpeg + b"junk" * 99,
    "zeros after the end": lambda jpeg: jpeg + bytes(5000),
    "stray bytes before the end": lambda jpeg: jpeg[:-2] + b"\1\2\3" + jpeg[-2:],
    "stray bytes in the header": lambda jpeg: jpeg.replace(TABLES, bytes(300) + TABLES, 1),
    "an unknown version": lambda jpeg: jpeg.replace(b"JFIF\0\1", b"JFIF\0\0", 1),
}


@pytest.mark.parametrize("settings", JPEGS, ids=str)
@pytest.mark.parametrize("oddity", HARMLESS)
def test_a_jpeg_of_which_no_pixel_is_lost_is_read(
    tmp_path: Path, settings: dict[str, Any], oddity: str
) -> None:
    whole = noisy_jpeg(**settings)
    (tmp_path / "whole.jpg").write_bytes(whole)
    (tmp_path / "odd.jpg").write_bytes(HARMLESS[oddity](whole))
    assert encode(tmp_path / "odd.jpg").content == encode(tmp_path / "whole.jpg").content != b""


@pytest.mark.parametrize(("old", "new"), [(b"\n", b"\r\n"), (b"\r", b"")], ids=["CR LF", "no CR"])
def test_a_jpeg_whose_line_ends_were_changed_is_rejected(
    tmp_path: Path, old: bytes, new: bytes
) -> None:
    (tmp_path / "text.jpg").write_bytes(noisy_jpeg(quality=92).replace(old, new))
    assert "changed as if it were text" in encode(tmp_path / "text.jpg").reason


@pytest.mark.parametrize("settings", JPEGS, ids=str)
def test_a_jpeg_that_lacks_its_end_mark_alone_is_read(
    tmp_path: Path, settings: dict[str, Any]
) -> None:
    (tmp_path / "whole.jpg").write_bytes(noisy_jpeg(**settings))
    (tmp_path / "endless.jpg").write_bytes(noisy_jpeg(**settings)[:-2])
    whole, endless = encode(tmp_path / "whole.jpg"), encode(tmp_path / "endless.jpg")
    assert endless.content == whole.content != b""


def test_a_huge_jpeg_is_left_to_pillow(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    noise((200, 150)).save(tmp_path / "photo.jpg")
    monkeypatch.setattr(photo, "MAX_QUICK", 200 * 150 - 1)
    with Image.open(tmp_path / "photo.jpg") as image:
        assert decode_quickly(image, (tmp_path / "photo.jpg").read_bytes()) is None


@pytest.mark.parametrize("size", [(200, 150), (201, 149), (1601, 1199), (20, 15)])
@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"mode": "L"},
        {"progressive": True},
        {"subsampling": "4:4:4"},
        {"subsampling": "4:2:2", "quality": 40},
    ],
    ids=str,
)
def test_an_undamaged_jpeg_is_decoded_to_the_pixels_of_pillow(
    tmp_path: Path, size: tuple[int, int], settings: dict[str, Any]
) -> None:
    path = tmp_path / "photo.jpg"
    noise(size).convert(settings.get("mode", "RGB")).save(path, **settings)
    with Image.open(path) as image:
        image.draft("RGB", (60, 45))
        quick = decode_quickly(image, path.read_bytes())
        assert quick is not None
        assert (quick.mode, quick.size) == ("RGB", image.size)
        assert quick.tobytes() == image.convert("RGB").tobytes()


@pytest.mark.parametrize(
    ("size", "width", "height"),
    [
        ((300, 300), 56, 56),
        ((400, 300), 56, 56),
        ((300, 400), 56, 56),
        ((600, 300), 56, 37),
        ((30, 120), 19, 56),
        ((400, 8), 56, 1),
    ],
)
def test_a_whole_picture_is_stretched_a_little_and_stands_on_white(
    tmp_path: Path, size: tuple[int, int], width: int, height: int
) -> None:
    Image.new("RGB", size, "black").save(tmp_path / "black.png")
    stored = pixels(encode(tmp_path / "black.png", framing="Whole", resize_short=64))
    assert stored.shape == (64, 64, 3)
    is_black = stored[..., 0] < 128
    top, left = (64 - height) // 2, (64 - width) // 2
    assert is_black[top : top + height, left : left + width].all()
    assert is_black.sum() == width * height
    assert (stored[~is_black] > 200).all()


def test_a_whole_picture_is_turned_upright(tmp_path: Path) -> None:
    picture, exif = draw(3, size=(120, 40)), Image.Exif()
    exif[0x0112] = 6
    picture.save(tmp_path / "turned.jpg", exif=exif, quality=95)
    picture.transpose(Image.Transpose.ROTATE_270).save(tmp_path / "upright.jpg", quality=95)
    turned, upright = (
        pixels(encode(tmp_path / f"{name}.jpg", framing="Whole", resize_short=64)).astype(int)
        for name in ("turned", "upright")
    )
    assert np.abs(turned - upright).mean() < 2


@pytest.mark.parametrize(
    ("size", "target"),
    [
        ((500, 375), (341, 256)),
        ((40, 60), (256, 384)),
        ((3000, 2400), (320, 256)),
        ((9, 9), (9, 9)),
    ],
)
def test_resizing_is_pillows_to_one_grey_level(
    size: tuple[int, int], target: tuple[int, int]
) -> None:
    picture = Image.effect_noise(size, 90).convert("RGB")
    expected = np.asarray(picture.resize(target, Image.Resampling.BILINEAR)).astype(int)
    shown = np.asarray(resized(picture, target, BILINEAR)).astype(int)
    assert np.abs(shown - expected).max() <= 1


def chunk(kind: bytes, body: bytes) -> bytes:
    check = struct.pack(">I", zlib.crc32(kind + body))
    return struct.pack(">I", len(body)) + kind + body + check


def bomb() -> bytes:
    """A PNG of 40,000 x 40,000 pixels in a few bytes."""
    header = struct.pack(">IIBBBBB", 40_000, 40_000, 8, 2, 0, 0, 0)
    start = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header)
    return start + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")


def jpeg() -> bytes:
    encoded = io.BytesIO()
    draw(1).save(encoded, "JPEG")
    return encoded.getvalue()


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "empty file"),
        (b"This is not a photo.", "not a picture: it begins with b'This is not a ph'"),
        (jpeg()[: len(jpeg()) * 2 // 3], "cut off (premature end of data segment): copy it again"),
        (jpeg()[:30], "Truncated"),
        (b"<!DOCTYPE html><html>", "not a picture"),
        (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n", "a PostScript file (EPS)"),
        (b"\0\0\0\x18ftypheic\0\0\0\0", "a HEIC photo: export it as JPEG"),
        (b"version https://git-lfs.github.com/spec/v1\n", "a Git LFS pointer"),
        (b"II*\0\x08\0\0\0\0\0", "a TIFF that is damaged or of a rare kind"),
        (bomb(), "40000 x 40000 pixels are more than 100 million"),
    ],
)
def test_a_file_that_is_no_photo_is_rejected_with_its_reason(
    tmp_path: Path, content: bytes, reason: str
) -> None:
    (tmp_path / "bad.jpg").write_bytes(content)
    encoded = encode(tmp_path / "bad.jpg")
    assert reason in encoded.reason
    assert encoded.jpeg == b""


@pytest.mark.parametrize("name", ["PNG", "GIF", "WEBP", "JPEG", "TIFF", "BMP", "AVIF", "JPEG2000"])
def test_no_damage_ends_the_process(tmp_path: Path, name: str) -> None:
    whole = io.BytesIO()
    draw(1).save(whole, name)
    random = np.random.default_rng(0)
    for _ in range(40):
        damaged = bytearray(whole.getvalue())
        for position in random.integers(0, len(damaged), 8):
            damaged[position] = random.integers(0, 256)
        (tmp_path / "photo").write_bytes(damaged)
        encoded = encode(tmp_path / "photo")
        assert bool(encoded.jpeg) != bool(encoded.reason)


def test_a_very_narrow_picture_is_no_photo(tmp_path: Path) -> None:
    Image.new("RGB", (2000, 10)).save(tmp_path / "ribbon.png")
    assert encode(tmp_path / "ribbon.png").reason == "2000 x 10 is too narrow to be a photo"


def test_floating_point_pixels_are_refused(tmp_path: Path) -> None:
    Image.new("F", (50, 50)).save(tmp_path / "float.tiff")
    assert "floating-point" in encode(tmp_path / "float.tiff").reason


def test_a_photo_that_was_deleted_is_rejected(tmp_path: Path) -> None:
    assert encode(tmp_path / "deleted.jpg").reason == "No such file or directory"


def test_a_photo_that_may_not_be_read_is_rejected(tmp_path: Path) -> None:
    draw(1).save(tmp_path / "closed.jpg")
    (tmp_path / "closed.jpg").chmod(0)
    with as_ordinary_user():
        assert encode(tmp_path / "closed.jpg").reason == "Permission denied"


def test_programs_are_not_reachable_as_decoders() -> None:
    assert "EPS" not in photo.FORMATS
