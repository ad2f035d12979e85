"""The learning rate as a function of the epoch. It has no state to save or to restore."""

import dataclasses
import math
from typing import Literal

RISING = 0.3
"""Fraction of a one-cycle fit in which the rate rises (Smith and Topin 2018, as in fastai)."""
FIRST, LAST = 1 / 25, 1e-4
"""The first and the last rate of one cycle, as fractions of the highest."""


@dataclasses.dataclass(frozen=True)
class RateSchedule:
    """The factor of the learning rate by epoch. Epochs count from 0."""

    name: Literal["constant", "step", "cosine", "onecycle"] = "constant"
    warmup_epochs: float = 0.0
    """Epochs of a linear rise from zero; the schedule covers the epochs after it."""
    step_epochs: tuple[int, ...] = ()
    """Epochs after which `step` multiplies by `factor`."""
    factor: float = 0.1

    def rate(self, epoch: float, *, epochs: int) -> float:
        """Return the factor of the learning rate after `epoch` of `epochs` epochs."""
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
        if done < RISING:
            return _cosine(FIRST, 1.0, done / RISING)
        return _cosine(1.0, LAST, (done - RISING) / (1 - RISING))


def _cosine(first: float, last: float, done: float) -> float:
    return last + (first - last) * (1 + math.cos(math.pi * min(done, 1.0))) / 2
