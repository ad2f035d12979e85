"""Runs a network batch by batch, on GPUs or CPUs, without training it."""

from collections.abc import Iterator
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model.network import Network


def outputs(
    network: Network, batches: mx.io.DataIter, contexts: list[Any]
) -> Iterator[tuple[NDArray[np.float32], NDArray[np.int64]]]:
    """Yield the network's output and the labels for the images of each batch."""
    for batch, values in forward(network, batches, contexts):
        yield values, labels_of(batch)


def forward(
    network: Network, batches: mx.io.DataIter, contexts: list[Any]
) -> Iterator[tuple[mx.io.DataBatch, NDArray[np.float32]]]:
    """Yield each batch, and the network's output for its images.

    The network is bound for inference only, so that MXNet fuses operators: that is three times the
    speed of a module that can also train.
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
    """Return the labels of a batch's images."""
    return np.asarray(batch.label[0].asnumpy()[: real_rows(batch)], dtype=np.int64)


def contexts_of(*, gpus: int, cpus: int = 1) -> list[Any]:
    """Return the contexts of `gpus` GPUs; if that is 0, those of `cpus` CPUs."""
    if gpus > (available := mx.context.num_gpus()):
        raise TrainerError(
            ExitCode.UnsupportedHardware,
            f"{gpus} GPUs were asked for, but MXNet finds {available}",
            "use the GPU image on a node whose driver works: see nvidia-smi there",
        )
    return [mx.gpu(i) for i in range(gpus)] if gpus else [mx.cpu(i) for i in range(cpus)]


def real_rows(batch: mx.io.DataBatch) -> int:
    """Return the number of rows that are images of this pass; the others only fill the batch."""
    return int(batch.data[0].shape[0]) - int(batch.pad or 0)
