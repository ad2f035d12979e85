"""The mean of a network's weights over its training, often better than the last weights."""

import math
from typing import Any, Literal

from finetune_trainer.fit.learner import Learner
from finetune_trainer.model.network import Network

Kind = Literal["none", "ema", "soup"]

DECAY = 0.999
"""Decay of the moving average after its start: about the last thousand steps count."""
SOUP_SHARE = 0.25
"""Share of the epochs, the last ones, whose weights are averaged (Izmailov et al. 2018)."""


def share_of_step(step: int) -> float:
    """Return the share of the weights after the `step`-th update in their moving average.

    The average is over the last ninth of the steps, until that is longer than DECAY gives. So the
    average of a short fit does not depend on its start (timm has this from TensorFlow).
    """
    return 1 - min(DECAY, (1 + step) / (10 + step))


def share_of_epoch(epoch: int, *, epochs: int) -> float:
    """Return the share of the weights after the `epoch`-th epoch in the mean so far; 0: the epoch
    is not one of the last ones.
    """
    first = epochs - math.ceil(SOUP_SHARE * epochs) + 1
    return 1 / (epoch - first + 1) if epoch >= first else 0.0


class Average:
    """The mean of the weights and of BatchNorm's statistics, on the learner's first device."""

    def __init__(self, kind: Kind, learner: Learner, start: dict[str, Any]) -> None:
        self._kind, self._learner = kind, learner
        self.arrays = {
            name: start[name].as_in_context(value.context)
            for name, value in learner.arrays().items()
            if name in start
        }
        """The mean, by names of the arrays; empty: there is no mean yet."""
        if kind == "ema" and not start:
            self._add(1.0)

    @property
    def network(self) -> Network:
        """The network with the mean, or the learner's network while there is no mean."""
        if not self.arrays:
            return self._learner.network
        symbol = self._learner.symbol
        states = set(symbol.list_auxiliary_states())
        args = {name: value for name, value in self.arrays.items() if name not in states}
        return Network(symbol, args, {name: self.arrays[name] for name in states})

    def after_step(self, step: int) -> None:
        """Add the weights to a moving average."""
        if self._kind == "ema":
            self._add(share_of_step(step))

    def after_epoch(self, epoch: int, *, epochs: int) -> None:
        """Add the weights to a mean of epochs."""
        if self._kind == "soup" and (share := share_of_epoch(epoch, epochs=epochs)):
            self._add(share)

    def _add(self, share: float) -> None:
        for name, value in self._learner.arrays().items():
            if share == 1.0:
                self.arrays[name] = value.copy()
            else:
                self.arrays[name] += share * (value - self.arrays[name])
