"""What is done to a picture before a network sees it: the same in training, evaluation and
prediction. Imports no MXNet.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from finetune_trainer.contract import Framing, Struct

PREPROCESSING = "preprocessing.json"
LABELS = "labels.txt"


class Preprocessing(Struct):
    """What is done to an image before the network sees it; travels with the weights.

    Framing Crop: resize the shorter side to `resizeShort`. Whole: resize to 7/8 of `resizeShort`
    what is longer, and the other side by at most 4/3 more than that; put it in the middle of a
    white square of `resizeShort`. Then cut the centre `inputSize` x `inputSize`, RGB,
    (pixel - mean) / std, channels first.
    """

    input_size: int
    mean: tuple[float, float, float]
    """Of R, G, B in 0..255."""
    std: tuple[float, float, float]
    framing: Framing = "Crop"
    """This and what follows come with the data set that the network was fitted to."""
    resize_short: int | None = None
    jpeg_quality: int = 90
    """Of the file that a picture is stored in before the network sees it."""

    def centre_of(self, jpeg: bytes) -> NDArray[np.float32]:
        """Return what the network sees [3,S,S] of a picture as it is packed."""
        with Image.open(io.BytesIO(jpeg)) as image:
            pixels = np.asarray(image, dtype=np.float32)
        size = self.input_size
        top, left = ((side - size) // 2 for side in pixels.shape[:2])
        cut = pixels[top : top + size, left : left + size]
        mean, std = (np.array(values, np.float32) for values in (self.mean, self.std))
        normal = (cut - mean) / std
        return np.ascontiguousarray(normal.transpose(2, 0, 1))
