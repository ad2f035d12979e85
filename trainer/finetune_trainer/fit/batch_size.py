"""Batches that fit into the container's memory, known before a training starts.

A full GPU is known only when it fails: see model.memory.
"""

import dataclasses
import math

import mxnet as mx

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model.memory import divisors
from finetune_trainer.recipes.recipe import Recipe

ACTIVATIONS_FACTOR = 2.2
"""Memory of a network in training, as a multiple of its layers' outputs: the outputs, their
gradients, and oneDNN's buffers. Measured: 1.5 (ResNet-18) to 2.2 (EfficientNet-Lite0)."""
PARAMETER_COPIES = 4
"""Copies of the parameters on a device: weights, gradients, and up to two optimizer states."""
BASE_BYTES = 600 << 20
"""Memory of MXNet itself, the images that are read ahead, the supervisor, and the measurement
between epochs."""
USABLE_SHARE = 0.85
"""Share of the memory limit to plan with: the page cache counts, too."""


def within_memory(
    recipe: Recipe, symbol: mx.sym.Symbol, *, size: int, contexts: int, limit: int
) -> Recipe:
    """Return the recipe with the largest batches with which training all layers on images of
    size x size fits into `limit` bytes. Gradients of smaller batches are added up for each update.

    Raises DeviceOutOfMemory if a batch of one image does not fit.
    """
    image, parameters = _bytes_of(symbol, size)
    fixed = BASE_BYTES + PARAMETER_COPIES * (contexts + 1) * parameters
    room = int(USABLE_SHARE * limit) - fixed
    batch = next((each for each in divisors(recipe.batch_size) if each * image <= room), None)
    if batch is None:
        needed = math.ceil((fixed + image) / USABLE_SHARE)
        raise TrainerError(
            ExitCode.DeviceOutOfMemory,
            f"the recipe {recipe.name} needs {needed >> 20} MiB for a batch of one image, but the"
            f" container may use {limit >> 20} MiB",
            "raise trainer.resources.limits.memory, or set training.recipe to features",
        )
    return in_batches_of(batch, recipe)


def in_batches_of(size: int, recipe: Recipe) -> Recipe:
    """Return the recipe with batches of `size` images that add up to the same update."""
    count = recipe.batch_size // size
    return dataclasses.replace(recipe, batch_size=size, accumulation=recipe.accumulation * count)


def _bytes_of(symbol: mx.sym.Symbol, size: int) -> tuple[int, int]:
    """Return the memory of training on one image, and the size of the parameters, in bytes."""
    internals = symbol.get_internals()
    _, outputs, _ = internals.infer_shape(data=(1, 3, size, size))
    variables = set(symbol.list_inputs())
    sizes = {
        name: 4 * math.prod(shape)
        for name, shape in zip(internals.list_outputs(), outputs, strict=True)
    }
    layers = sum(number for name, number in sizes.items() if name not in variables)
    parameters = sum(sizes[name] for name in variables if name in sizes) - sizes["data"]
    return int(ACTIVATIONS_FACTOR * layers), parameters
