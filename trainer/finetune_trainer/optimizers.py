"""Optimizers that MXNet 1.9 does not have, under names that it finds."""

from typing import Any

import mxnet as mx


@mx.optimizer.register
class AdamW(mx.optimizer.Adam):  # type: ignore[misc]  # MXNet has no types
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): the decay is of the weight
    itself and does not pass through the averages of the gradients.
    """

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Decay the weight, then take Adam's step."""
        (decay,), rate = super()._get_wds([index]), self._get_lr(index)
        weight *= 1 - rate * decay
        super().update(index, weight, grad, state)

    def _get_wds(self, indices: list[Any]) -> list[float]:
        """Return what Adam itself is to add to the gradients."""
        return [0.0] * len(indices)
