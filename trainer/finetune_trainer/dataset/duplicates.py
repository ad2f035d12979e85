"""Which photos are the same, and which look alike. Near-linear in their number."""

from array import array
from collections.abc import Iterable, Iterator, Sequence

import numpy as np
from PIL import Image

from finetune_trainer.dataset.resize import AREA, resized

BANDS, BAND_BITS = 8, 16
LIKENESS = BANDS - 1
"""Photos look alike if at most so many of 128 bits differ: then one band at least is the same."""
MOST_COMPARED = 64
"""Of one band's photos, each is compared with so many neighbours: nothing becomes quadratic."""
FLAT = 8
"""With less contrast than this a picture has no look that could be compared."""
_GRID = 9


def look_of(picture: Image.Image) -> int | None:
    """Return 128 bits of an RGB picture: whether the green of each spot of a coarse grid is
    brighter than that of the next spot; then, whether it is than that of the one below.
    """
    greens = resized(picture, (_GRID, _GRID), AREA).tobytes()[1::3]
    if max(greens) - min(greens) < FLAT:
        return None
    spots = np.frombuffer(greens, np.uint8).reshape(_GRID, _GRID)
    here, right, below = spots[:-1, :-1], spots[:-1, 1:], spots[1:, :-1]
    return int.from_bytes(np.packbits([here > right, here > below]).tobytes())


def alike(looks: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int, int]]:
    """Yield (photo, photo, bits that differ) for the (photo, look) that look alike.

    Of photos with the very same look each is paired with the first one only.
    """
    first: dict[int, int] = {}
    for photo, look in looks:
        if look in first:
            yield first[look], photo, 0
        else:
            first[look] = photo
    distinct = sorted(first)
    places: list[Sequence[int]] = []
    for band in range(BANDS):
        # Sorted, not collected by band: for many photos that takes much less memory.
        parts = array("H", (_part(band, look) for look in distinct))
        order = sorted(range(len(distinct)), key=parts.__getitem__)
        for place, one in enumerate(order):
            for other in order[place + 1 : place + 1 + MOST_COMPARED]:
                if parts[one] != parts[other]:
                    break
                difference = distinct[one] ^ distinct[other]
                bits = difference.bit_count()
                if bits <= LIKENESS and not _was_compared(one, other, difference, places):
                    pair = sorted((first[distinct[one]], first[distinct[other]]))
                    yield pair[0], pair[1], bits
        places.append(_inverse(order))


def _part(band: int, look: int) -> int:
    return look >> band * BAND_BITS & (1 << BAND_BITS) - 1


def _was_compared(one: int, other: int, difference: int, places: list[Sequence[int]]) -> bool:
    """Tell whether an earlier band had both near each other, as `places` in its order say."""
    return any(
        not _part(band, difference) and abs(place[one] - place[other]) <= MOST_COMPARED
        for band, place in enumerate(places)
    )


def _inverse(order: list[int]) -> Sequence[int]:
    places = array("I", bytes(4 * len(order)))
    for place, number in enumerate(order):
        places[number] = place
    return places
