"""The learning rate as a function of the place in the fit: nothing to save, nothing to restore."""

import dataclasses
import math
from typing import Literal

RISE = 0.3
"""The part of a one-cycle fit in which the rate rises (Smith and Topin 2018, as fastai has it)."""
START, END = 1 / 25, 1e-4
"""What the first and the last rate of one cycle are of the highest."""


@dataclasses.dataclass(frozen=True)
class RateSchedule:
    """How the learning rate changes. Epochs count from 0."""

    name: Literal["constant", "step", "cosine", "onecycle"] = "constant"
    warmup_epochs: float = 0.0
    """Of a linear rise from zero; the schedule is over what is left."""
    step_epochs: tuple[int, ...] = ()
    """Epochs after which `step` multiplies by `factor`."""
    factor: float = 0.1

    def rate(self, epoch: float, *, epochs: int) -> float:
        """Return what to multiply the learning rate by after so many epochs of `epochs`."""
        if epoch < self.warmup_epochs:
            return epoch / self.warmup_epochs
        match self.name:
            case "constant":
                return 1.0
            case "step":
                return float(self.factor ** sum(epoch >= step for step in self.step_epochs))
        done = (epoch - self.warmup_epochs) / max(epochs - self.warmup_epochs, 1e-9)
        if self.name == "cosine":
            return _cosine(1.0, 0.0, done)
        if done < RISE:
            return _cosine(START, 1.0, done / RISE)
        return _cosine(1.0, END, (done - RISE) / (1 - RISE))


def _cosine(first: float, last: float, done: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * min(done, 1.0))) / 2
