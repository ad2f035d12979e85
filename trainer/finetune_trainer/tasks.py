"""What a recipe makes the loop train: the whole network on images, or its head on features."""

import dataclasses
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

from finetune_trainer.dataset.read import Reader
from finetune_trainer.features import Extraction, Features
from finetune_trainer.handoff import Built
from finetune_trainer.model.network import Network
from finetune_trainer.recipes import Recipe

TRAINING_COST = 3.0
"""Training on an image against looking at it: the way back is twice the way forward."""
HEAD_COST = 0.01


@dataclasses.dataclass(frozen=True)
class Task:
    """A classifier, the batches that train it and those that measure it."""

    network: Network
    """Without parameters for what is to be initialised."""
    batches: Callable[[int], mx.io.DataIter]
    """The training batches of an epoch, by the epoch's seed."""
    validation: Callable[[], mx.io.DataIter]
    whole: Callable[[Network], Network]
    """The network to save, from the one that was trained."""
    shape: tuple[int, ...]
    """Of a training batch."""
    devices: list[Any]
    cost: float
    """Of training on one row, in images through the trunk."""


def on_images(network: Network, *, train: Reader, validation: Reader, devices: list[Any]) -> Task:
    """Train the whole network on random crops."""
    return Task(
        network=network,
        batches=lambda seed: train.shuffled_crops(seed=seed),
        validation=validation.centre,
        whole=lambda trained: trained,
        shape=(train.batch_size, 3, train.input_size, train.input_size),
        devices=devices[: train.batch_size],
        cost=TRAINING_COST,
    )


def extraction(network: Network, built: Built, recipe: Recipe, **readers: Reader) -> Extraction:
    """Return what must be computed before the head can train: its inputs."""
    symbol = network.symbol.get_internals()[built.features]
    return Extraction(
        model=Path(built.directory),
        trunk=Network(symbol, network.args, network.aux),
        views=recipe.views,
        seed=recipe.seed,
        **readers,
    )


def on_features(
    network: Network, features: Features, *, batch_size: int, devices: list[Any]
) -> Task:
    """Train the head alone.

    Its inputs are shifted and scaled to mean 0 and variance 1 (one scale for all, so that weight
    decay treats them alike); afterwards the head's parameters take that in, and the network that
    is saved wants its own features as they are.
    """
    mean = features.train.mean(axis=0)
    scale = float(features.train.std(axis=0).mean()) or 1.0
    head = _head(network)
    train = (features.train - mean) / scale
    validation = (features.validation - mean) / scale
    size = min(batch_size, len(train))

    def shuffled(seed: int) -> mx.io.DataIter:
        order = np.random.default_rng(seed).permutation(len(train))
        return _rows(train[order], features.train_labels[order], size)

    def whole(trained: Network) -> Network:
        _, weight, bias, _ = head.list_arguments()
        scaled = trained.args[weight] / scale
        shift = mx.nd.dot(scaled, mx.nd.array(mean))
        folded = {weight: scaled, bias: trained.args[bias] - shift}
        return Network(network.symbol, network.args | folded, network.aux)

    return Task(
        network=Network(head, {}, {}),
        batches=shuffled,
        validation=lambda: _rows(
            validation, features.validation_labels, min(batch_size, len(validation))
        ),
        whole=whole,
        shape=(size, train.shape[1]),
        devices=devices,
        cost=HEAD_COST,
    )


def _head(network: Network) -> mx.sym.Symbol:
    """Return the new layer and its loss as a symbol of their own, under the same names."""
    layer = network.symbol.get_children()[0]
    x = mx.sym.FullyConnected(
        mx.sym.var("data"), name=layer.name, num_hidden=int(layer.list_attr()["num_hidden"])
    )
    return mx.sym.SoftmaxOutput(x, name="softmax")


def _rows(data: Any, labels: Any, batch_size: int) -> mx.io.DataIter:
    return mx.io.NDArrayIter(
        data, labels, batch_size, last_batch_handle="pad", label_name="softmax_label"
    )
