"""What a recipe makes the loop train: the whole network on images, or its head on features."""

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
    """Rows drawn in an order, batch by batch: there is never a second copy of all of them.

    The last batch is filled up with the first rows of the order, as MXNet's iterators do.
    """

    rows: Rows = dataclasses.field(kw_only=False)
    labels: Labels = dataclasses.field(kw_only=False)
    order: Labels
    size: int
    change: Callable[[Rows], Rows] = lambda rows: rows
    """Applied to the rows of a batch."""

    @property
    def provide_data(self) -> list[mx.io.DataDesc]:
        """Return the shape of a batch."""
        return [mx.io.DataDesc("data", (self.size, *self.rows.shape[1:]))]

    def __iter__(self) -> Iterator[mx.io.DataBatch]:
        for start in range(0, len(self.order), self.size):
            drawn = self.order[start : start + self.size]
            pad = self.size - len(drawn)
            drawn = np.concatenate([drawn, self.order[:pad]])
            data = mx.nd.array(self.change(self.rows[drawn]))
            yield mx.io.DataBatch([data], [mx.nd.array(self.labels[drawn])], pad=pad)


@dataclasses.dataclass(frozen=True)
class Task:
    """A classifier, the batches that train it and those that measure it."""

    network: Network
    """Without parameters for what is to be initialised."""
    batches: Callable[[int], Iterable[mx.io.DataBatch]]
    """The training batches of an epoch, by the epoch's seed."""
    steps: int
    """Batches of an epoch."""
    validation: Callable[[], mx.io.DataIter]
    whole: Callable[[Network], Network]
    """The network to save, from the one that was trained."""
    shape: tuple[int, ...]
    """Of a training batch."""
    contexts: list[Any]
    cost: float
    """Of training on one row, in images through the trunk."""
    targets: Targets | None = None
    """What it trains towards, if labels alone are not that."""
    pretrained: frozenset[str] = frozenset()
    """Names of the parameters that are not the new layer's."""
    kvstore: Any = None
    """The gang's; a pod alone takes what suits its devices."""
    pods: int = 1
    """That train on batches of their own at the same time."""
    share: str = ""
    """What seeds differ by from those of the other pods."""


def on_images(
    network: Network,
    recipe: Recipe,
    *,
    train: Reader,
    validation: Reader,
    contexts: list[Any],
    gang: Gang,
) -> Task:
    """Train the whole network on changed images: of this pod's part of them in a gang."""
    return Task(
        network=_trained(network, recipe),
        batches=lambda seed: _batches(train, recipe.augmentation, gang, seed=seed),
        steps=_steps(train, gang),
        validation=validation.centre,
        whole=lambda trained: Network(network.symbol, trained.args, trained.aux),
        shape=(train.batch_size, 3, train.input_size, train.input_size),
        contexts=contexts[: train.batch_size],
        cost=TRAINING_COST,
        pods=gang.nodes,
        share="" if gang.is_leader else f" pod {gang.index}",
    )


def limit_to_smallest_share(train: Reader, gang: Gang) -> Reader:
    """Return the reader with a batch that each pod's part of the images can fill."""
    smallest = train.images - (gang.nodes - 1) * _largest_part(train, gang)
    if smallest < 1:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"trainer.numNodes {gang.nodes} is too many for {train.images} training images",
            "lower it",
        )
    return dataclasses.replace(train, batch_size=min(train.batch_size, smallest))


def _batches(
    train: Reader, augmentation: Augmentation, gang: Gang, *, seed: int
) -> Iterator[mx.io.DataBatch]:
    """Yield as many batches as every pod has in an epoch; a smaller shard begins again."""
    passes = (
        train.shuffled(
            augmentation, seed=(seed + number) % 2**31, shard=gang.index, shards=gang.nodes
        )
        for number in itertools.count()
    )
    return itertools.islice(itertools.chain.from_iterable(passes), _steps(train, gang))


def _steps(train: Reader, gang: Gang) -> int:
    return math.ceil(_largest_part(train, gang) / train.batch_size)


def _largest_part(train: Reader, gang: Gang) -> int:
    """Return the images of each part but the last, as MXNet cuts a file of records."""
    return math.ceil(train.images / gang.nodes)


def on_features(
    network: Network,
    features: Features,
    *,
    batch_size: int,
    contexts: list[Any],
    is_balanced: bool = False,
) -> Task:
    """Train the head alone.

    Its inputs are shifted and scaled to mean 0 and variance 1 (one scale for all, so that weight
    decay treats them alike); afterwards the head's parameters take that in, and the network that
    is saved wants its own features as they are.
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
    """Train the layers above an output on what it says about each view of each image."""
    top = Network(layers_after(network.symbol, cut), network.args, network.aux)
    size = min(recipe.batch_size, len(activations.train))

    def whole(trained: Network) -> Network:
        return Network(network.symbol, network.args | trained.args, network.aux | trained.aux)

    batches, in_order = _passes(activations, size=size)
    return Task(
        network=_trained(top, recipe),
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
    """Return what gives the training rows in the order of a seed, and all rows to measure on."""
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


def _trained(network: Network, recipe: Recipe) -> Network:
    """Return the network as it is while a recipe trains it."""
    if not recipe.frozen_statistics:
        return network
    return dataclasses.replace(network, symbol=with_frozen_statistics(network.symbol))


def _head(network: Network) -> mx.sym.Symbol:
    """Return the new layer and its loss as a symbol of their own, under the same names."""
    layer = network.symbol.get_children()[0]
    x = mx.sym.FullyConnected(
        mx.sym.var("data"), name=layer.name, num_hidden=int(layer.list_attr()["num_hidden"])
    )
    return mx.sym.SoftmaxOutput(x, name="softmax")
