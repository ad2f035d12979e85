"""The preprocessing of a picture for a network: the same in training, evaluation and use."""

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from finetune_trainer.contract import Framing, Struct

PREPROCESSING = "preprocessing.json"
LABELS = "labels.txt"


class Preprocessing(Struct):
    """The steps from a picture to the input of the network; the file is kept beside the weights.

    Framing Crop: resize the shorter side to `resizeShort`. Framing Whole: resize the longer side to
    7/8 of `resizeShort`, the shorter side by the same factor and up to 4/3 more; put the picture in
    the middle of a white square of `resizeShort`. Then cut the centre `inputSize` x `inputSize`:
    RGB, (pixel - mean) / std, channels first.
    """

    input_size: int
    mean: tuple[float, float, float]
    """The mean of R, G, B in 0..255."""
    std: tuple[float, float, float]
    framing: Framing = "Crop"
    """From here on the settings of the data set that the network was fitted to."""
    resize_short: int | None = None
    jpeg_quality: int = 90
    """The quality of the JPEG in which a picture is stored before the network reads it."""

    def centre_of(self, jpeg: bytes) -> NDArray[np.float32]:
        """Return the network's input [3,S,S] for a packed picture."""
        with Image.open(io.BytesIO(jpeg)) as image:
            pixels = np.asarray(image, dtype=np.float32)
        size = self.input_size
        top, left = ((side - size) // 2 for side in pixels.shape[:2])
        cut = pixels[top : top + size, left : left + size]
        mean, std = (np.array(values, np.float32) for values in (self.mean, self.std))
        normal = (cut - mean) / std
        return np.ascontiguousarray(normal.transpose(2, 0, 1))
