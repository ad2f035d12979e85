"""Puts weights that come without a graph into the architecture that they belong to."""

import dataclasses
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model.architectures import efficientnet, mobilenet, resnet
from finetune_trainer.model.architectures.layers import module_of
from finetune_trainer.model.architectures.selection import (
    Places,
    Selection,
    Tensors,
    select,
    unused,
)
from finetune_trainer.model.network import Network
from finetune_trainer.model.shapes import SHOWN, shapes_of
from finetune_trainer.model.values import check_values

log = logging.getLogger(__name__)

IMAGENET_CLASSES = 1000


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A network that can be built, with the places of the tensors of its PyTorch modules."""

    build: Callable[..., mx.sym.Symbol]
    """Builds the symbol from the number of classes, and from the size of the images if `sized`."""
    module_of: Callable[[str], str]
    """Returns the module of the state dict for a layer of the symbol."""
    head: str
    """The last layer's module. A state dict may lack it, because fine-tuning replaces it."""
    sized: bool = False
    """True if the padding depends on the size of the images."""

    def symbol(self, *, size: int, classes: int = IMAGENET_CLASSES) -> mx.sym.Symbol:
        """Return the classifier of images of size x size."""
        sized = {"size": size} if self.sized else {}
        return self.build(classes=classes, **sized)

    def places(self, size: int) -> Places:
        """Return the tensors of the PyTorch module."""
        shapes = {}
        for place, shape in shapes_of(self.symbol(size=size), size).items():
            name = self.name_of(place)
            shape = (0, *shape[1:]) if name.startswith(f"{self.head}.") else shape
            # PyTorch's kernels are odd: an even one has a row and a column of zeros.
            odd = [side - (side + 1) % 2 for side in shape[2:]]
            shapes[name] = (*shape[:2], *odd)
        return Places(shapes, self.head)

    def name_of(self, place: str) -> str:
        """Return PyTorch's name of a parameter: bn1_gamma is bn1.weight."""
        leaf = next(leaf for leaf in _LEAVES if place.endswith(f"_{leaf}"))
        return f"{self.module_of(place.removesuffix(f'_{leaf}'))}.{_LEAVES[leaf]}"


def _lite(width: float, depth: float) -> Architecture:
    build = partial(efficientnet.build, width=width, depth=depth)
    return Architecture(build, efficientnet.module_of, "_fc", sized=True)


ARCHITECTURES = {
    "efficientnet-lite0": _lite(1.0, 1.0),
    "efficientnet-lite1": _lite(1.0, 1.1),
    "efficientnet-lite2": _lite(1.1, 1.2),
    "mobilenet-v2": Architecture(mobilenet.build, module_of, "classifier.1"),
} | {
    f"resnet-{depth}": Architecture(partial(resnet.build, depth=depth), module_of, "fc")
    for depth in resnet.BLOCKS
}
_LEAVES = {
    "weight": "weight",
    "bias": "bias",
    "gamma": "weight",
    "beta": "bias",
    "moving_mean": "running_mean",
    "moving_var": "running_var",
}
"""PyTorch's names of a layer's tensors, by those of MXNet."""


def assemble(name: str, tensors: Tensors, *, size: int) -> Network:
    """Put a state dict into the architecture of this name, for images of size x size.

    It may be wrapped in any way, and there may be other tensors beside it. Raises InvalidData
    unless each of its tensors finds its place and each place its tensor.
    """
    architecture = ARCHITECTURES[name]
    selection = select(tensors, architecture.places(size))[0]
    if selection.misfits:
        raise _misfit(name, tensors, selection, size)
    _log_choice(name, tensors, size)
    check_values({key: tensors[key] for key in selection.tensors.values()}, head=architecture.head)
    head = selection.tensors.get(f"{architecture.head}.weight")
    classes = len(tensors[head]) if head else IMAGENET_CLASSES
    symbol = architecture.symbol(size=size, classes=classes)
    shapes, states = shapes_of(symbol, size), set(symbol.list_auxiliary_states())
    args: dict[str, Any] = {}
    aux: dict[str, Any] = {}
    for place, shape in shapes.items():
        if key := selection.tensors.get(architecture.name_of(place)):
            value = _zero_extended(np.asarray(tensors[key], np.float32), shape)
            (aux if place in states else args)[place] = mx.nd.array(value)
    return Network(symbol, args, aux)


def _log_choice(name: str, tensors: Tensors, size: int) -> None:
    """Log which tensors are used where a checkpoint has others, or the network more than once."""
    selections = select(tensors, ARCHITECTURES[name].places(size))
    taken, *others = [s for s in selections if not s.misfits]
    rest = set(unused(tensors, taken))
    if others:
        log.info(
            "the file has the weights of %s more than once: those below %r are used, not those "
            "below %s",
            name, taken.prefix, " and ".join(repr(other.prefix) for other in others),
        )  # fmt: skip
        rest -= {key for other in others for key in other.tensors.values()}
    if rest:
        log.info("tensors of the file that are not used: %s", _some(sorted(rest)))


def _misfit(name: str, tensors: Tensors, selection: Selection, size: int) -> TrainerError:
    """Return the error for weights of another network; its hint names that one if it is known."""
    places = ARCHITECTURES[name].places(size)
    misfits = selection.misfits
    reason = f"{len(misfits)} of their names and shapes do not fit: {'; '.join(misfits[:SHOWN])}"
    if not selection.tensors:
        reason = (
            f"no tensor has one of their names, such as {next(iter(places.shapes))}; it has "
            f"{_some(list(tensors))}"
        )
    right = [other for other in ARCHITECTURES if other != name and _is_of(other, tensors, size)]
    hint = (
        f"Their names and shapes are those of {right[0]}: set model.source.architecture to it."
        if right
        else "Give the state dict of torchvision's module (for the Lites, of "
        "efficientnet_lite_pytorch), of the architecture that it is of: "
        f"{', '.join(ARCHITECTURES)}. A network of any other kind can be given as ONNX, "
        'torch.onnx.export(model.eval(), torch.zeros(1, 3, 224, 224), "model.onnx"), without '
        "architecture."
    )
    return TrainerError(
        ExitCode.InvalidData, f"the weights are not those of {name}: {reason}", hint
    )


def _is_of(name: str, tensors: Tensors, size: int) -> bool:
    return not select(tensors, ARCHITECTURES[name].places(size))[0].misfits


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more


def _zero_extended(tensor: NDArray[np.float32], shape: tuple[int, ...]) -> NDArray[np.float32]:
    """Add a first row and column of zeros where the symbol's kernel is one larger."""
    if len(shape) == 4 and tensor.shape[2] + 1 == shape[2]:
        return np.pad(tensor, ((0, 0), (0, 0), (1, 0), (1, 0)))
    return tensor
