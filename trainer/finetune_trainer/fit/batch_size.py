"""Batches that fit into memory. Of a container's it is known before a training starts; a GPU says
so when it has no more.
"""

import dataclasses
import logging
import math
from typing import TypeVar

import mxnet as mx

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model.memory import divisors
from finetune_trainer.recipes.recipe import Recipe

log = logging.getLogger(__name__)

T = TypeVar("T")

TRAINED = 2.2
"""What a network takes while it trains, in the memory of all its layers' outputs: these, their
gradients, and what oneDNN keeps. Measured: 1.5 (ResNet-18) to 2.2 (EfficientNet-Lite0)."""
COPIES = 4
"""Of the parameters on a device: weights, gradients, and up to two states of the optimizer."""
BASE = 600 << 20
"""MXNet itself, the images that are read ahead, the supervisor, and what is measured on between
epochs."""
USED = 0.85
"""Of the limit, at most: the page cache is the container's, too."""


def within_memory(
    recipe: Recipe, symbol: mx.sym.Symbol, *, size: int, contexts: int, limit: int
) -> Recipe:
    """Return the recipe, or the same with smaller batches whose gradients are added up for each
    update, so that a training of all layers on images of size x size fits into `limit` bytes.

    Raises DeviceOutOfMemory if no batch does.
    """
    image, parameters = _bytes_of(symbol, size)
    fixed = BASE + COPIES * (contexts + 1) * parameters
    room = int(USED * limit) - fixed
    batch = next((each for each in divisors(recipe.batch_size) if each * image <= room), None)
    if batch is None:
        raise TrainerError(
            ExitCode.DeviceOutOfMemory,
            f"the recipe {recipe.name} takes {math.ceil((fixed + image) / USED) >> 20} MiB for"
            f" a batch of one image, but the container may use {limit >> 20} MiB",
            "raise trainer.resources.limits.memory, or set training.recipe to features",
        )
    return in_batches_of(batch, recipe)


def in_batches_of(size: int, recipe: Recipe) -> Recipe:
    """Return the recipe with smaller batches that add up to the same update."""
    parts = recipe.batch_size // size
    return dataclasses.replace(recipe, batch_size=size, accumulation=recipe.accumulation * parts)


def _bytes_of(symbol: mx.sym.Symbol, size: int) -> tuple[int, int]:
    """Return what an image takes while the network trains on it, and the parameters, in bytes."""
    internals = symbol.get_internals()
    _, outputs, _ = internals.infer_shape(data=(1, 3, size, size))
    variables = set(symbol.list_inputs())
    sizes = {
        name: 4 * math.prod(shape)
        for name, shape in zip(internals.list_outputs(), outputs, strict=True)
    }
    layers = sum(number for name, number in sizes.items() if name not in variables)
    parameters = sum(sizes[name] for name in variables if name in sizes) - sizes["data"]
    return int(TRAINED * layers), parameters
