"""The size in which photos are stored: the job's, else one that follows the network's input."""

import io
from collections.abc import Iterator
from itertools import islice

from PIL import Image as Picture

from finetune_trainer.contract import Image
from finetune_trainer.dataset.layouts.found import Found
from finetune_trainer.dataset.recordio import RecordError, read_image

INPUT_SIZE = 224
"""Height and width of a network's images, in pixels, where nothing says it."""
MARGIN = 8 / 7
"""The stored size as a multiple of the network's input: the margin that random crops move in."""
RECORDS = 16
"""The number of records from which the size of all is taken."""


def stored_size(input_size: int) -> int:
    """Return the size in which photos are stored for a network: 256 for 224, 297 for 260."""
    return round(MARGIN * input_size)


def choose_size(image: Image, found: Found, input_size: int | None) -> int:
    """Return the size that the job sets, else the network's.

    Records of one size that suffices for the network are not resized.
    """
    if image.resize_short is not None:
        return image.resize_short
    needed = input_size or INPUT_SIZE
    wanted = stored_size(needed)
    if found.layout != "RecordIO":
        return wanted
    sides = set(islice(_sides(found), RECORDS))
    own = sides.pop() if len(sides) == 1 else 0
    return own if needed <= own <= wanted else wanted


def _sides(found: Found) -> Iterator[int]:
    """Yield the shorter side of each record that can be read."""
    scan = found.splits["train"]
    for photo in scan.photos:
        try:
            data = read_image(scan.root / photo.file, photo.offset or 0)
            with Picture.open(io.BytesIO(data)) as picture:
                yield min(picture.size)
        except (OSError, RecordError):
            continue
