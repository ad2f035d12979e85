"""The random changes of a training image in each epoch, as settings of ImageRecordIter."""

from typing import Any

from finetune_trainer.contract import Augmentation

_MIRRORED = {"rand_mirror": True}
_CROPPED = {"rand_crop": True, **_MIRRORED}
_COLOURED = {"brightness": 0.2, "contrast": 0.2, "saturation": 0.2, "random_h": 18}
SETTINGS: dict[Augmentation, dict[str, Any]] = {
    "none": {},
    "crop": _CROPPED,
    "color": _CROPPED | _COLOURED,
    # A crop of random area and shape (Szegedy 2015), rotated by up to 10 degrees.
    "strong": {
        **_MIRRORED,
        **_COLOURED,
        "random_resized_crop": True,
        "min_random_area": 0.35,
        "max_random_area": 1.0,
        "min_aspect_ratio": 0.75,
        "max_aspect_ratio": 1.333,
        "max_rotate_angle": 10,
        "fill_value": 255,
    },
}
"""none: the centre; crop: a random place, mirrored or not; color: the same in
other light; strong: the same in another size, shape and angle."""
