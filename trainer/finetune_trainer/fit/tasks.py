"""Tasks of the training loop: the whole network on images, its last blocks on activations, or its
head on features.
"""

import dataclasses
import itertools
import math
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import mxnet as mx
import numpy as np

from finetune_trainer.contract import Augmentation, ExitCode, TrainerError
from finetune_trainer.fit.features import Features, Labels, Rows
from finetune_trainer.fit.fit_progress import HEAD_COST, LAST_BLOCKS_COST, TRAINING_COST
from finetune_trainer.fit.sampling import balanced_order
from finetune_trainer.fit.targets import Targets
from finetune_trainer.model.known_rows import shifted
from finetune_trainer.model.last_blocks import layers_after
from finetune_trainer.model.network import Network
from finetune_trainer.model.reader import Reader
from finetune_trainer.model.rewrites.batch_norm import with_frozen_statistics
from finetune_trainer.recipes.recipe import Recipe
from finetune_trainer.run.gang import Gang


@dataclasses.dataclass(frozen=True, kw_only=True)
class Batches:
    """Batches of rows in a given order, without a second copy of all rows.

    The last batch is padded with the first rows of the order, as MXNet's iterators do.
    """

    rows: Rows = dataclasses.field(kw_only=False)
    labels: Labels = dataclasses.field(kw_only=False)
    order: Labels
    size: int
    change: Callable[[Rows], Rows] = lambda rows: rows
    """Function that is applied to the rows of each batch."""

    @property
    def provide_data(self) -> list[mx.io.DataDesc]:
        """Name and shape of a batch, as MXNet's iterators have them."""
        return [mx.io.DataDesc("data", (self.size, *self.rows.shape[1:]))]

    def __iter__(self) -> Iterator[mx.io.DataBatch]:
        for start in range(0, len(self.order), self.size):
            numbers = self.order[start : start + self.size]
            pad = self.size - len(numbers)
            numbers = np.concatenate([numbers, self.order[:pad]])
            data = mx.nd.array(self.change(self.rows[numbers]))
            yield mx.io.DataBatch([data], [mx.nd.array(self.labels[numbers])], pad=pad)


@dataclasses.dataclass(frozen=True)
class Task:
    """A network to train, its training batches, and the batches that measure it."""

    network: Network
    """The network; parameters that it lacks are initialised."""
    batches: Callable[[int], Iterable[mx.io.DataBatch]]
    """Function that returns an epoch's training batches for the epoch's seed."""
    steps: int
    """Number of batches in an epoch."""
    validation: Callable[[], mx.io.DataIter]
    """Function that returns the batches that the accuracy is measured on."""
    whole: Callable[[Network], Network]
    """Function that returns the whole network to save, given the task's trained network."""
    shape: tuple[int, ...]
    """Shape of a training batch."""
    contexts: list[Any]
    """MXNet contexts that share each batch."""
    cost: float
    """Work of training on one row, in units of one image through the trunk."""
    targets: Targets | None = None
    """Targets that replace the labels; None: the labels themselves."""
    pretrained: frozenset[str] = frozenset()
    """Names of the pretrained parameters, which train at the recipe's trunk rate."""
    kvstore: Any = None
    """The gang's kvstore; None: the learner chooses one for this pod's devices."""
    pods: int = 1
    """Number of pods that train at the same time, each on batches of its own."""
    seed_suffix: str = ""
    """Suffix of the seeds' purposes, so that each pod of a gang has other random numbers."""


def on_images(
    network: Network,
    recipe: Recipe,
    *,
    train: Reader,
    validation: Reader,
    contexts: list[Any],
    gang: Gang,
) -> Task:
    """Return the task of training the whole network on augmented images; in a gang, on this pod's
    shard of them.
    """
    return Task(
        network=_while_training(network, recipe),
        batches=lambda seed: _batches(train, recipe.augmentation, gang, seed=seed),
        steps=_steps(train, gang),
        validation=validation.centre,
        whole=lambda trained: Network(network.symbol, trained.args, trained.aux),
        shape=(train.batch_size, 3, train.input_size, train.input_size),
        contexts=contexts[: train.batch_size],
        cost=TRAINING_COST,
        pods=gang.nodes,
        seed_suffix="" if gang.is_leader else f" pod {gang.index}",
    )


def limit_to_smallest_shard(train: Reader, gang: Gang) -> Reader:
    """Return the reader with a batch that each pod's shard of the images can fill."""
    smallest = train.images - (gang.nodes - 1) * _largest_shard(train, gang)
    if smallest < 1:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"trainer.numNodes {gang.nodes} is too many for {train.images} training images",
            "lower trainer.numNodes",
        )
    return dataclasses.replace(train, batch_size=min(train.batch_size, smallest))


def _batches(
    train: Reader, augmentation: Augmentation, gang: Gang, *, seed: int
) -> Iterator[mx.io.DataBatch]:
    """Yield an epoch's batches, equally many on every pod; a smaller shard begins again."""
    passes = (
        train.shuffled(
            augmentation, seed=(seed + number) % 2**31, shard=gang.index, shards=gang.nodes
        )
        for number in itertools.count()
    )
    return itertools.islice(itertools.chain.from_iterable(passes), _steps(train, gang))


def _steps(train: Reader, gang: Gang) -> int:
    return math.ceil(_largest_shard(train, gang) / train.batch_size)


def _largest_shard(train: Reader, gang: Gang) -> int:
    """Return the number of images of each shard but the last, as MXNet divides a record file."""
    return math.ceil(train.images / gang.nodes)


def on_features(
    network: Network,
    features: Features,
    *,
    batch_size: int,
    contexts: list[Any],
    is_balanced: bool = False,
) -> Task:
    """Return the task of training the head alone.

    The features are shifted and scaled to mean 0 and variance 1 (one scale for all, so that weight
    decay treats them alike). `whole` folds shift and scale into the head's parameters, so that the
    saved network takes its features unscaled.
    """
    features = features.flat()
    train = features.train
    mean = train.mean(axis=0)
    scale = float(train.std(axis=0).mean()) or 1.0
    head = _head(network)
    size = min(batch_size, len(train))

    def scaled(rows: Rows) -> Rows:
        return np.asarray((rows - mean) / scale, dtype=np.float32)

    def whole(trained: Network) -> Network:
        _, weight, bias, _ = head.list_arguments()
        unscaled = trained.args[weight] / scale
        shift = mx.nd.dot(unscaled, mx.nd.array(mean))
        folded = {weight: unscaled, bias: trained.args[bias] - shift}
        return Network(network.symbol, network.args | folded, network.aux)

    batches, in_order = _passes(features, size=size, change=scaled, is_balanced=is_balanced)
    return Task(
        network=Network(head, shifted(network, mean=mean, scale=scale), {}),
        batches=batches,
        steps=math.ceil(len(train) / size),
        validation=in_order,
        whole=whole,
        shape=(size, train.shape[1]),
        contexts=contexts,
        cost=HEAD_COST,
    )


def on_last_blocks(
    network: Network, cut: str, activations: Features, recipe: Recipe, *, contexts: list[Any]
) -> Task:
    """Return the task of training the layers above the output `cut`, on the activations of that
    output for each view of each image.
    """
    last_blocks = Network(layers_after(network.symbol, cut), network.args, network.aux)
    size = min(recipe.batch_size, len(activations.train))

    def whole(trained: Network) -> Network:
        return Network(network.symbol, network.args | trained.args, network.aux | trained.aux)

    batches, in_order = _passes(activations, size=size)
    return Task(
        network=_while_training(last_blocks, recipe),
        batches=batches,
        steps=math.ceil(len(activations.train) / size),
        validation=in_order,
        whole=whole,
        shape=(size, *activations.train.shape[1:]),
        contexts=contexts,
        cost=LAST_BLOCKS_COST,
    )


def _passes(
    features: Features,
    *,
    size: int,
    change: Callable[[Rows], Rows] = lambda rows: rows,
    is_balanced: bool = False,
) -> tuple[Callable[[int], Batches], Callable[[], Batches]]:
    """Return two functions: one returns the training rows in the order of a seed, the other the
    rows to measure on.
    """
    train, validation = features.train_labels, features.validation_labels

    def shuffled(seed: int) -> Batches:
        if is_balanced:
            order = balanced_order(train, seed=seed)
        else:
            order = np.random.default_rng(seed).permutation(len(train))
        return Batches(features.train, train, order=order, size=size, change=change)

    def in_order() -> Batches:
        order = np.arange(len(validation))
        return Batches(
            features.validation,
            validation,
            order=order,
            size=min(size, len(order)),
            change=change,
        )

    return shuffled, in_order


def _while_training(network: Network, recipe: Recipe) -> Network:
    """Return the network with the layers that it has while the recipe trains it."""
    if not recipe.frozen_statistics:
        return network
    return dataclasses.replace(network, symbol=with_frozen_statistics(network.symbol))


def _head(network: Network) -> mx.sym.Symbol:
    """Return a symbol of the new layer and its loss alone, with the names of the network's."""
    layer = network.symbol.get_children()[0]
    logits = mx.sym.FullyConnected(
        mx.sym.var("data"), name=layer.name, num_hidden=int(layer.list_attr()["num_hidden"])
    )
    return mx.sym.SoftmaxOutput(logits, name="softmax")
