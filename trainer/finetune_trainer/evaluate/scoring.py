"""Exact accuracy and loss of a network: every image counts once, whatever pads the last batch."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.evaluate.metrics import total_loss
from finetune_trainer.model.inference import outputs
from finetune_trainer.model.network import Network


@dataclasses.dataclass
class Score:
    """Counts over the images so far."""

    correct: int = 0
    total: int = 0
    loss: float = 0.0
    """Sum of the cross-entropies, in nats."""

    def add(self, probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        """Count a batch's rows."""
        classes = probabilities.shape[1]
        if labels.size and not 0 <= labels.min() <= labels.max() < classes:
            # SoftmaxOutput accepts such a label without an error, and learns from it.
            raise TrainerError(
                ExitCode.InvalidData,
                f"the packed data has a label {labels.max()}, but there are {classes} classes",
                "Delete the folder packed/ of the workspace, so that it is packed again.",
            )
        right = probabilities[np.arange(len(labels)), labels]
        self.correct += int((probabilities.argmax(axis=1) == labels).sum())
        self.total += len(labels)
        self.loss += total_loss(right)

    @property
    def accuracy(self) -> float:
        """Share of the images that are classified correctly."""
        return self.correct / max(1, self.total)

    @property
    def cross_entropy(self) -> float:
        """Mean cross-entropy of an image, in nats."""
        return self.loss / max(1, self.total)

    @property
    def is_finite(self) -> bool:
        """False if the loss is NaN or infinite."""
        return math.isfinite(self.loss)


def score_all(
    network: Network,
    batches: mx.io.DataIter,
    contexts: list[Any],
    *,
    on_batch: Callable[[int], None] = lambda rows: None,
) -> Score:
    """Score a network on all images. `on_batch` is called with the number of images of a batch."""
    total = Score()
    for probabilities, labels in outputs(network, batches, contexts):
        total.add(probabilities, labels)
        on_batch(len(labels))
    return total
