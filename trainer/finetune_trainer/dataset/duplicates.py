"""Which photos are the same, and which look alike. Near-linear in their number."""

from collections import defaultdict
from collections.abc import Iterable, Iterator

from PIL import Image

BANDS, BAND_BITS = 8, 16
LIKENESS = BANDS - 1
"""Photos look alike if at most so many of 128 bits differ: then one band at least is the same."""
MOST_COMPARED = 64
"""Of one band's photos, each is compared with so many neighbours: nothing becomes quadratic."""
FLAT = 8
"""With less contrast than this a picture has no look that could be compared."""
_GRID = 9


def look_of(picture: Image.Image) -> int | None:
    """Return 128 bits: is each spot of a coarse grid brighter than the next, than the one below."""
    green = picture.getchannel(min(1, len(picture.getbands()) - 1))
    spots = green.reduce(4).resize((_GRID, _GRID), Image.Resampling.BOX).tobytes()
    if max(spots) - min(spots) < FLAT:
        return None
    look = 0
    for row in range(0, _GRID * (_GRID - 1), _GRID):
        for spot in range(row, row + _GRID - 1):
            right, below = spots[spot] > spots[spot + 1], spots[spot] > spots[spot + _GRID]
            look = look << 2 | right << 1 | below
    return look


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
    seen: set[tuple[int, int]] = set()
    for band in range(BANDS):
        buckets: dict[int, list[int]] = defaultdict(list)
        for look in first:
            buckets[look >> band * BAND_BITS & (1 << BAND_BITS) - 1].append(look)
        for bucket in buckets.values():
            bucket.sort()
            for place, one in enumerate(bucket):
                for other in bucket[place + 1 : place + 1 + MOST_COMPARED]:
                    bits = (one ^ other).bit_count()
                    pair = first[one], first[other]
                    if bits <= LIKENESS and pair not in seen:
                        seen.add(pair)
                        yield *sorted(pair), bits  # type: ignore[misc]
