"""What a network is trained towards when labels alone are not it: smoothed, mixed, weighted.

A row of targets stands for one image; with the row sum w, the gradient of the logits is
w * softmax - target.
"""

import dataclasses
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

LABEL = "softmax_label"


@dataclasses.dataclass(frozen=True)
class Targets:
    """Turns batches with labels into batches with rows of targets."""

    classes: int
    smoothing: float = 0.0
    """Share of a row that is spread over all classes (Szegedy et al. 2016)."""
    mixup: float = 0.0
    """alpha of Beta(alpha, alpha), from which each batch draws its mixture (Zhang et al. 2018)."""
    weights: NDArray[np.float32] | None = None
    """Of each class."""

    def of(self, batch: mx.io.DataBatch, *, seed: int) -> mx.io.DataBatch:
        """Return the batch with its images mixed and (rows, classes) targets for labels."""
        (data,), (labels,) = batch.data, batch.label
        rows = self._rows(labels.asnumpy().astype(np.int64))
        if self.mixup:
            random = np.random.default_rng(seed)
            share, order = random.beta(self.mixup, self.mixup), random.permutation(len(rows))
            rows = share * rows + (1 - share) * rows[order]
            data = share * data + (1 - share) * mx.nd.take(data, mx.nd.array(order))
        return mx.io.DataBatch([data], [mx.nd.array(rows)], pad=batch.pad)

    def _rows(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = np.full((len(labels), self.classes), self.smoothing / self.classes, np.float32)
        rows[np.arange(len(labels)), labels] += 1 - self.smoothing
        return rows if self.weights is None else rows * self.weights[labels, None]


def balanced(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return weights that make all classes count alike, with mean 1 over the images."""
    return np.asarray(counts.sum() / (len(counts) * np.maximum(counts, 1)), dtype=np.float32)


def with_targets(symbol: Any) -> Any:
    """Return a classifier that learns from rows of targets; its first output is unchanged."""
    logits = symbol.get_children()[0]
    loss = -mx.sym.sum(mx.sym.var(LABEL) * mx.sym.log_softmax(logits), axis=1)
    probabilities = mx.sym.BlockGrad(mx.sym.softmax(logits), name="probabilities")
    return mx.sym.Group([probabilities, mx.sym.MakeLoss(loss, name="loss")])
