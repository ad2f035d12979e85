"""Puts weights that come without a graph into the architecture that they belong to."""

import dataclasses
from collections.abc import Callable
from functools import partial
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model.architectures import efficientnet, mobilenet, resnet
from finetune_trainer.model.architectures.layers import layer_of
from finetune_trainer.model.network import Network
from finetune_trainer.model.shapes import SHOWN, as_text, shapes_of

IMAGENET_CLASSES = 1000
Tensors = dict[str, NDArray[Any]]


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network that can be built, with the places of the tensors of its PyTorch modules."""

    build: Callable[..., mx.sym.Symbol]
    """Builds the symbol from the number of classes, and from the size of the images if `sized`."""
    layer_of: Callable[[str], str]
    """Returns the symbol's layer for a module of the state dict."""
    head: str
    """The last layer's module. A state dict may lack it, because fine-tuning replaces it."""
    sized: bool = False
    """True if the padding depends on the size of the images."""

    def symbol(self, *, size: int, classes: int = IMAGENET_CLASSES) -> mx.sym.Symbol:
        """Return the classifier of images of size x size."""
        sized = {"size": size} if self.sized else {}
        return self.build(classes=classes, **sized)


def _lite(width: float, depth: float) -> Architecture:
    build = partial(efficientnet.build, width=width, depth=depth)
    return Architecture(build, efficientnet.layer_of, "_fc", sized=True)


ARCHITECTURES = {
    "efficientnet-lite0": _lite(1.0, 1.0),
    "efficientnet-lite1": _lite(1.0, 1.1),
    "efficientnet-lite2": _lite(1.1, 1.2),
    "mobilenet-v2": Architecture(mobilenet.build, layer_of, "classifier.1"),
} | {
    f"resnet-{depth}": Architecture(partial(resnet.build, depth=depth), layer_of, "fc")
    for depth in resnet.BLOCKS
}
_BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_var",
}


def assemble(name: str, tensors: Tensors, *, size: int) -> Network:
    """Put a state dict into the architecture of this name, for images of size x size.

    Raises InvalidData unless each tensor finds its place and each place its tensor.
    """
    architecture = ARCHITECTURES[name]
    tensors = {key: value for key, value in tensors.items() if not _is_counter(key)}
    head = f"{architecture.head}.weight"
    classes = len(tensors[head]) if head in tensors else IMAGENET_CLASSES
    symbol = architecture.symbol(size=size, classes=classes)
    shapes, states = shapes_of(symbol, size), set(symbol.list_auxiliary_states())
    params: dict[str, Any] = {}
    misfits = []
    for key, tensor in tensors.items():
        target = _target(key, tensors, architecture)
        value = _zero_extended(np.asarray(tensor, np.float32), shapes.get(target, ()))
        params[target] = value
        if target not in shapes:
            misfits.append(f"{key} has no place")
        elif value.shape != shapes[target]:
            misfits.append(f"{key} is {as_text(tensor.shape)}, not {as_text(shapes[target])}")
    optional = {f"{architecture.layer_of(architecture.head)}_{leaf}" for leaf in ("weight", "bias")}
    misfits += [f"{key} is missing" for key in shapes.keys() - params.keys() - optional]
    if misfits:
        raise TrainerError(
            ExitCode.InvalidData,
            f"the weights are not those of {name}: of {len(tensors)} tensors and {len(shapes)} "
            f"places {len(misfits)} do not fit: {'; '.join(sorted(misfits)[:SHOWN])}",
            f"Name the network that they belong to, one of: {', '.join(ARCHITECTURES)}.",
        )
    arrays = {key: mx.nd.array(value) for key, value in params.items()}
    return Network(
        symbol,
        {key: value for key, value in arrays.items() if key not in states},
        {key: value for key, value in arrays.items() if key in states},
    )


def _is_counter(key: str) -> bool:
    return key.endswith(".num_batches_tracked")


def _target(key: str, tensors: Tensors, architecture: Architecture) -> str:
    module, _, leaf = key.rpartition(".")
    if f"{module}.running_mean" in tensors:
        leaf = _BATCH_NORM.get(leaf, leaf)
    return f"{architecture.layer_of(module)}_{leaf}"


def _zero_extended(tensor: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Add a first row and column of zeros where the symbol's kernel is one larger."""
    if len(shape) == tensor.ndim == 4 and tensor.shape[2] + 1 == shape[2]:
        return np.pad(tensor, ((0, 0), (0, 0), (1, 0), (1, 0)))
    return tensor
