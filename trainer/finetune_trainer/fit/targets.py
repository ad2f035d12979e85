"""Targets of training that replace the labels: smoothed, mixed, weighted.

A row of targets belongs to one image. The gradient of its logits is w * softmax - target; w is the
sum of the row.
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
    """Share of a row that is spread evenly over all classes (Szegedy et al. 2016)."""
    mixup: float = 0.0
    """alpha of Beta(alpha, alpha), which gives each batch its share (Zhang et al. 2018)."""
    cutmix: float = 0.0
    """alpha of the share that an image keeps outside of a box from another image (Yun et al. 2019).
    With mixup, each batch draws one of the two, as timm does."""
    weights: NDArray[np.float32] | None = None
    """Weight of each class; None: all classes have weight 1."""

    def of(self, batch: mx.io.DataBatch, *, seed: int) -> mx.io.DataBatch:
        """Return the batch with mixed images, and targets (rows, classes) instead of labels."""
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
    """Return a mask (1, 1, height, width): 0 in a box, else 1. The box has the image's aspect ratio
    and a random centre, and leaves `share` of the image unless it is cut off at an edge.
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
    """Return class weights that make all classes count the same, with mean 1 over the images."""
    return np.asarray(counts.sum() / (len(counts) * np.maximum(counts, 1)), dtype=np.float32)


def with_targets(symbol: Any) -> Any:
    """Return the classifier with a loss on rows of targets; its first output is unchanged."""
    logits = symbol.get_children()[0]
    loss = -mx.sym.sum(mx.sym.var(LABEL) * mx.sym.log_softmax(logits), axis=1)
    probabilities = mx.sym.BlockGrad(mx.sym.softmax(logits), name="probabilities")
    return mx.sym.Group([probabilities, mx.sym.MakeLoss(loss, name="loss")])
