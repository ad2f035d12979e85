"""Exact scores of a network: every image counted once, however the batches were filled up."""

import dataclasses
import math
from collections.abc import Callable, Iterator
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.reader import real_rows
from finetune_trainer.evaluate.metrics import total_loss
from finetune_trainer.model.network import Network


@dataclasses.dataclass
class Score:
    """Counts over the images seen so far."""

    correct: int = 0
    total: int = 0
    loss: float = 0.0
    """Sum of the cross-entropies, in nats."""

    def add(self, probabilities: NDArray[np.float32], labels: NDArray[np.int64]) -> None:
        """Count a batch's rows."""
        classes = probabilities.shape[1]
        if labels.size and not 0 <= labels.min() <= labels.max() < classes:
            # SoftmaxOutput would take it in silence and learn nonsense.
            raise TrainerError(
                ExitCode.InvalidData,
                f"the packed data has a label {labels.max()}, but there are {classes} classes",
                "delete the packed data from the workspace, so that it is made again",
            )
        right = probabilities[np.arange(len(labels)), labels]
        self.correct += int((probabilities.argmax(axis=1) == labels).sum())
        self.total += len(labels)
        self.loss += total_loss(right)

    @property
    def accuracy(self) -> float:
        """Share of the images whose most probable class is the right one."""
        return self.correct / max(1, self.total)

    @property
    def cross_entropy(self) -> float:
        """Mean loss of an image."""
        return self.loss / max(1, self.total)

    @property
    def is_finite(self) -> bool:
        """Whether the network still gives numbers."""
        return math.isfinite(self.loss)


def score(
    network: Network,
    batches: mx.io.DataIter,
    contexts: list[Any],
    *,
    seen: Callable[[int], None] = lambda rows: None,
) -> Score:
    """Score a classifier on all images of `batches`; `seen` is called with each batch's rows."""
    total = Score()
    for probabilities, labels in outputs(network, batches, contexts):
        total.add(probabilities, labels)
        seen(len(labels))
    return total


def outputs(
    network: Network, batches: mx.io.DataIter, contexts: list[Any]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Yield the network's output and the labels of each batch, without the rows that fill it up."""
    for batch, values in forward(network, batches, contexts):
        yield values, labels_of(batch)


def forward(
    network: Network, batches: mx.io.DataIter, contexts: list[Any]
) -> Iterator[tuple[mx.io.DataBatch, NDArray[np.float32]]]:
    """Yield each batch and the network's output for its real rows.

    Bound for inference only: MXNet then fuses the operators, three times the speed of a module
    that could also train.
    """
    (shape,) = (entry.shape for entry in batches.provide_data)
    labels = [(n, shape[:1]) for n in network.symbol.list_arguments() if n == "softmax_label"]
    module = mx.mod.Module(
        network.symbol, label_names=[n for n, _ in labels], context=contexts[: shape[0]]
    )
    module.bind([("data", shape)], labels or None, for_training=False)
    module.set_params(network.args, network.aux)
    for batch in batches:
        module.forward(batch, is_train=False)
        yield batch, module.get_outputs()[0].asnumpy()[: real_rows(batch)]


def labels_of(batch: mx.io.DataBatch) -> NDArray[np.int64]:
    """Return the labels of the rows that are images."""
    return np.asarray(batch.label[0].asnumpy()[: real_rows(batch)], dtype=np.int64)


def contexts(*, devices: int, cpus: int = 1) -> list[Any]:
    """Return the GPUs, or `cpus` CPU contexts without one."""
    if devices > (found := mx.context.num_gpus()):
        raise TrainerError(
            ExitCode.UnsupportedHardware,
            f"{devices} GPUs were asked for, but MXNet finds {found}",
            "use the GPU image on a node whose driver works: see nvidia-smi there",
        )
    return [mx.gpu(i) for i in range(devices)] if devices else [mx.cpu(i) for i in range(cpus)]
