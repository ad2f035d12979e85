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
    cutmix: float = 0.0
    """alpha for the share that images keep beside a box of another one (Yun et al. 2019). With
    mixup, a coin says for each batch which of the two it is, as timm has it."""
    weights: NDArray[np.float32] | None = None
    """Of each class."""

    def of(self, batch: mx.io.DataBatch, *, seed: int) -> mx.io.DataBatch:
        """Return the batch with its images mixed and (rows, classes) targets for labels."""
        (data,), (labels,) = batch.data, batch.label
        rows = self._rows(labels.asnumpy().astype(np.int64))
        if self.mixup or self.cutmix:
            random = np.random.default_rng(seed)
            cuts = self.cutmix and (not self.mixup or random.random() < 0.5)
            alpha = self.cutmix if cuts else self.mixup
            share, order = random.beta(alpha, alpha), random.permutation(len(rows))
            others = mx.nd.take(data, mx.nd.array(order))
            if cuts:
                kept = _outside_a_box(data.shape[2:], share, random)
                share, mask = kept.mean(), mx.nd.array(kept)
                data = mx.nd.where(mx.nd.broadcast_like(mask, data), data, others)
            else:
                data = share * data + (1 - share) * others
            rows = share * rows + (1 - share) * rows[order]
        return mx.io.DataBatch([data], [mx.nd.array(rows)], pad=batch.pad)

    def _rows(self, labels: NDArray[np.int64]) -> NDArray[np.float32]:
        rows = np.full((len(labels), self.classes), self.smoothing / self.classes, np.float32)
        rows[np.arange(len(labels)), labels] += 1 - self.smoothing
        return rows if self.weights is None else rows * self.weights[labels, None]


def _outside_a_box(
    size: tuple[int, int], share: float, random: np.random.Generator
) -> NDArray[np.float32]:
    """Return (1, 1, height, width): 0 in a box of the image's shape with its centre anywhere, which
    leaves this share where it does not reach over an edge; else 1.
    """
    half = np.sqrt(1 - share) / 2
    mask = np.ones((1, 1, *size), np.float32)
    centres = random.random(2)
    rows, columns = (
        slice(*np.round(np.clip((centre - half, centre + half), 0, 1) * length).astype(int))
        for centre, length in zip(centres, size, strict=True)
    )
    mask[:, :, rows, columns] = 0
    return mask


def balanced(counts: NDArray[np.int64]) -> NDArray[np.float32]:
    """Return weights that make all classes count alike, with mean 1 over the images."""
    return np.asarray(counts.sum() / (len(counts) * np.maximum(counts, 1)), dtype=np.float32)


def with_targets(symbol: Any) -> Any:
    """Return a classifier that learns from rows of targets; its first output is unchanged."""
    logits = symbol.get_children()[0]
    loss = -mx.sym.sum(mx.sym.var(LABEL) * mx.sym.log_softmax(logits), axis=1)
    probabilities = mx.sym.BlockGrad(mx.sym.softmax(logits), name="probabilities")
    return mx.sym.Group([probabilities, mx.sym.MakeLoss(loss, name="loss")])
