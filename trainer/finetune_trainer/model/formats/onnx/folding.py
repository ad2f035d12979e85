"""Computes nodes that do not depend on the images: exporters leave shapes to the graph."""

import math
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper
from onnx.reference import ReferenceEvaluator

from finetune_trainer.model.formats.onnx.file import Node

Array = NDArray[Any]

MOVED = frozenset({"Cast", "Constant", "Identity", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})
"""Operators whose output is as large as their input."""
COMPUTED = frozenset(
    {"Add", "Concat", "ConstantOfShape", "Div", "Floor", "Gather", "Mul", "Slice", "Sub"}
)
"""Other operators that are used on shapes."""
MOST = 1000
"""The most numbers in the inputs of COMPUTED operators: a shape has four."""


def can_fold(node: Node, inputs: list[Array]) -> bool:
    """Return True if the output can be computed, in little memory."""
    if node.operator == "ConstantOfShape" and math.prod(map(int, inputs[0])) > MOST:
        return False
    small = sum(value.size for value in inputs) <= MOST
    return node.operator in MOVED or (node.operator in COMPUTED and small)


def fold(node: Node, inputs: list[Array], *, opset: int) -> Array:
    """Return the output, computed by ONNX's own reference implementation."""
    names = [f"input{index}" for index in range(len(inputs))]
    single = helper.make_node(node.operator, names, ["output"], **node.attributes)
    graph = helper.make_graph(
        [single],
        "folded",
        [
            helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), None)
            for name, value in zip(names, inputs, strict=True)
        ],
        [onnx.ValueInfoProto(name="output")],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    (output,) = ReferenceEvaluator(model).run(None, dict(zip(names, inputs, strict=True)))
    return np.asarray(output)
