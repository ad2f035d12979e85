"""Reads ONNX files: the graph and its weights. No code of the file is run. Imports no MXNet.

Graphs that cannot be translated are refused here, before a photo is read: OPERATORS are those that
`operators.CONVERTERS` has an MXNet equivalent for.
"""

import dataclasses
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import onnx
from google.protobuf.message import DecodeError
from numpy.typing import NDArray
from onnx import TensorProto, external_data_helper, helper, numpy_helper

from finetune_trainer.contract import ExitCode, TrainerError

OPERATORS = frozenset(
    {
        "Add", "AveragePool", "BatchNormalization", "Cast", "Clip", "Concat", "Conv", "Div",
        "Dropout", "Elu", "Flatten", "Gemm", "GlobalAveragePool", "GlobalMaxPool", "HardSigmoid",
        "HardSwish", "Identity", "LRN", "LeakyRelu", "LogSoftmax", "MatMul", "MaxPool", "Mul",
        "PRelu", "Pad", "ReduceMean", "Relu", "Reshape", "Sigmoid", "Slice", "Softmax", "Split",
        "Squeeze", "Sub", "Sum", "Tanh", "Transpose", "Unsqueeze",
    }
)  # fmt: skip
"""The supported operators on numbers that depend on the images."""
FOLDED = frozenset({"Constant", "ConstantOfShape", "Floor", "Gather", "Shape"})
"""The operators that are supported only where they compute shapes, which no image changes."""
OLDEST = 7
"""The oldest opset that is supported: from it on, operators broadcast as numpy does."""
MOST_BYTES = 2**30
"""The most bytes of a graph with its weights: less than protobuf can hold."""
RGB = 3
"""The number of channels of an image."""


@dataclasses.dataclass(frozen=True)
class Node:
    """One operator of a graph."""

    operator: str
    name: str
    inputs: tuple[str, ...]
    """The names of its inputs; empty for an optional one that is left out."""
    outputs: tuple[str, ...]
    attributes: dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Graph:
    """A classifier, as it is in its file."""

    file: str
    opset: int
    image: str
    """The name of the input that takes the images."""
    half: bool
    """True if the images are float16."""
    shape: tuple[int | None, ...]
    """The shape of a batch of images; None for a side of any length."""
    nodes: tuple[Node, ...]
    weights: dict[str, NDArray[Any]]
    outputs: tuple[str, ...]
    model: onnx.ModelProto

    @property
    def channels_last(self) -> bool:
        """True if the channels are the last axis of the images, as in TensorFlow."""
        return _channels_last(self.shape)

    @property
    def layers(self) -> dict[str, NDArray[Any]]:
        """The weights of layers; the others are shapes, and single numbers such as the infinite
        bound of a Clip."""
        return {
            n: value for n, value in self.weights.items() if value.dtype.kind == "f" and value.ndim
        }

    @property
    def variances(self) -> set[str]:
        """The names of the variances among the weights."""
        return {node.inputs[4] for node in self.nodes if node.operator == "BatchNormalization"}

    @property
    def size(self) -> int | None:
        """The height of the images; None if any is taken."""
        return self.shape[1 if self.channels_last else 2]


def read_graph(path: Path) -> Graph:
    """Return the graph of a file; raises InvalidData if it is damaged or not supported."""
    try:
        model = _load(path)
        graph = _graph(path.name, model)
        onnx.checker.check_model(model)
    except (
        DecodeError, ValueError, TypeError, KeyError, OverflowError, onnx.checker.ValidationError,
    ) as error:  # fmt: skip
        raise TrainerError(
            ExitCode.InvalidData,
            f"{path.name} is not an ONNX file that can be used: {str(error).strip()}",
            "Export the network again: an image classifier in evaluation mode, with its weights.",
        ) from error
    return graph


def _load(path: Path) -> onnx.ModelProto:
    if (size := path.stat().st_size) > MOST_BYTES:
        raise ValueError(f"it has {size} bytes, more than {MOST_BYTES}")
    model = onnx.load_model(path, load_external_data=False)
    tensors = list(_tensors(model.graph))
    if sum(map(_bytes_of, tensors)) > MOST_BYTES:
        raise ValueError(f"its weights would take more than {MOST_BYTES} bytes")
    for tensor in filter(external_data_helper.uses_external_data, tensors):
        entries = {entry.key: entry.value for entry in tensor.external_data}
        if entries.get("length") != str(_bytes_of(tensor)):
            raise ValueError(f"{tensor.name} has another length in {entries.get('location')!r}")
    external_data_helper.load_external_data_for_model(model, str(path.parent))
    return model


def _tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for node in graph.node:
        yield from (attribute.t for attribute in node.attribute if attribute.HasField("t"))


def _bytes_of(tensor: TensorProto) -> int:
    size = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    for side in tensor.dims:
        size *= side
    return size


def _graph(file: str, model: onnx.ModelProto) -> Graph:
    graph = model.graph
    weights = {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer}
    images = [value for value in graph.input if value.name not in weights]
    if len(images) != 1:
        names = ", ".join(value.name for value in images[:4]) or "none"
        raise ValueError(f"it must have one input, images; it has {len(images)} ({names})")
    kind = images[0].type.tensor_type
    shape = tuple(side.dim_value or None for side in kind.shape.dim)
    if kind.elem_type not in (TensorProto.FLOAT, TensorProto.FLOAT16):
        raise ValueError(f"its input {images[0].name} is neither float32 nor float16")
    if len(shape) != 4 or RGB not in (shape[1] or RGB, shape[3]):
        raise ValueError(f"its input {images[0].name} is not of images in RGB: {_as_text(shape)}")
    if len({side for side in (shape[1:3] if _channels_last(shape) else shape[2:]) if side}) > 1:
        raise ValueError(f"its images are not square: {_as_text(shape)}")
    return Graph(
        file=file,
        opset=_opset(model),
        image=images[0].name,
        half=kind.elem_type == TensorProto.FLOAT16,
        shape=shape,
        nodes=tuple(_nodes(file, graph)),
        weights=weights,
        outputs=tuple(value.name for value in graph.output),
        model=model,
    )


def _channels_last(shape: tuple[int | None, ...]) -> bool:
    return shape[1] != RGB and shape[3] == RGB


def _as_text(shape: tuple[int | None, ...]) -> str:
    return " x ".join(str(side or "any") for side in shape)


def _opset(model: onnx.ModelProto) -> int:
    versions = [entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx")]
    newest = onnx.defs.onnx_opset_version()
    if len(versions) != 1 or not OLDEST <= versions[0] <= newest:
        raise ValueError(f"its opset is {versions or 'none'}, not one of {OLDEST} to {newest}")
    return int(versions[0])


def _nodes(file: str, graph: onnx.GraphProto) -> Iterator[Node]:
    names: set[str] = set()
    for index, node in enumerate(graph.node):
        name = (node.name or "".join(node.output[:1])).replace(":", "_")
        name = f"{name}_{index}" if name in names else name
        names.add(name)
        domain = "" if node.domain == "ai.onnx" else node.domain
        operator = f"{domain}.{node.op_type}" if domain else node.op_type
        if operator not in OPERATORS | FOLDED:
            raise unusable(file, f"the operator {operator} (node {name!r}) is not supported")
        yield Node(
            operator=operator,
            name=name,
            inputs=tuple(node.input),
            outputs=tuple(node.output),
            attributes={a.name: helper.get_attribute_value(a) for a in node.attribute},
        )


def unusable(file: str, reason: str) -> TrainerError:
    """Return the error of a valid graph that has no MXNet equivalent."""
    return TrainerError(
        ExitCode.InvalidData,
        f"model.source: {file} cannot be turned into an MXNet network: {reason}",
        "Export the float network in evaluation mode without it, or give its weights as .pth or "
        ".safetensors with model.source.architecture. The supported operators are "
        f"{', '.join(sorted(OPERATORS))}.",
    )
