"""Reads one photo file to its last byte, turns it upright, makes it small, encodes it.

Runs in worker processes. A file that cannot be decoded, for whatever reason, is a bad photo with
that reason; it never ends the stage.
"""

import hashlib
import io
import logging
import os
import re
import struct
import warnings
from dataclasses import dataclass
from pathlib import Path

from PIL import (
    AvifImagePlugin,
    Image,
    Jpeg2KImagePlugin,
    TiffImagePlugin,
    UnidentifiedImageError,
    WebPImagePlugin,
)
from simplejpeg import decode_jpeg

from finetune_trainer.contract import Framing
from finetune_trainer.dataset.colour import DIM, BadPhotoError, as_rgb, is_nearly_black
from finetune_trainer.dataset.duplicates import Array, miniature
from finetune_trainer.dataset.exact import encode_exactly
from finetune_trainer.dataset.file_types import (
    HEAD_BYTES,
    is_photo_content,
    unreadable_content,
    unreadable_name,
)
from finetune_trainer.dataset.recordio import RecordError, read_image
from finetune_trainer.dataset.resize import BILINEAR, resized

FORMATS = (
    "JPEG",
    "PNG",
    "GIF",
    "BMP",
    "PPM",
    TiffImagePlugin.TiffImageFile.format,
    WebPImagePlugin.WebPImageFile.format,
    AvifImagePlugin.AvifImageFile.format,
    Jpeg2KImagePlugin.Jpeg2KImageFile.format,
)
"""Decoders that untrusted files may reach; Pillow has dozens, some of which start programs."""
JPEGS = ("JPEG", "MPO")
JPEG_COLOURS = {"RGB": "RGB", "L": "GRAY", "CMYK": "CMYK"}
"""The names that simplejpeg has for the modes of Pillow."""
NO_END, END = "Premature end of JPEG file", b"\xff\xd9"
LOST = re.compile(
    "Corrupt JPEG data: (premature end of data segment|bad (Huffman|arithmetic) code"
    r"|found marker 0x\w+ instead of RST\d|(?P<stray>\d+) extraneous bytes before marker"
    " 0x(d[0-79]|da|c4))"
)
"""The warnings of libjpeg by which pixels are lost; the markers are those after pixels."""
STRAY = 64
"""The most extraneous bytes that may be a camera's padding; a hole in a file leaves more."""
LINES = 16
"""The fewest bytes LF in a file of which it is said that somebody took it for a text."""
NEARLY_BLACK = "nearly black"
"""The note for a photo in which nearly nothing is brighter than 1/16: 12-bit values in a 16-bit
file, or a mask, seldom a photo of the night."""
DNG_VERSION, SUBFILE_TYPE, REDUCED = 50706, 254, 1
LFS_POINTER = b"version https://git-lfs"
MAX_QUICK = 8_000_000
"""The most pixels for `decode_quickly`, which has the picture in memory twice for a moment."""
MAX_BYTES = 256 << 20
"""The largest file."""
MAX_PIXELS = 100_000_000
"""The most pixels that a file may claim to have: a small file can claim any number."""
MAX_WAVELET = 20_000_000
"""The same for JPEG 2000, whose decoder takes 4 bytes for each colour of each pixel."""
MAX_DECODED = 50_000_000
"""The most pixels after decoding, all in memory; a large JPEG is decoded at a reduced size."""
WHOLE = 7 / 8
"""The part of the stored square, in its middle, that a whole picture fills: the part that networks
cut out of images whose shorter side is that of the square (224 of 256 pixels)."""
STRETCH = 4 / 3
"""The most that the shorter side is stretched to fill the square: networks are trained on such
images (Szegedy et al. 2015). Without it, half of a photo's square would be empty."""
MIN_SIDE = 8
MAX_ASPECT = 50
ORIENTATION = 0x0112
UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}
"""The operation that undoes each value of the EXIF tag Orientation; 1 is upright."""

Image.MAX_IMAGE_PIXELS = None  # MAX_PIXELS is checked here, with a reason for the user
Image.preinit()  # the usual decoders, once for all processes forked from here
AvifImagePlugin.DEFAULT_MAX_THREADS = 1  # the photos are decoded in parallel already
logging.getLogger(TiffImagePlugin.__name__).disabled = True  # the reason tells of the error


@dataclass(frozen=True, slots=True)
class Packing:
    """The settings by which photos are encoded."""

    framing: Framing
    resize_short: int
    quality: int
    exact: bool = False


@dataclass(frozen=True, slots=True)
class Encoded:
    """The result for one file: `jpeg`, or the reason why there is none."""

    sha256: bytes = b""
    """The digest of the file, or of the image in a record."""
    jpeg: bytes = b""
    reason: str = ""
    note: str = ""
    content: bytes = b""
    """Digest of `jpeg`: the same for copies in other files and formats."""
    miniature: bytes = b""
    """The picture in 27 x 27 greys; b"" without contrast. See duplicates."""


def encode_photo(path: str, packing: Packing, *, offset: int | None = None) -> Encoded:
    """Read and encode one file, or the record at `offset` of a file.

    Raises only an OSError that is the volume's fault.
    """
    if offset is None and (unreadable := unreadable_name(path)):
        return Encoded(reason=unreadable.reason)
    try:
        data = _content(path) if offset is None else read_image(Path(path), offset)
    except (PermissionError, FileNotFoundError, BadPhotoError, RecordError) as error:
        return Encoded(reason=getattr(error, "strerror", None) or str(error))
    sha256 = hashlib.sha256(data).digest()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's warnings about invalid metadata
        try:
            small, notes, kept = _shrink(data, packing, is_record=offset is not None)
            greys = miniature(small)
            if is_nearly_black(small):
                notes = [*(note for note in notes if note != DIM), NEARLY_BLACK]
            jpeg = data if kept else _as_jpeg(_framed(small, packing), packing.quality)
        except Exception as error:
            return Encoded(sha256=sha256, reason=_reason(error, data))
    if packing.exact and not (jpeg := encode_exactly(path, packing.resize_short, packing.quality)):
        return Encoded(sha256=sha256, reason="OpenCV cannot read it")
    content = hashlib.blake2b(jpeg, digest_size=16).digest()
    return Encoded(sha256, jpeg, note=", ".join(notes), content=content, miniature=greys)


def _content(path: str) -> bytes:
    with open(path, "rb", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        if not size:
            raise BadPhotoError("empty file")
        if size > MAX_BYTES:
            raise BadPhotoError(f"{size >> 20} MiB are more than {MAX_BYTES >> 20}")
        return file.readall()


def _shrink(
    data: bytes, packing: Packing, *, is_record: bool
) -> tuple[Image.Image, list[str], bool]:
    """Return the small upright picture, notes, and True if `data` can be stored unchanged."""
    notes: list[str] = []
    with Image.open(io.BytesIO(data), formats=FORMATS) as image:
        _check_size(image.size)
        _check_is_no_preview(image)
        kept = is_record and image.format == "JPEG" and _fits(image.size, packing)
        size = _small_size(image.size, packing)
        if min(size) > 2 * min(image.size):
            notes.append(f"enlarged from {image.width} x {image.height}")
        frames = getattr(image, "n_frames", 1)
        if frames > 1 and image.format != "MPO":  # a phone's JPEG with a depth map or a preview
            notes.append(f"first of {frames} frames")
        # A JPEG can be decoded at a half, a quarter or an eighth: much less work for large photos.
        image.draft("RGB", size)
        _check_decoded(image)
        rgb = decode_quickly(image, data) or as_rgb(image, notes)
        upright = _orientation(image, notes)
    small = rgb if rgb.size == size else resized(rgb, size, BILINEAR)
    if upright is not None:
        small = small.transpose(upright)
    return small, notes, kept and not notes


def _as_jpeg(picture: Image.Image, quality: int) -> bytes:
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=quality)
    return encoded.getvalue()


def _check_size(size: tuple[int, int]) -> None:
    width, height = size
    if width * height > MAX_PIXELS:
        raise BadPhotoError(
            f"{width} x {height} pixels are more than {MAX_PIXELS // 10**6} million"
        )
    if max(size) > MAX_ASPECT * min(size):
        raise BadPhotoError(f"{width} x {height} is too narrow to be a photo")
    if min(size) < MIN_SIDE:
        raise BadPhotoError(f"{width} x {height} pixels are too few to be a photo")


def _check_decoded(image: Image.Image) -> None:
    """Raise BadPhotoError if the decoder would need too much memory."""
    most = MAX_WAVELET if image.format == "JPEG2000" else MAX_DECODED
    if image.width * image.height > most:
        raise BadPhotoError(
            f"{image.width} x {image.height} pixels are more than {most // 10**6} million, which"
            f" only a JPEG may have: make it smaller, or export it as JPEG"
        )


def _check_is_no_preview(image: Image.Image) -> None:
    """Raise BadPhotoError for a camera raw file: the first picture in it is a small preview."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        tags = image.tag_v2
        if DNG_VERSION in tags or tags.get(SUBFILE_TYPE, 0) & REDUCED:
            raise BadPhotoError("a preview, as in a camera raw file: export the photo as JPEG")


def _fits(size: tuple[int, int], packing: Packing) -> bool:
    """Return True if a picture of this size needs no resizing."""
    side = packing.resize_short
    return min(size) == side if packing.framing == "Crop" else size == (side, side)


def _small_size(size: tuple[int, int], packing: Packing) -> tuple[int, int]:
    short, long, target = min(size), max(size), packing.resize_short
    if packing.framing == "Crop":
        width, height = (max(target, round(side * target / short)) for side in size)
    else:
        most = round(WHOLE * target)
        width, height = (min(most, round(side * STRETCH * most / long)) for side in size)
    return width, height


def _framed(picture: Image.Image, packing: Packing) -> Image.Image:
    """Return the picture as it is stored: with the framing Whole on a white square."""
    if packing.framing == "Crop":
        return picture
    side = packing.resize_short
    square = Image.new("RGB", (side, side), "white")
    square.paste(picture, ((side - picture.width) // 2, (side - picture.height) // 2))
    return square


def decode_quickly(image: Image.Image, data: bytes) -> Image.Image | None:
    """Return the pixels of `image.load()` for a JPEG, as RGB, in two thirds of its time.

    Raises BadPhotoError if parts of the picture are lost, which Pillow does not say. Returns None
    if Pillow has to decode the file. Pillow is slower because it decodes each row into a buffer,
    which may not be in the cache, and copies it.
    """
    width, height = image.size
    if image.format not in JPEGS or image.mode not in JPEG_COLOURS:
        return None
    is_quick = image.mode != "CMYK" and width * height <= MAX_QUICK
    pixels = _decode_jpeg(data, JPEG_COLOURS[image.mode], image.size if is_quick else (1, 1))
    if pixels is None or len(pixels) != height:
        return None
    picture = Image.frombuffer(image.mode, image.size, pixels)
    return picture if image.mode == "RGB" else picture.convert("RGB")


def _decode_jpeg(data: bytes, colours: str, size: tuple[int, int]) -> Array | None:
    """Decode a JPEG to at least this size; return None if the decoder warns of other than loss."""
    try:
        pixels: Array = decode_jpeg(data, colours, min_width=size[0], min_height=size[1])
        return pixels
    except ValueError as error:  # raised for warnings, too
        warning = str(error)
    if warning == NO_END and not data.endswith(END):
        return _decode_jpeg(data + END, colours, size)  # perhaps no more is missing
    lost = LOST.fullmatch(warning)
    if lost is not None and int(lost["stray"] or STRAY + 1) > STRAY:
        raise BadPhotoError(f"damaged or cut off ({lost[1]}): copy it again")
    if _is_changed_as_text(data):
        raise BadPhotoError("changed as if it were text (FTP, Git): copy it again, as binary")
    return None


def _is_changed_as_text(data: bytes) -> bool:
    """Return True if line ends were made CR LF, or LF: in a whole file each is there by chance."""
    lines = data.count(b"\n")
    return lines >= LINES and (data.count(b"\r\n") == lines or b"\r" not in data)


def _orientation(image: Image.Image, notes: list[str]) -> Image.Transpose | None:
    """Return the operation that turns the picture upright; None if metadata cannot be read."""
    try:
        upright = UPRIGHT.get(image.getexif().get(ORIENTATION, 1))
    except (ValueError, TypeError, KeyError, OSError, SyntaxError, struct.error):
        return None
    if upright is not None:
        notes.append("turned upright")
    return upright


def _reason(error: Exception, data: bytes) -> str:
    if isinstance(error, BadPhotoError):
        return str(error)
    if unreadable := unreadable_content(data[:HEAD_BYTES]):
        return unreadable.reason
    if isinstance(error, UnidentifiedImageError):
        if data.startswith(LFS_POINTER):
            return "a Git LFS pointer, not the photo: run `git lfs pull` where you copied it from"
        if data.startswith((b"II", b"MM")):
            return "a TIFF that is damaged or of a rare kind: export it as 8-bit RGB"
        if is_photo_content(data[:HEAD_BYTES]):
            return "damaged: it begins like a picture, but its header cannot be read"
        return f"not a picture: it begins with {data[:16]!r}"
    return str(error)[:200] or type(error).__name__
