"""How well photos that look alike are found: edited copies, and wrong friends.

`python -m bench.look_alikes` takes the demo photos (see tests.demo_photos) and the 60,000 training
images of Debian's dataset-fashion-mnist (`--fashion DIR` if it is not installed). First the
copies of each kind that are found; then the pairs found among the photos themselves, and the
largest group that they join: by bits of the hash alone, and by the correlation of the miniatures.
`--sheet PNG` draws the pairs, to look at: in Fashion-MNIST each photo is of another object.
"""

import argparse
import io
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from finetune_trainer.dataset import duplicates
from finetune_trainer.dataset.duplicates import Alike, look_alikes, miniature, unite
from finetune_trainer.dataset.resize import BILINEAR, resized
from PIL import Image, ImageDraw, ImageEnhance, ImageOps

from bench import pack
from tests.demo_photos import cached_photos

Array = np.ndarray[Any, np.dtype[Any]]
Edit = Callable[[Image.Image], Image.Image]
SIZE, OF_FASHION, BLOCK, MOST_BITS = 224, 400, 2000, 12
CORRELATIONS = (0.95, 0.97, 0.98, 0.985, 0.99, 0.995)


def main(arguments: Sequence[str]) -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--fashion", type=Path, default=pack.FASHION)
    parser.add_argument("--sheet", type=Path)
    parser.add_argument("--correlation", type=float, nargs="*", default=CORRELATIONS)
    parser.add_argument("--only", choices=["copies", "pairs", "bits"], nargs="*")
    options = parser.parse_args(arguments)
    pack.FASHION = options.fashion
    demo, names = _demo()
    fashion, labels = _fashion()
    wanted = options.only or ["copies", "pairs", "bits"]
    if "copies" in wanted:
        _show_copies("demo", demo)
        _show_copies("fashion", fashion[:OF_FASHION])
    for name, pictures, classes in (("demo", demo, names), ("fashion", fashion, labels)):
        small = np.stack([_small(picture) for picture in pictures])
        if "pairs" in wanted:
            pairs = _show_pairs(name, small, classes, options.correlation)
            if options.sheet:
                _draw(options.sheet.with_stem(f"{options.sheet.stem}-{name}"), pictures, pairs)
        if "bits" in wanted:
            _show_bits(name, small, classes)


def _demo() -> tuple[list[Image.Image], Array]:
    paths = sorted(cached_photos().glob("*/*.png"))
    return [_on_white(path) for path in paths], np.array([path.parent.name for path in paths])


def _on_white(path: Path) -> Image.Image:
    photo = Image.open(path).convert("RGBA")
    white = Image.new("RGB", photo.size, "white")
    white.paste(photo, mask=photo.getchannel("A"))
    return white


def _fashion() -> tuple[list[Image.Image], Array]:
    images = pack.fashion("train-images-idx3")
    return [Image.fromarray(pixels) for pixels in images], pack.fashion("train-labels-idx1")


def _small(picture: Image.Image) -> Array:
    """Return the miniature as packing makes it: of a picture that has been resized already."""
    shown = resized(picture.convert("RGB"), (SIZE, SIZE), BILINEAR)
    greys = miniature(shown) or bytes(duplicates.SIDE**2)
    return np.frombuffer(greys, np.uint8).reshape(duplicates.SIDE, duplicates.SIDE)


def _recompressed(picture: Image.Image, quality: int = 40) -> Image.Image:
    encoded = io.BytesIO()
    picture.save(encoded, "JPEG", quality=quality)
    return Image.open(encoded).convert("RGB")


def _cropped(part: float, x: float, y: float) -> Edit:
    def crop(picture: Image.Image) -> Image.Image:
        width, height = (round(side * (1 - part)) for side in picture.size)
        left, top = round((picture.width - width) * x), round((picture.height - height) * y)
        return picture.crop((left, top, left + width, top + height))

    return crop


def _marked(picture: Image.Image) -> Image.Image:
    marked = picture.copy()
    at = picture.width * 0.55, picture.height * 0.85
    ImageDraw.Draw(marked).text(at, "(c) Photo Studio", fill="white")
    return marked


EDITS: dict[str, Edit] = {
    "JPEG quality 40": _recompressed,
    "brightness +30 %": lambda picture: ImageEnhance.Brightness(picture).enhance(1.3),
    "brightness -30 %": lambda picture: ImageEnhance.Brightness(picture).enhance(0.7),
    "half the size": lambda picture: picture.resize((picture.width // 2, picture.height // 2)),
    "grey": lambda picture: picture.convert("L").convert("RGB"),
    "watermark": _marked,
    "border of 3 %": lambda picture: ImageOps.expand(picture, SIZE * 3 // 100, "white"),
    "border of 10 %": lambda picture: ImageOps.expand(picture, SIZE // 10, "black"),
    "mirrored": ImageOps.mirror,
    "upside down": ImageOps.flip,
    "turned by 180": lambda picture: picture.transpose(Image.Transpose.ROTATE_180),
    "turned by 90": lambda picture: picture.transpose(Image.Transpose.ROTATE_90),
    "turned by 270": lambda picture: picture.transpose(Image.Transpose.ROTATE_270),
    "turned by 5": lambda picture: picture.rotate(5, fillcolor="white"),
    "cropped 5 %": _cropped(0.05, 0.5, 0.5),
    "cropped 10 %": _cropped(0.1, 0.5, 0.5),
    "cropped 10 %, corner": _cropped(0.1, 0, 1),
    "cropped 10 %, off": _cropped(0.1, 0.2, 0.7),
    "cropped 20 %": _cropped(0.2, 0.5, 0.5),
    "cropped 20 %, corner": _cropped(0.2, 1, 0),
    "cropped 20 %, off": _cropped(0.2, 0.2, 0.7),
}
"""Changes of a picture; parts are of its sides."""


def _show_copies(name: str, pictures: list[Image.Image]) -> None:
    pictures = [resized(p.convert("RGB"), (SIZE, SIZE), BILINEAR) for p in pictures]
    before = np.stack([_small(picture) for picture in pictures])
    for kind, edit in EDITS.items():
        after = np.stack([_small(_recompressed(edit(picture), 90)) for picture in pictures])
        both, count = np.concatenate([before, after]), len(before)
        alone = _plain_distances(before, after) <= duplicates.MOST_BITS
        pairs = _together(look_alikes(len(both), both.__getitem__))
        pairs = pairs.select(pairs.other - pairs.one == count)
        alike, same = len(pairs.one) / count, pairs.same.sum() / count
        print(
            f"{name:8}{kind:22}hash alone {alone.mean():4.0%}, alike {alike:4.0%}, same {same:4.0%}"
        )


def _plain_distances(some: Array, others: Array) -> Array:
    hashes = (duplicates.perceptual_hashes(small) for small in (some, others))
    one, other = (np.unpackbits(hashed.view(np.uint8), axis=1) for hashed in hashes)
    return np.asarray((one != other).sum(1))


def _show_pairs(name: str, small: Array, classes: Array, least: Sequence[float]) -> Alike:
    """Print what is found with each correlation; return the pairs of the one in use."""
    kept = Alike.none()
    before = duplicates.SAME
    for correlation in least:
        started, duplicates.SAME = time.perf_counter(), correlation
        pairs = _together(look_alikes(len(small), small.__getitem__))
        pairs, seconds = pairs.select(pairs.same), time.perf_counter() - started
        kept = pairs if correlation == before else kept
        _show(f"{name:8}correlation {correlation:<6}", pairs, classes, f"{seconds:.0f} s")
    duplicates.SAME = before
    return kept


def _show_bits(name: str, small: Array, classes: Array) -> None:
    """Print what the hash alone finds, compared pair by pair."""
    hashed = duplicates.perceptual_hashes(small).view(np.uint8)
    signs = np.unpackbits(hashed, axis=1).astype(np.float32) * 2 - 1
    pairs = _together(_all_near(signs))
    for bits in range(MOST_BITS + 1):
        nearer = pairs.select(pairs.bits <= bits)
        _show(f"{name:8}hash alone, {bits:2} bits ", nearer, classes, "")


def _all_near(signs: Array) -> Iterator[Alike]:
    for start in range(0, len(signs), BLOCK):
        same = signs[start : start + BLOCK] @ signs[start:].T
        bits = (signs.shape[1] - same) / 2
        one, other = np.nonzero(bits <= MOST_BITS)
        one, other, bits = one[one < other], other[one < other], bits[one, other][one < other]
        yield Alike(one + start, other + start, bits.astype(np.uint8), np.ones(len(one), bool))


def _together(pairs: Iterator[Alike]) -> Alike:
    found = [Alike.none(), *pairs]
    return Alike(*(np.concatenate(fields) for fields in zip(*found, strict=True)))


def _show(title: str, pairs: Alike, classes: Array, note: str) -> None:
    roots = np.arange(len(classes))
    unite(roots, pairs.one, pairs.other)
    sizes = np.bincount(roots)
    foreign = int((classes[pairs.one] != classes[pairs.other]).sum())
    print(
        f"{title} {len(pairs.one):8} pairs, {foreign:6} of two classes;"
        f" {sizes[sizes > 1].sum():6} photos in groups, the largest has {sizes.max():5}  {note}",
        flush=True,
    )


def _draw(path: Path, pictures: list[Image.Image], pairs: Alike, most: int = 120) -> None:
    sheet, side = Image.new("RGB", (12 * 130, 10 * 66), "white"), 60
    chosen = np.random.default_rng(0).permutation(len(pairs.one))[:most]
    for place, number in enumerate(sorted(chosen)):
        for right, photo in enumerate((pairs.one[number], pairs.other[number])):
            shown = pictures[photo].convert("RGB").resize((side, side))
            sheet.paste(shown, (place % 12 * 130 + right * side, place // 12 * 66))
    sheet.save(path)


if __name__ == "__main__":
    main(sys.argv[1:])
