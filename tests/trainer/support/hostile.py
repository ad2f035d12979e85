"""Unusual and malicious files that may be given as photos, and the expected fate of each.

`python -m tests.trainer.support.hostile DIR` writes them, to be inspected by hand.
"""

import io
import struct
import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from tests.trainer.support.datasets import draw

Make = Callable[[], bytes]


def saved(image: Image.Image, kind: str, **settings: Any) -> bytes:
    """Return the file of a picture."""
    file = io.BytesIO()
    image.save(file, kind, **settings)
    return file.getvalue()


def chunk(kind: bytes, body: bytes) -> bytes:
    """Return a chunk of a PNG."""
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png_that_claims(width: int, height: int, *, colour: int = 2, depth: int = 8) -> bytes:
    """Return a PNG of this size with next to no pixels in it."""
    head = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    body = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(bytes(1000), 9))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def jpeg2000_that_claims(width: int, height: int) -> bytes:
    """Return a JPEG 2000 of one tile of this size with the data of a small one."""
    content, size = bytearray(saved(draw(12), "JPEG2000", no_jp2=True)), (width, height)
    struct.pack_into(">II", content, 8, *size)
    struct.pack_into(">II", content, 24, *size)
    return bytes(content)


def turned(orientation: int) -> bytes:
    """Return a JPEG whose EXIF says that it lies on its side."""
    exif = Image.Exif()
    exif[0x0112] = orientation
    return saved(draw(30 + orientation), "JPEG", exif=exif)


def frames(kind: str, seed: int, **settings: Any) -> bytes:
    """Return a moving picture of three frames."""
    first, *rest = (draw(seed + n) for n in range(3))
    return saved(first, kind, save_all=True, append_images=rest, **settings)


def deep(mode: str) -> bytes:
    """Return grey with 16 or 32 bits a pixel."""
    ramp = np.linspace(0, 65535, 40 * 60).reshape(40, 60)
    array = ramp.astype(np.uint16) if mode == "I;16" else (ramp * 30_000).astype(np.int32)
    return saved(Image.fromarray(array), "TIFF")


def jpeg(seed: int = 1, **settings: Any) -> bytes:
    """Return an ordinary photo."""
    return saved(draw(seed), "JPEG", **settings)


def png(seed: int, mode: str, **settings: Any) -> bytes:
    """Return a PNG of a mode."""
    return saved(draw(seed).convert(mode), "PNG", **settings)


def see_through(seed: int, mode: str) -> bytes:
    """Return a PNG that is transparent."""
    image = draw(seed).convert("RGBA")
    image.putalpha(100)
    return saved(image.convert(mode), "PNG")


def damaged(content: bytes, place: int) -> bytes:
    """Return the content with 16 bytes overwritten."""
    return content[:place] + b"\xff\xd8\xff\xd9" * 4 + content[place + 16 :]


OK: dict[str, tuple[Make, str]] = {
    "cmyk.jpg": (lambda: saved(draw(101).convert("CMYK"), "JPEG"), "CMYK"),
    "grey.jpg": (lambda: saved(draw(102).convert("L"), "JPEG"), ""),
    "progressive.jpg": (lambda: jpeg(103, progressive=True), ""),
    "one-bit.png": (lambda: png(104, "1"), ""),
    "grey.png": (lambda: png(105, "L"), ""),
    "palette.png": (lambda: saved(draw(106).quantize(16), "PNG"), ""),
    "alpha.png": (lambda: see_through(107, "RGBA"), "transparency on white"),
    "grey-alpha.png": (lambda: see_through(108, "LA"), "transparency on white"),
    "colour-key.png": (
        lambda: saved(Image.effect_noise((60, 40), 90), "PNG", transparency=128),
        "transparency on white",
    ),
    "deep.tiff": (lambda: deep("I;16"), "16-bit grey"),
    "lzw.tiff": (lambda: saved(draw(110), "TIFF", compression="tiff_lzw"), ""),
    "pages.tiff": (lambda: frames("TIFF", 200), "first of 3 frames"),
    "still.gif": (lambda: saved(draw(111), "GIF"), ""),
    "moving.gif": (lambda: frames("GIF", 210), "first of 3 frames"),
    "moving.webp": (lambda: frames("WEBP", 220, lossless=True), "first of 3 frames"),
    "moving.png": (lambda: frames("PNG", 230), "first of 3 frames"),
    "photo.webp": (lambda: saved(draw(112), "WEBP", quality=95), ""),
    "photo.bmp": (lambda: saved(draw(113), "BMP"), ""),
    "photo.avif": (lambda: saved(draw(124), "AVIF", quality=95), ""),
    "photo.jp2": (lambda: saved(draw(125), "JPEG2000"), ""),
    "photo.j2k": (lambda: saved(draw(126), "JPEG2000", no_jp2=True), ""),
    "moving.avif": (lambda: frames("AVIF", 240), "first of 3 frames"),
    "photo.ppm": (lambda: saved(draw(114), "PPM"), ""),
    "png-named.jpg": (lambda: png(115, "RGB"), ""),
    "jpeg-named.gif": (lambda: jpeg(116), ""),
    "tiny.png": (lambda: saved(draw(117, size=(8, 8)), "PNG"), "enlarged from 8 x 8"),
    "large.jpg": (lambda: saved(draw(118, size=(9000, 7000)), "JPEG"), ""),
    "huge.png": (
        lambda: saved(Image.new("RGBA", (7000, 7000), (9, 9, 9, 99)), "PNG", compress_level=1),
        "transparency on white",
    ),
    "turned-3.jpg": (lambda: turned(3), "turned upright"),
    "turned-6.jpg": (lambda: turned(6), "turned upright"),
    "turned-8.jpg": (lambda: turned(8), "turned upright"),
    "turned-99.jpg": (lambda: turned(99), ""),
    "exif-junk.jpg": (lambda: jpeg(119, exif=b"Exif\0\0MM\0\x2a\xff\xff\xff\xff"), ""),
    "trailing-junk.jpg": (lambda: jpeg(120) + bytes(5000), ""),
    "\u732b 1.jpg": (lambda: jpeg(121), ""),
    "UPPER.JPG": (lambda: jpeg(122), ""),
    "icc-junk.png": (lambda: png(123, "RGB", icc_profile=b"junk" * 50), ""),
}
"""Files that are packed, with the expected note."""
BAD: dict[str, tuple[Make, str]] = {
    "empty.jpg": (lambda: b"", "empty file"),
    "half.jpg": (lambda: jpeg(2)[: len(jpeg(2)) // 2], "truncated"),
    "head-only.jpg": (lambda: jpeg(3)[:40], "truncated"),
    "one-byte.jpg": (lambda: b"\xff", "not a picture"),
    "half.png": (lambda: png(4, "RGB")[:900], "truncated"),
    "broken.png": (lambda: damaged(png(5, "RGB"), 30), ""),
    "broken.gif": (lambda: saved(draw(6), "GIF")[:200], ""),
    "broken.webp": (lambda: saved(draw(7), "WEBP")[:100], ""),
    "broken.tiff": (lambda: saved(draw(8), "TIFF", compression="tiff_lzw")[:300], ""),
    "text.jpg": (lambda: b"This is not a photo.", "not a picture"),
    "page.jpg": (lambda: b"<!DOCTYPE html><html><script>", "not a picture"),
    "drawing.png": (lambda: b"<svg xmlns='http://www.w3.org/2000/svg'/>", "a drawing (SVG)"),
    "program.jpg": (lambda: b"\x7fELF" + bytes(200), "not a picture"),
    "script.jpg": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
    "archive.jpg": (lambda: b"PK\x03\x04" + bytes(100), "not a picture"),
    "zeros.jpg": (lambda: bytes(10_000), "not a picture"),
    "phone.heic": (lambda: b"\0\0\0\x18ftypheic" + bytes(50), "a HEIC photo: export it as JPEG"),
    "broken.avif": (lambda: b"\0\0\0\x18ftypavif" + bytes(50), "damaged"),
    "half.avif": (lambda: saved(draw(9), "AVIF")[:400], "truncated"),
    "half.jp2": (lambda: saved(draw(10), "JPEG2000")[:900], "broken data stream"),
    "bomb.j2k": (lambda: jpeg2000_that_claims(40_000, 40_000), "more than 100 million"),
    "big.j2k": (lambda: jpeg2000_that_claims(5_000, 5_000), "more than 20 million"),
    "hollow.j2k": (lambda: jpeg2000_that_claims(4_400, 4_400), "broken data stream"),
    "raw.jpg": (lambda: b"II*\0\x10\0\0\0CR\2\0" + bytes(100), "a camera raw file (CR2)"),
    "preview.tiff": (
        lambda: saved(draw(11), "TIFF", tiffinfo={254: 1}),
        "a preview, as in a camera raw file",
    ),
    "empty-glass.png": (
        lambda: saved(Image.new("RGBA", (40, 40), (9, 99, 9, 0)), "PNG"),
        "every pixel is transparent",
    ),
    "bomb.png": (lambda: png_that_claims(40_000, 40_000), "more than 100 million"),
    "deep-bomb.png": (lambda: png_that_claims(30_000, 30_000, depth=16), "more than 100 million"),
    "big.png": (lambda: png_that_claims(9_000, 9_000), "more than 50 million"),
    "ribbon.png": (lambda: saved(Image.new("RGB", (2000, 10)), "PNG"), "too narrow"),
    "pixel.png": (lambda: saved(Image.new("RGB", (1, 1)), "PNG"), "too few"),
    "float.tiff": (lambda: saved(Image.new("F", (50, 50)), "TIFF"), "floating-point"),
    "wide.tiff": (lambda: deep("I"), "32-bit"),
    "no-width.png": (lambda: png_that_claims(0, 10), ""),
}
"""Files that are rejected, with a part of the reason; "": any reason."""


def make_corpus(folder: Path) -> int:
    """Write all files; return how many there are."""
    folder.mkdir(parents=True)
    for name, (make, _) in (OK | BAD).items():
        (folder / name).write_bytes(make())
    return len(OK | BAD)


if __name__ == "__main__":
    print(make_corpus(Path(sys.argv[1])))
