"""One operator of an ONNX graph, with its inputs, while the graph is translated."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import mxnet as mx
from mxnet.symbol import Symbol
from numpy.typing import NDArray

from finetune_trainer.contract import TrainerError
from finetune_trainer.model.formats.onnx.file import Graph, Node, unusable

Array = NDArray[Any]

BATCH = 9973
"""A number of images for computing shapes, unlike any size of a layer."""


@dataclasses.dataclass(frozen=True)
class Translation:
    """A graph that is being translated, with the values that are known so far."""

    graph: Graph
    size: int
    """The height and width of the images."""
    values: dict[str, Any] = dataclasses.field(default_factory=dict)
    """Values by name: a symbol if the value depends on the images, else an array."""
    makers: dict[str, Node] = dataclasses.field(default_factory=dict)
    """The node that each value is an output of."""
    args: dict[str, Array] = dataclasses.field(default_factory=dict)
    aux: dict[str, Array] = dataclasses.field(default_factory=dict)

    def shape(self, symbol: Symbol) -> tuple[int, ...]:
        """Return the shape of a symbol for BATCH images."""
        _, (shape, *_), _ = symbol.infer_shape(data=(BATCH, 3, self.size, self.size))
        return tuple(shape)


@dataclasses.dataclass(frozen=True)
class Call:
    """A node whose inputs are known."""

    node: Node
    translation: Translation

    @property
    def name(self) -> str:
        """The name of the layer."""
        return self.node.name

    @property
    def opset(self) -> int:
        """The version of ONNX's operators."""
        return self.translation.graph.opset

    def data(self, index: int = 0) -> Symbol:
        """Return an input that depends on the images."""
        value = self._value(index)
        if not isinstance(value, Symbol):
            raise self.refuse(f"its input {self.node.inputs[index]!r} does not depend on the image")
        return value

    def is_constant(self, index: int) -> bool:
        """Return True if an input is the same for all images."""
        return not isinstance(self._value(index), Symbol)

    def constant(self, index: int) -> Array:
        """Return an input that must be the same for all images."""
        value: Array | Symbol = self._value(index)
        if isinstance(value, Symbol):
            raise self.refuse(f"its input {self.node.inputs[index]!r} depends on the image")
        return value

    def optional(self, index: int, attribute: str = "") -> Any:
        """Return a constant, or the attribute that it was in older opsets; None if left out."""
        if self.node.inputs[index : index + 1] in ((), ("",)):
            return self.attribute(attribute)
        return self.constant(index)

    def attribute(self, name: str, default: Any = None) -> Any:
        """Return an attribute."""
        return self.node.attributes.get(name, default)

    def shape(self, symbol: Symbol | None = None) -> tuple[int, ...]:
        """Return the shape of a symbol, or of the first input, for BATCH images."""
        return self.translation.shape(self.data() if symbol is None else symbol)

    def resolved(self, target: Sequence[int]) -> tuple[int, ...]:
        """Return a target shape of the first input, with sizes in place of its 0 and -1."""
        shape = self.shape()
        if target and target[0] == self.translation.graph.shape[0]:
            target = [BATCH, *target[1:]]
        sides = [shape[axis] if side == 0 else side for axis, side in enumerate(target)]
        rest = math.prod(side for side in sides if side != -1)
        sides = [math.prod(shape) // rest if side == -1 else side for side in sides]
        if math.prod(sides) != math.prod(shape):
            raise self.refuse(f"it cannot reshape {_text(shape)} to {_text(target)}")
        return tuple(sides)

    def keep(self, leaf: str, value: Array, *, state: bool = False) -> None:
        """Keep a parameter of the layer under the name that MXNet gives it."""
        kept = self.translation.aux if state else self.translation.args
        kept[f"{self.name}_{leaf}"] = value

    def fixed(self, value: Array) -> Symbol:
        """Return numbers that are no parameter: fine-tuning does not change them."""
        self.keep("constant", value)
        return mx.sym.BlockGrad(mx.sym.var(f"{self.name}_constant", shape=value.shape))

    def unbiased(self, index: int) -> "Call | None":
        """Return the MatMul with this input as its output, if no other node reads it."""
        maker = self._maker(index)
        if maker is None or maker.operator != "MatMul" or self._readers(index) > 1:
            return None
        return Call(maker, self.translation)

    def is_shared_conv(self, index: int) -> bool:
        """Return True if an input is a convolution's output that other nodes read too."""
        maker = self._maker(index)
        return maker is not None and maker.operator == "Conv" and self._readers(index) > 1

    def _maker(self, index: int) -> Node | None:
        return self.translation.makers.get(self.node.inputs[index])

    def _readers(self, index: int) -> int:
        name, graph = self.node.inputs[index], self.translation.graph
        return sum(node.inputs.count(name) for node in graph.nodes) + graph.outputs.count(name)

    def refuse(self, reason: str) -> TrainerError:
        """Return the error that names this node."""
        text = f"{self.node.operator} (node {self.name!r}): {reason}"
        return unusable(self.translation.graph.file, text)

    def _value(self, index: int) -> Any:
        return self.translation.values[self.node.inputs[index]]


def _text(shape: Sequence[int]) -> str:
    return " x ".join("N" if side == BATCH else str(side) for side in shape)
