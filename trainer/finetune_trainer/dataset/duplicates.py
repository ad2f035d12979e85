"""Finds photos that look alike, also mirrored, turned or cropped. Near-linear in their number.

A photo is reduced to a miniature of 27 x 27 greys. Its perceptual hash finds candidates, and the
correlation of the two miniatures decides: the hash alone takes any two pairs of trousers for alike.
"""

import functools
from collections.abc import Callable, Iterable, Iterator
from typing import Any, NamedTuple, cast

import numpy as np
from PIL import Image

from finetune_trainer.dataset.resize import AREA, resized

Array = np.ndarray[Any, np.dtype[Any]]

SIDE, _GRID = 27, 9
"""The side of a miniature, and of the grid that it is reduced to for the hash."""
BANDS, BAND_BITS = 8, 16
"""A hash of 128 bits is compared by its bands of 16 bits."""
MOST_BITS = BANDS - 1
"""Photos may look alike if at most 7 bits differ: then at least one of the 8 bands is the same."""
ALIKE, SAME = 0.95, 0.995
"""The least correlation of the miniatures of photos that look alike, and of those that are nearly
the same. Chosen by bench/look_alikes.py: at 0.99 a tenth of all trousers would be one group."""
MOST_COMPARED, MOST_VIEWED = 64, 8
"""Neighbours that a photo, and a view, is compared with in each band, so that the time stays
near-linear."""
FLAT = 8
"""A picture with less contrast (of 255) has no miniature: its hash would be noise."""
_SCALE = 18
"""The weights of resampling are whole numbers of 18ths."""
_CROPPED = (24, 21)
"""The sides of crops that are looked for: 8/9 and 7/9 of the picture's."""
_CHUNK = 1024
_BIT_COUNTS = np.array([number.bit_count() for number in range(1 << BAND_BITS)], np.uint8)


class Alike(NamedTuple):
    """Pairs of photos that look alike: an array for each field."""

    one: Array
    other: Array
    bits: Array
    """Bits that differ between their hashes."""
    same: Array
    """True if they are nearly the same."""

    @classmethod
    def none(cls) -> "Alike":
        """Return no pairs."""
        nobody = np.zeros(0, np.int64)
        return cls(nobody, nobody, nobody, np.zeros(0, bool))

    def select(self, which: Array) -> "Alike":
        """Return the pairs with these indexes, or for which a mask is True."""
        return Alike(*(field[which] for field in self))

    def compact(self) -> "Alike":
        """Return the same in 10 bytes a pair, to be kept."""
        one, other = self.one.astype(np.uint32), self.other.astype(np.uint32)
        return Alike(one, other, self.bits.astype(np.uint8), self.same)

    def first(self, others: "Alike", most: int) -> "Alike":
        """Return the first pairs of both, by their numbers."""
        both = Alike(*(np.concatenate(fields) for fields in zip(self, others, strict=True)))
        return both.select(np.lexsort([both.bits, both.other, both.one])[:most])

    def rows(self) -> Iterator[tuple[int, int, int]]:
        """Yield the two photos and the bits of each pair."""
        return zip(self.one.tolist(), self.other.tolist(), self.bits.tolist(), strict=True)


class Span(NamedTuple):
    """The rows, or columns, of a miniature that a view shows."""

    start: float = 0
    length: int = SIDE
    is_reversed: bool = False


class View(NamedTuple):
    """A way in which a copy may show its original."""

    rows: Span
    columns: Span
    is_turned: bool = False
    is_symmetric: bool = False
    """True if the view of a view is the picture itself: each pair is found in both orders."""

    def resampled(self, miniatures: Array, cells: int) -> Array:
        """Return the miniatures in `cells` rows and columns, multiplied by `unit(cells)`.

        All numbers are whole, and small enough for float32: every machine gets the same.
        """
        turned = miniatures.swapaxes(1, 2) if self.is_turned else miniatures
        columns = np.tensordot(turned.astype(np.float32), _weights(self.columns, cells), 1)
        both = np.tensordot(columns, _weights(self.rows, cells), (1, 0))
        return np.asarray(both.swapaxes(1, 2).astype(np.float64))

    def unit(self, cells: int) -> int:
        """Return the factor by which `resampled` numbers are larger than greys."""
        return (self.rows.length * _SCALE // cells) * (self.columns.length * _SCALE // cells)


@functools.cache
def _weights(span: Span, cells: int) -> Array:
    """Return how much of each row, or column, is in each cell, multiplied by _SCALE."""
    edges = (span.start + span.length * np.arange(cells + 1) / cells) * _SCALE
    sources = np.arange(SIDE)[:, None] * _SCALE
    overlap = np.minimum(edges[1:], sources + _SCALE) - np.maximum(edges[:-1], sources)
    weights = np.round(overlap.clip(0)).astype(np.float32)
    return np.asarray(weights[:, ::-1] if span.is_reversed else weights)


def _views() -> Iterator[View]:
    whole, mirrored = Span(), Span(is_reversed=True)
    yield View(whole, whole, is_symmetric=True)
    yield View(whole, mirrored, is_symmetric=True)
    yield View(mirrored, whole, is_symmetric=True)
    yield View(mirrored, mirrored, is_symmetric=True)
    yield View(mirrored, whole, is_turned=True)
    for length in _CROPPED:
        left = SIDE - length
        for y, x in ((left / 2, left / 2), (0, 0), (0, left), (left, 0), (left, left)):
            yield View(Span(y, length), Span(x, length))


PLAIN, *VIEWS = _views()
"""The picture; mirrored, upside down, turned by 180 and by 90 degrees; its middle and corners."""


def miniature(picture: Image.Image) -> bytes:
    """Return the greys of an RGB picture, made small; b"" if it has too little contrast."""
    small = resized(picture, (SIDE, SIDE), AREA).convert("L")
    darkest, lightest = cast(tuple[int, int], small.getextrema())
    return small.tobytes() if lightest - darkest >= FLAT else b""


def perceptual_hashes(miniatures: Array, view: View = PLAIN) -> Array:
    """Return 128 bits of each miniature, as 8 bands.

    Each spot of an 8 x 8 grid gives two bits: it is brighter than the spot to its
    right, and than the spot below. Greys are rounded, as noise would give bits to flat
    areas.
    """
    unit = view.unit(_GRID)
    spots = np.floor(view.resampled(miniatures, _GRID) / unit + 0.5).astype(np.int16)
    here, right, below = spots[:, :-1, :-1], spots[:, :-1, 1:], spots[:, 1:, :-1]
    bits = np.stack([here > right, here > below], axis=1).reshape(len(spots), -1)
    return np.packbits(bits, axis=1).view(np.uint16)


def look_alikes(count: int, miniatures: Callable[[Array], Array]) -> Iterator[Alike]:
    """Yield each pair of `count` photos that look alike, many at a time.

    `miniatures` returns those of the photos with these numbers; a chunk of them is in memory.
    """
    plain = _hashes(count, miniatures, PLAIN)
    yield from _confirmed(near_hashes(plain), miniatures, PLAIN)
    known = np.zeros(0, np.int64)
    for view in VIEWS:
        found = near_views(plain, _hashes(count, miniatures, view), view)
        for alike in _confirmed(found, miniatures, view):
            keys, first = np.unique(alike.one * count + alike.other, return_index=True)
            is_new = ~np.isin(keys, known)
            known = np.concatenate([known, keys[is_new]])
            yield alike.select(first[is_new])


def _hashes(count: int, miniatures: Callable[[Array], Array], view: View) -> Array:
    hashes = np.zeros((count, BANDS), np.uint16)
    for numbers in _chunks(np.arange(count)):
        hashes[numbers] = perceptual_hashes(miniatures(numbers), view)
    return hashes


def _chunks(numbers: Array) -> Iterator[Array]:
    return (numbers[start : start + _CHUNK] for start in range(0, len(numbers), _CHUNK))


def _confirmed(
    found: Iterable[Alike], miniatures: Callable[[Array], Array], view: View
) -> Iterator[Alike]:
    """Yield the pairs whose miniatures correlate, the smaller number first."""
    for pairs in _gathered(found):
        some, others = miniatures(pairs.one), view.resampled(miniatures(pairs.other), SIDE)
        are_alike, are_same = _correlate(some.astype(np.float64), others)
        low, high = np.minimum(pairs.one, pairs.other), np.maximum(pairs.one, pairs.other)
        yield Alike(low, high, pairs.bits, are_same).select(are_alike)


def _gathered(found: Iterable[Alike]) -> Iterator[Alike]:
    """Yield the same pairs about _CHUNK at a time: there are many arrays of a few."""
    waiting = [Alike.none()]
    for pairs in found:
        waiting.append(pairs)
        if sum(len(some.one) for some in waiting) >= _CHUNK:
            yield from _divided(waiting)
            waiting = [Alike.none()]
    yield from _divided(waiting)


def _divided(some: list[Alike]) -> Iterator[Alike]:
    pairs = Alike(*(np.concatenate(fields) for fields in zip(*some, strict=True)))
    return (pairs.select(numbers) for numbers in _chunks(np.arange(len(pairs.one))))


def _correlate(some: Array, others: Array) -> tuple[Array, Array]:
    """Return True for each two whose correlation is that of ALIKE, and that of SAME."""
    size = SIDE**2
    some, others = some.reshape(-1, size), others.reshape(-1, size)

    def products(one: Array, other: Array) -> Array:
        # Whole numbers below 2^53: exact in any order of the sums, so on every machine.
        return np.asarray(size * np.einsum("ij,ij->i", one, other) - one.sum(1) * other.sum(1))

    common = products(some, others)
    squared = np.where(common > 0, common * common, -1)
    most = products(some, some) * products(others, others)
    return squared >= ALIKE**2 * most, squared >= SAME**2 * most


def _distance(some: Array, others: Array) -> Array:
    bits = np.zeros(len(some), np.int64)
    for band in range(BANDS):
        bits += _BIT_COUNTS[some[:, band] ^ others[:, band]]
    return bits


def near_views(plain: Array, seen: Array, view: View) -> Iterator[Alike]:
    """Yield photo pairs of which the first's hash is near the hash of the second in the view.

    Pairs whose plain hashes are near are left out, and so is a photo that is like its own view.
    """
    count = len(plain)
    for across in near_hashes(np.concatenate([plain, seen]), count):
        one, other = across.one, across.other - count
        apart = one < other if view.is_symmetric else one != other
        new = apart & (_distance(plain[one], plain[other]) > MOST_BITS)
        yield Alike(one, other, across.bits, across.same).select(new)


def near_hashes(hashes: Array, first: int = 0) -> Iterator[Alike]:
    """Yield the pairs of numbers whose hashes differ in at most MOST_BITS, each pair once.

    With `first`, the hashes from this number on are those of a view: a pair has one of each.
    """
    places: list[Array] = []
    most = MOST_VIEWED if first else MOST_COMPARED
    for band in range(BANDS):
        # Neighbours with the same band are those with the most similar next one.
        order = np.lexsort([hashes[:, (band + 1) % BANDS], hashes[:, band]])
        places.append(_inverse(order))
        ordered, is_view = hashes[order, band], order >= first
        starts = np.arange(len(order))
        for step in range(1, most + 1):
            starts = starts[starts + step < len(order)]
            starts = starts[ordered[starts] == ordered[starts + step]]
            if not len(starts):
                break
            here = starts[is_view[starts] != is_view[starts + step]] if first else starts
            some, others = order[here], order[here + step]
            one, other = np.minimum(some, others), np.maximum(some, others)
            yield _near(hashes, places, Alike(one, other, one, np.zeros(len(one), bool)), most)


def _near(hashes: Array, places: list[Array], pairs: Alike, most: int) -> Alike:
    """Return the pairs whose hashes are near, but for those that an earlier band has compared."""
    bits = _distance(hashes[pairs.one], hashes[pairs.other])
    near = pairs._replace(bits=bits).select(bits <= MOST_BITS)
    compared = np.zeros(len(near.one), bool)
    for band, place in enumerate(places[:-1]):
        apart = np.abs(place[near.one] - place[near.other])
        compared |= (hashes[near.one, band] == hashes[near.other, band]) & (apart <= most)
    return near.select(~compared)


def _inverse(order: Array) -> Array:
    places = np.empty(len(order), np.int32)
    places[order] = np.arange(len(order))
    return places


def unite(roots: Array, one: Array, other: Array) -> None:
    """Give both photos of each pair, and all that have been united with them, the same root.

    The root is the smallest number of all of them.
    """
    apart = roots[one] != roots[other]
    for first, second in zip(one[apart].tolist(), other[apart].tolist(), strict=True):
        low, high = sorted((_root(roots, first), _root(roots, second)))
        roots[high] = low
    while not np.array_equal(shorter := roots[roots], roots):
        roots[:] = shorter


def _root(roots: Array, number: int) -> int:
    while roots[number] != number:
        number = int(roots[number])
    return number
