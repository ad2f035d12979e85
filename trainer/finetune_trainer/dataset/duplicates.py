"""Finds photos that look alike by a perceptual hash. Near-linear in their number."""

from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from PIL import Image

from finetune_trainer.dataset.resize import AREA, resized

BANDS, BAND_BITS = 8, 16
"""A hash of 128 bits is compared by its bands of 16 bits."""
MOST_BITS = BANDS - 1
"""Photos look alike if at most 7 bits differ: then at least one of the 8 bands is the same."""
MOST_COMPARED = 64
"""Neighbours that a photo is compared with in each band, so that the time stays near-linear."""
FLAT = 8
"""A picture with less contrast (of 255) has no hash: its bits would be noise."""
_GRID = 9


def perceptual_hash(picture: Image.Image) -> int | None:
    """Return 128 bits of an RGB picture, or None if it has too little contrast.

    Each spot of an 8 x 8 grid gives two bits: its green is brighter than that of the spot to its
    right, and than that of the spot below.
    """
    greens = resized(picture, (_GRID, _GRID), AREA).tobytes()[1::3]
    if max(greens) - min(greens) < FLAT:
        return None
    spots = np.frombuffer(greens, np.uint8).reshape(_GRID, _GRID)
    here, right, below = spots[:-1, :-1], spots[:-1, 1:], spots[1:, :-1]
    return int.from_bytes(np.packbits([here > right, here > below]).tobytes())


def near_duplicates(hashes: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield (photo, photo, bits that differ) for each two (photo, hash) that look alike.

    A photo with the hash of an earlier one is paired with the first such photo only.
    """
    first: dict[int, int] = {}
    for photo, hashed in hashes:
        if hashed in first:
            yield first[hashed], photo, 0
        else:
            first[hashed] = photo
    distinct = sorted(first)
    places: list[Sequence[int]] = []
    for band in range(BANDS):
        # Sorted, not collected in a dict by band: that takes much less memory for many photos.
        bands = array("H", (_band(band, hashed) for hashed in distinct))
        order = sorted(range(len(distinct)), key=bands.__getitem__)
        for place, one in enumerate(order):
            for other in order[place + 1 : place + 1 + MOST_COMPARED]:
                if bands[one] != bands[other]:
                    break
                difference = distinct[one] ^ distinct[other]
                bits = difference.bit_count()
                if bits <= MOST_BITS and not _was_compared(one, other, difference, places):
                    pair = sorted((first[distinct[one]], first[distinct[other]]))
                    yield pair[0], pair[1], bits
        places.append(_inverse(order))


def _band(band: int, hashed: int) -> int:
    return hashed >> band * BAND_BITS & (1 << BAND_BITS) - 1


def _was_compared(one: int, other: int, difference: int, places: list[Sequence[int]]) -> bool:
    """Return True if an earlier band, in the order `places`, had both close to each other."""
    return any(
        not _band(band, difference) and abs(place[one] - place[other]) <= MOST_COMPARED
        for band, place in enumerate(places)
    )


def _inverse(order: list[int]) -> Sequence[int]:
    places = array("I", bytes(4 * len(order)))
    for place, number in enumerate(order):
        places[number] = place
    return places
