"""What is done to a picture before a network sees it: the same in training, evaluation and
prediction. Imports no MXNet.
"""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from finetune_trainer.contract import Struct

PREPROCESSING = "preprocessing.json"
LABELS = "labels.txt"


class Preprocessing(Struct):
    """What is done to an image before the network sees it; travels with the weights.

    Resize the shorter side to `resizeShort`, cut the centre `inputSize` x `inputSize`, RGB,
    (pixel - mean) / std, channels first.
    """

    input_size: int
    mean: tuple[float, float, float]
    """Of R, G, B in 0..255."""
    std: tuple[float, float, float]
    resize_short: int | None = None
    """Comes with the data set that the network was fitted to."""

    def centre_of(self, jpeg: bytes) -> NDArray[np.float32]:
        """Return what the network sees [3,S,S] of a picture as it is packed, resized already."""
        with Image.open(io.BytesIO(jpeg)) as image:
            pixels = np.asarray(image, dtype=np.float32)
        size = self.input_size
        top, left = ((side - size) // 2 for side in pixels.shape[:2])
        cut = pixels[top : top + size, left : left + size]
        mean, std = (np.array(values, np.float32) for values in (self.mean, self.std))
        normal = (cut - mean) / std
        return np.ascontiguousarray(normal.transpose(2, 0, 1))
