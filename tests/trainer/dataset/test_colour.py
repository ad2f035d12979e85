"""Pictures of every kind of pixels get the brightness that people see."""

import io
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finetune_trainer.dataset.photo import Encoded, Packing, encode_photo
from PIL import Image, ImageDraw

from tests.trainer.support.datasets import Pixels
from tests.trainer.support.hostile import chunk

RAMP = np.tile(np.linspace(0, 255, 60).astype(np.uint16), (40, 1))
"""Grey from black to white."""
WHITE_IS_ZERO, MAX_VALUE, SIGNED_MAX_VALUE = {262: 0}, {281: 4095}, {341: 4095}


def encode(path: Path) -> Encoded:
    return encode_photo(str(path), Packing("Crop", 40, 95))


def grey(encoded: Encoded) -> Pixels:
    assert encoded.reason == ""
    return np.asarray(Image.open(io.BytesIO(encoded.jpeg)).convert("L")).astype(int)


def assert_is_the_ramp(encoded: Encoded) -> None:
    assert np.abs(grey(encoded) - RAMP).max() <= 4


def tiff(values: bytes, *, photometric: int, bits: int = 16, signed: bool = False) -> bytes:
    """Return an uncompressed big-endian TIFF of RAMP's size."""
    height, width = RAMP.shape
    tags = {256: width, 257: height, 258: bits, 259: 1, 262: photometric, 277: 1, 278: height}
    tags |= {279: len(values), 339: 2 if signed else 1}
    tags[273] = 8 + 2 + 12 * (len(tags) + 1) + 4
    entries = (struct.pack(">HHII", tag, 4, 1, tags[tag]) for tag in sorted(tags))
    start = struct.pack(">2sHIH", b"MM", 42, 8, len(tags))
    return start + b"".join(entries) + bytes(4) + values


def packed_12_bits(values: Any) -> bytes:
    pairs = values.astype(int).reshape(-1, 2)
    return b"".join(int(a << 12 | b).to_bytes(3) for a, b in pairs)


@pytest.mark.parametrize(
    ("values", "tags"),
    [
        (RAMP * 257, {}),
        (65535 - RAMP * 257, WHITE_IS_ZERO),
        (RAMP * 16 + RAMP // 16, MAX_VALUE),
        (RAMP * 16 + RAMP // 16, SIGNED_MAX_VALUE),
        (RAMP * 257, MAX_VALUE),
    ],
    ids=["16 bits", "white is zero", "12 bits", "12 bits, signed", "a wrong largest value"],
)
def test_16_bit_grey_of_a_tiff_has_its_declared_brightness(
    tmp_path: Path, values: Pixels, tags: dict[int, int]
) -> None:
    Image.fromarray(values.astype(np.uint16)).save(tmp_path / "deep.tif", tiffinfo=tags)
    encoded = encode(tmp_path / "deep.tif")
    assert_is_the_ramp(encoded)
    assert encoded.note == "16-bit grey"


@pytest.mark.parametrize(
    "content",
    [
        tiff((65535 - RAMP * 257).astype(">u2").tobytes(), photometric=0),
        tiff(packed_12_bits(RAMP * 16), photometric=1, bits=12),
        tiff(packed_12_bits(4095 - RAMP * 16), photometric=0, bits=12),
        tiff((RAMP * 128).astype(">i2").tobytes(), photometric=1, signed=True),
    ],
    ids=["white is zero", "12 bits", "12 bits, white is zero", "signed"],
)
def test_big_endian_grey_has_its_declared_brightness(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "deep.tif").write_bytes(content)
    assert_is_the_ramp(encode(tmp_path / "deep.tif"))


def test_negative_pixels_are_refused_with_the_remedy(tmp_path: Path) -> None:
    values = (RAMP.astype(int) * 16 - 1000).astype(">i2").tobytes()
    (tmp_path / "ct.tif").write_bytes(tiff(values, photometric=1, signed=True))
    reason = "negative pixels have no defined brightness: export it with 8 bits"
    assert encode(tmp_path / "ct.tif").reason == reason


@pytest.mark.parametrize(
    ("values", "note"),
    [
        ((RAMP * 16).astype(np.uint16), "16-bit grey, nearly black"),
        ((RAMP * 64).astype(np.uint16), "16-bit grey, nothing brighter than 1/4"),
        ((RAMP > 99).astype(np.uint8), "nearly black"),
        ((RAMP // 5).astype(np.uint8), ""),
    ],
    ids=["12 bits", "14 bits", "mask", "night"],
)
def test_a_picture_that_is_much_too_dark_is_noted(
    tmp_path: Path, values: Pixels, note: str
) -> None:
    Image.fromarray(values).save(tmp_path / "dark.png")
    assert encode(tmp_path / "dark.png").note == note


def deep_png(values: Any) -> bytes:
    """Return a 16-bit PNG, grey with opacity or RGB."""
    height, width, colours = values.shape
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in values)
    kind = {2: 4, 3: 2}[colours]
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 16, kind, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + body


def planes(*, deep: bool, compressed: bool, separate: bool = True) -> bytes:
    """Return a big-endian TIFF of RAMP in three colours, with a plane for each."""
    height, width = RAMP.shape
    values = (RAMP * 257).astype(">u2") if deep else RAMP.astype(np.uint8)
    pack = zlib.compress if compressed else bytes
    strips = [pack(values.tobytes())] * 3 if separate else [pack(np.repeat(values, 3).tobytes())]
    tags = {256: [width], 257: [height], 258: [16 if deep else 8] * 3}
    tags |= {259: [8 if compressed else 1], 262: [2], 277: [3], 278: [height]}
    tags |= {273: [0] * len(strips), 279: [len(strip) for strip in strips]}
    tags[284] = [2 if separate else 1]
    end = 8 + 2 + 12 * len(tags) + 4
    place = end + 4 * sum(len(each) for each in tags.values() if len(each) > 1)
    tags[273] = [place + sum(map(len, strips[:n])) for n in range(len(strips))]
    entries = arrays = b""
    for tag in sorted(tags):
        content = struct.pack(f">{len(tags[tag])}I", *tags[tag])
        if len(tags[tag]) > 1:
            arrays, content = arrays + content, struct.pack(">I", end + len(arrays))
        entries += struct.pack(">HHI", tag, 4, len(tags[tag])) + content
    start = struct.pack(">2sHIH", b"MM", 42, 8, len(tags))
    return start + entries + bytes(4) + arrays + b"".join(strips)


@pytest.mark.parametrize(("deep", "compressed"), [(False, False), (True, True)])
def test_planes_of_colours_are_read(tmp_path: Path, deep: bool, compressed: bool) -> None:
    (tmp_path / "planes.tif").write_bytes(planes(deep=deep, compressed=compressed))
    assert_is_the_ramp(encode(tmp_path / "planes.tif"))


def test_16_bit_colours_are_read(tmp_path: Path) -> None:
    (tmp_path / "deep.tif").write_bytes(planes(deep=True, compressed=False, separate=False))
    assert_is_the_ramp(encode(tmp_path / "deep.tif"))


def test_planes_that_no_decoder_here_reads_are_refused_with_the_remedy(tmp_path: Path) -> None:
    (tmp_path / "planes.tif").write_bytes(planes(deep=True, compressed=False))
    Image.fromarray(RAMP * 257).save(tmp_path / "plane.tif", tiffinfo={284: 2})
    reason = "an uncompressed 16-bit TIFF in separate planes: export it with 8 bits, or interleaved"
    assert encode(tmp_path / "planes.tif").reason == encode(tmp_path / "plane.tif").reason == reason


DARK = {
    "14 bits in a colour PNG": deep_png(np.dstack([RAMP * 64] * 3)),
    "14 bits in a grey PNG with opacity": deep_png(np.dstack([RAMP * 64, RAMP * 0 + 65535])),
    "14 bits in a colour PPM": b"P6 60 40 65535\n"
    + np.dstack([RAMP * 64] * 3).astype(">u2").tobytes(),
    "14 bits in a grey PPM": b"P5 60 40 65535\n" + (RAMP * 64).astype(">u2").tobytes(),
}


@pytest.mark.parametrize("name", DARK)
def test_16_bits_of_which_few_are_used_are_noted_in_every_form(tmp_path: Path, name: str) -> None:
    (tmp_path / "dark").write_bytes(DARK[name])
    assert "nothing brighter than 1/4" in encode(tmp_path / "dark").note


@pytest.mark.parametrize(("most", "note"), [(63, "nothing brighter than 1/4"), (255, "")])
def test_a_tiff_that_declares_few_bits_of_8_is_noted(tmp_path: Path, most: int, note: str) -> None:
    dark = Image.fromarray((RAMP // 4).astype(np.uint8))
    dark.save(tmp_path / "dark.tif", tiffinfo={281: most})
    assert encode(tmp_path / "dark.tif").note == note


def test_16_bit_colours_that_use_their_range_are_not_noted(tmp_path: Path) -> None:
    (tmp_path / "bright.png").write_bytes(deep_png(np.dstack([RAMP * 257] * 3)))
    assert encode(tmp_path / "bright.png").note == ""


def png(values: Any, *chunks: bytes) -> bytes:
    """Return an 8-bit grey PNG."""
    height, width = values.shape
    rows = b"".join(b"\0" + row.astype(np.uint8).tobytes() for row in values)
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0))
    body = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + head + b"".join(chunks) + body


def test_linear_light_of_a_png_is_brightened(tmp_path: Path) -> None:
    linear = np.rint((RAMP / 255) ** 2.2 * 255)
    (tmp_path / "linear.png").write_bytes(png(linear, chunk(b"gAMA", struct.pack(">I", 100_000))))
    encoded = encode(tmp_path / "linear.png")
    assert np.abs(grey(encoded) - RAMP).mean() < 4
    assert encoded.note == "gamma 1"


@pytest.mark.parametrize(
    "chunks",
    [
        (chunk(b"gAMA", struct.pack(">I", 45_455)),),
        (chunk(b"sRGB", b"\0"), chunk(b"gAMA", struct.pack(">I", 100_000))),
    ],
    ids=["usual", "sRGB comes first"],
)
def test_the_usual_gamma_changes_nothing(tmp_path: Path, chunks: tuple[bytes, ...]) -> None:
    (tmp_path / "usual.png").write_bytes(png(RAMP, *chunks))
    encoded = encode(tmp_path / "usual.png")
    assert_is_the_ramp(encoded)
    assert encoded.note == ""


def icon(colour: tuple[int, int, int, int]) -> Image.Image:
    """Return a disc on a transparent ground."""
    picture = Image.new("RGBA", (40, 40), (255, 255, 255, 0))
    ImageDraw.Draw(picture).ellipse((5, 5, 30, 30), fill=colour)
    return picture


ON_WHITE, ON_BLACK = "transparency on white", "transparency on black: it is nearly white"


@pytest.mark.parametrize(
    ("colour", "note"),
    [
        ((255, 255, 255, 255), ON_BLACK),
        ((250, 248, 245, 255), ON_BLACK),
        ((255, 255, 255, 100), ON_BLACK),
        ((255, 255, 0, 255), ON_WHITE),
        ((0, 0, 0, 255), ON_WHITE),
        ((0, 0, 0, 14), ON_WHITE),
    ],
    ids=["white", "cream", "half-transparent", "yellow", "black", "faint shadow"],
)
def test_a_transparent_picture_stands_on_the_ground_that_shows_it(
    tmp_path: Path, colour: tuple[int, int, int, int], note: str
) -> None:
    icon(colour).save(tmp_path / "icon.png")
    encoded = encode(tmp_path / "icon.png")
    assert encoded.note == note
    shown = grey(encoded)
    assert shown.max() - shown.min() > 10


@pytest.mark.parametrize(
    ("name", "convert"),
    [
        ("icon.png", lambda image: image.convert("LA")),
        ("icon.gif", lambda image: image),
        ("icon.webp", lambda image: image),
        ("palette.png", lambda image: image.quantize(4)),
    ],
)
def test_a_white_icon_is_seen_in_every_format(tmp_path: Path, name: str, convert: Any) -> None:
    convert(icon((255, 255, 255, 255))).save(tmp_path / name)
    encoded = encode(tmp_path / name)
    assert encoded.note == ON_BLACK
    assert grey(encoded).max() - grey(encoded).min() > 200


def test_a_picture_without_a_visible_pixel_is_refused(tmp_path: Path) -> None:
    Image.new("RGBA", (40, 40), (200, 30, 90, 0)).save(tmp_path / "empty.png")
    reason = "every pixel is transparent: export it without transparency"
    assert encode(tmp_path / "empty.png").reason == reason
