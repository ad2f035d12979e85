"""Makes photos: a small set that trains in seconds, and a folder of everything that goes wrong."""

from pathlib import Path

import numpy as np
from PIL import Image

COLOURS = ((200, 40, 40), (40, 180, 60), (50, 70, 210))


def write_small(directory: Path, *, classes: int = 3, count: int = 12) -> None:
    """Write `classes` folders of noisy one-colour pictures."""
    random = np.random.default_rng(0)
    for name, colour in list(zip(("red", "green", "blue"), COLOURS, strict=True))[:classes]:
        for index in range(count):
            _save(_picture(random, colour), directory / name / f"{index:02}.jpg")


def write_hostile(directory: Path) -> None:
    """Write two good classes and, among them, what MXNet's own reader dies of."""
    write_small(directory, classes=2, count=14)
    random = np.random.default_rng(1)
    picture = _picture(random, COLOURS[0])
    red, green = directory / "red", directory / "green"
    whole = (red / "00.jpg").read_bytes()
    (red / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (red / "text.jpg").write_text("this is not a picture")
    (green / "zero.jpg").write_bytes(b"")
    _save(picture, red / "animated.gif")
    _save(picture, red / "modern.webp")
    transparent = picture.convert("RGBA")
    transparent.putalpha(128)
    _save(transparent, green / "transparent.png")
    _save(picture.convert("P"), green / "palette.png")
    exif = Image.Exif()
    exif[0x0112] = 6  # orientation: rotate by 90 degrees
    picture.save(green / "rotated.jpg", exif=exif)
    _save(picture, red / "2019" / "nested.jpg")
    (directory / "empty").mkdir()


def _picture(random: np.random.Generator, colour: tuple[int, int, int]) -> Image.Image:
    noise = random.normal(0, 30, (160, 220, 3)) + np.array(colour)
    return Image.fromarray(noise.clip(0, 255).astype(np.uint8))


def _save(picture: Image.Image, path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    picture.save(path)
