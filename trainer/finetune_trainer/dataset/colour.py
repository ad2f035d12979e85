"""Turns decoded pixels of any kind into 8-bit RGB of the brightness that people see.

Looks at one picture only, so that the same file gives the same pixels in every data set.
"""

from typing import Any, cast

from PIL import Image, ImageFile, TiffImagePlugin

DEEPEST = 0xFFFF
DEPTHS = (0x3FF, 0xFFF, 0x3FFF)
"""The largest values of 10, 12 and 14 bits, which cameras and scanners store in 16."""
DIM = "nothing brighter than 1/4"
"""The note for pixels that perhaps use only a part of the bits that they are stored in."""
BITS, COMPRESSION, PHOTOMETRIC, PLANES, SAMPLE_FORMAT = 258, 259, 262, 284, 339
MAX_VALUES = (281, 341)
"""Tags of TIFF: two name the largest value, MaxSampleValue and SMaxSampleValue."""
WHITE_IS_ZERO, SIGNED, UNCOMPRESSED, SEPARATE = 0, 2, 1, 2
QUARTER = 64
"""A quarter of white, of 255."""
WIDE = (";16", "65535")
"""Parts of the names that Pillow has for formats of 16 bits, in PNG, TIFF and PPM."""
FAINT = 16
"""The contrast to its ground, of 255, that is nearly none."""
FEW = 100
"""One pixel of so many is nearly none."""
SAMPLE = 64
"""The rows and columns of a picture whose brightness is looked at."""
DISPLAY_GAMMA = 2.2

for order in (b"II", b"MM"):  # kinds of grey that Pillow could read and does not list
    TiffImagePlugin.OPEN_INFO[order, 0, (1,), 1, (12,), ()] = ("I;16", "I;12")
TiffImagePlugin.OPEN_INFO[b"MM", 1, (1,), 1, (12,), ()] = ("I;16", "I;12")
TiffImagePlugin.OPEN_INFO[b"MM", 0, (1,), 1, (16,), ()] = ("I;16B", "I;16B")


class BadPhotoError(Exception):
    """The file cannot be used as a photo; the text is the reason."""


def as_rgb(image: Image.Image, notes: list[str]) -> Image.Image:
    """Return 8-bit RGB, transparent pictures on a ground on which they are seen."""
    _check_planes(image)
    may_be_dim = _has_spare_bits(image)  # unknown once it is decoded
    rgb = _decoded(image, notes)
    if may_be_dim and max(most for _, most in _extrema(rgb)) <= QUARTER:
        notes.append(DIM)
    return _for_display(rgb, image.info, notes)


def _extrema(rgb: Image.Image) -> tuple[tuple[int, int], ...]:
    """Return the least and the largest value of each colour."""
    return cast(tuple[tuple[int, int], ...], rgb.getextrema())


def is_nearly_black(picture: Image.Image) -> bool:
    """Return True if nearly nothing in an RGB picture is brighter than 1/16 in any colour."""
    sample = picture.resize((SAMPLE, SAMPLE), Image.Resampling.NEAREST)  # far less work
    histogram, most = sample.histogram(), SAMPLE * SAMPLE // FEW
    return all(sum(histogram[start + FAINT + 1 : start + 256]) <= most for start in (0, 256, 512))


def _check_planes(image: Image.Image) -> None:
    """Raise BadPhotoError for planes of 16 bits, which Pillow reads as if they had 8."""
    kind = tuple(_tag(image, tag) for tag in (PLANES, COMPRESSION, BITS))
    if kind == (SEPARATE, UNCOMPRESSED, 16):
        raise BadPhotoError(
            "an uncompressed 16-bit TIFF in separate planes: export it with 8 bits, or interleaved"
        )


def _has_spare_bits(image: Image.Image) -> bool:
    """Return True for a format of 16 bits, and for a TIFF that declares another largest value."""
    tiles = image.tile[:1] if isinstance(image, ImageFile.ImageFile) else []
    form = str([tile.args for tile in tiles])
    declared = (_tag(image, tag) or 0 for tag in MAX_VALUES)
    return (
        image.mode == "I"
        or any(name in form for name in WIDE)
        or any(0 < value < 255 for value in declared)
    )


def _decoded(image: Image.Image, notes: list[str]) -> Image.Image:
    if image.mode.startswith("I"):
        notes.append("16-bit grey")
        return _from_16_bit(image)
    if image.mode == "F":
        raise BadPhotoError("floating-point pixels have no defined brightness: export it as PNG")
    if image.has_transparency_data:
        return _on_ground(image if image.mode == "RGBA" else image.convert("RGBA"), notes)
    if image.mode == "CMYK":
        notes.append("CMYK")
    if image.mode == "RGB":
        image.load()
        return image
    return image.convert("RGB")


def _from_16_bit(image: Image.Image) -> Image.Image:
    """Scale to 8 bits; Pillow's own conversion clips everything above 255 to white."""
    wide = image.convert("I")
    least, most = cast(tuple[int, int], wide.getextrema())
    if not 0 <= least <= most <= DEEPEST:
        kind = "negative" if least < 0 else "32-bit"
        raise BadPhotoError(f"{kind} pixels have no defined brightness: export it with 8 bits")
    white = _white(image)
    if most > white:  # the file is wrong about it
        white = DEEPEST
    scale, black = 255 / white, 0.5
    if _tag(image, PHOTOMETRIC) == WHITE_IS_ZERO:
        scale, black = -scale, 255.5
    return wide.point(lambda value: value * scale + black).convert("L").convert("RGB")


def _white(image: Image.Image) -> int:
    """Return the value that stands for white, as far as a file declares it.

    The PNG chunk sBIT does not: values are scaled to all bits even if fewer are significant.
    """
    if _tag(image, BITS) == 12:
        return 0xFFF
    declared = (_tag(image, tag) for tag in MAX_VALUES)
    if white := next((value for value in declared if value in DEPTHS), 0):
        return int(white)
    return DEEPEST // 2 if _tag(image, SAMPLE_FORMAT) == SIGNED else DEEPEST


def _tag(image: Image.Image, number: int) -> Any:
    """Return the first value of a TIFF's tag; None without it, or in another format."""
    if not isinstance(image, TiffImagePlugin.TiffImageFile):
        return None
    value = image.tag_v2.get(number)
    return value[0] if isinstance(value, tuple) and value else value


def _on_ground(rgba: Image.Image, notes: list[str]) -> Image.Image:
    """Return the picture on white, or on black if it is nearly invisible on white."""
    alpha = rgba.getchannel("A")
    histogram, pixels = alpha.histogram(), rgba.width * rgba.height
    if histogram[255] == pixels:
        return rgba.convert("RGB")
    if histogram[0] == pixels:
        raise BadPhotoError("every pixel is transparent: export it without transparency")
    on_white = _pasted(rgba, alpha, "white")
    if not _vanishes(on_white, alpha):
        notes.append("transparency on white")
        return on_white
    del on_white  # it may be large
    notes.append("transparency on black: it is nearly white")
    return _pasted(rgba, alpha, "black")


def _pasted(rgba: Image.Image, alpha: Image.Image, ground: str) -> Image.Image:
    picture = Image.new("RGB", rgba.size, ground)
    picture.paste(rgba, mask=alpha)
    return picture


def _vanishes(on_white: Image.Image, alpha: Image.Image) -> bool:
    """Return True if the visible part is nearly white on white, and clearer on black.

    Not grey: black gives such a picture twice the contrast. A faint shadow stays on white.
    """
    histogram, opacity = on_white.histogram(mask=alpha), alpha.histogram()
    visible = sum(opacity[1:])
    for start in (0, 256, 512):
        if sum(histogram[start : start + 255 - FAINT]) > visible // FEW:
            return False
    contrast = sum((255 - level % 256) * count for level, count in enumerate(histogram))
    # A pixel on black is as bright as on white, less what of the white ground shines through.
    on_black = 3 * sum(level * count for level, count in enumerate(opacity)) - contrast
    return on_black > contrast


def _for_display(rgb: Image.Image, info: dict[Any, Any], notes: list[str]) -> Image.Image:
    """Brighten a PNG that says that its values are linear light, or of another screen."""
    gamma = info.get("gamma")
    if not gamma or "srgb" in info or "icc_profile" in info:
        return rgb
    power = 1 / (DISPLAY_GAMMA * gamma)
    if 0.9 < power < 1.1:
        return rgb
    notes.append(f"gamma {gamma:g}")
    return rgb.point([round(255 * (level / 255) ** power) for level in range(256)] * 3)
