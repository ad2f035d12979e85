"""Small pictures of packed photos, to be embedded in HTML pages."""

import base64
import io
from pathlib import Path

from PIL import Image

from finetune_trainer.dataset.recordio import read_image

SIDE = 96
QUALITY = 75


def data_uri(record: Path, offset: int, *, side: int = SIDE) -> str:
    """Return the photo of a record as a JPEG data URI, its longer side `side` pixels."""
    return shrink(read_image(record, offset), side=side)


def shrink(image: bytes, *, side: int = SIDE) -> str:
    """Return an encoded picture as a smaller JPEG data URI."""
    with Image.open(io.BytesIO(image)) as picture:
        picture.draft("RGB", (side, side))
        picture.thumbnail((side, side))
        encoded = io.BytesIO()
        picture.convert("RGB").save(encoded, "JPEG", quality=QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(encoded.getvalue()).decode()}"
