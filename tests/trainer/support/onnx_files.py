"""ONNX classifiers as exporters write them, built node by node with random weights."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

CHANNELS = 4
SIZE = 12
CLASSES = 5


@dataclasses.dataclass(frozen=True)
class Piece:
    """Nodes that compute `y` from the 4 channels in `x`, and the weights that they read."""

    nodes: Sequence[Any]
    numbers: dict[str, Any] = dataclasses.field(default_factory=dict)
    opset: int = 13


def node(operator: str, inputs: str, outputs: str = "y", **attributes: Any) -> Any:
    """Return a node; its inputs and outputs are separated by spaces, `-` leaves one out."""
    names = ["" if name == "-" else name for name in inputs.split()]
    return helper.make_node(operator, names, outputs.split(), f"{operator}_{outputs}", **attributes)


def numbers(*shape: int, seed: int = 0) -> Any:
    """Return random weights."""
    return np.random.default_rng([seed, *shape]).normal(0, 0.4, shape).astype(np.float32)


def integers(*values: int) -> Any:
    """Return int64, the type of shapes."""
    return np.array(values, np.int64)


def dense_head(columns: int) -> Piece:
    """Return GlobalAveragePool, Flatten, Gemm and Softmax from `y` to `probabilities`."""
    nodes = [
        node("GlobalAveragePool", "y", "pooled"),
        node("Flatten", "pooled", "flat"),
        node("Gemm", "flat head_w head_b", "logits", transB=1),
        node("Softmax", "logits", "probabilities"),
    ]
    return Piece(nodes, {"head_w": numbers(CLASSES, columns), "head_b": numbers(CLASSES)})


def classifier(
    piece: Piece,
    *,
    columns: int = CHANNELS,
    head: Piece | None = None,
    batch: int | str = "N",
    shape: tuple[int | str, ...] = (3, SIZE, SIZE),
    output: str = "probabilities",
) -> onnx.ModelProto:
    """Return images -> Conv -> x -> the piece -> y -> the head."""
    head = head or dense_head(columns)
    stem = node("Conv", "images stem_w stem_b", "x", pads=[1, 1, 1, 1])
    weights = {"stem_w": numbers(CHANNELS, 3, 3, 3), "stem_b": numbers(CHANNELS)}
    weights |= piece.numbers | head.numbers
    graph = helper.make_graph(
        [stem, *piece.nodes, *head.nodes],
        "classifier",
        [helper.make_tensor_value_info("images", TensorProto.FLOAT, [batch, *shape])],
        [helper.make_tensor_value_info(output, TensorProto.FLOAT, [batch, CLASSES])],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()],
    )
    opset = helper.make_opsetid("", piece.opset)
    return helper.make_model(graph, opset_imports=[opset], ir_version=8, producer_name="a test")


def relu_classifier(operator: str = "Relu", **attributes: Any) -> bytes:
    """Return the content of a file with one such operator."""
    content: bytes = classifier(Piece([node(operator, "x", **attributes)])).SerializeToString()
    return content


def onnxruntime_output(path: Path, images: Any) -> Any:
    """Return onnxruntime's output for a file."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (output,) = session.run(None, {session.get_inputs()[0].name: images})
    return output
