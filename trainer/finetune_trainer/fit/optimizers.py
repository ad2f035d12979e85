"""Optimizers that MXNet 1.9 lacks, registered under names that it finds, and clipping by norm."""

from typing import Any

import mxnet as mx


@mx.optimizer.register
class AdamW(mx.optimizer.Adam):  # type: ignore[misc]  # MXNet has no types
    """Adam with decoupled weight decay (Loshchilov and Hutter 2019): the decay applies to the
    weight itself, and not to the averages of the gradients.
    """

    def update(self, index: Any, weight: Any, grad: Any, state: Any) -> None:
        """Decay the weight, then make Adam's step."""
        (decay,), rate = super()._get_wds([index]), self._get_lr(index)
        weight *= 1 - rate * decay
        super().update(index, weight, grad, state)

    def _get_wds(self, indices: list[Any]) -> list[float]:
        """Return the weight decay that Adam itself adds to the gradients: none."""
        return [0.0] * len(indices)


class ClippingUpdater(mx.optimizer.Updater):  # type: ignore[misc]  # MXNet has no types
    """Scales all gradients down together if their norm is above `limit` (Pascanu et al. 2013).
    MXNet's own clip_gradient clips each number by itself, which changes the step's direction.

    It is called once for each device, with gradients that are already added up over all devices;
    the norm is that of the mean over their images.
    """

    def __init__(self, optimizer: Any, *, limit: float) -> None:
        super().__init__(optimizer)
        self._limit = limit

    def __call__(self, index: Any, grad: Any, weight: Any) -> None:
        """Update the weights of one device."""
        scale = self.optimizer.rescale_grad
        squares = mx.nd.multi_sum_sq(*grad, num_arrays=len(grad))
        norm = scale * float(squares.sum().sqrt().asscalar())
        # In this order max() ignores a NaN norm: the weights become NaN, and the fit ends.
        self.optimizer.rescale_grad = scale * self._limit / max(self._limit, norm)
        super().__call__(index, grad, weight)
        self.optimizer.rescale_grad = scale
