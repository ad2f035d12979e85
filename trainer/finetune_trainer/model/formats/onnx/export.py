"""Exports a fitted network as an ONNX file.

MXNet's own converter does the work, for the opset that it was written for. Its mistakes, and the
changes of onnx since then, are corrected here.
"""

import contextlib
import sys
import types
from collections.abc import Iterator, Sequence
from typing import Any

import mxnet as mx
import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from finetune_trainer.model.graph import Node, edit
from finetune_trainer.model.network import Network, Preprocessing

OPSET = 13
"""The opset of the converter's operators; every onnxruntime of the last years runs it."""
IR_VERSION = 8
_DTYPES = ("float16", "float32", "float64", "uint8", "int8", "int32", "int64", "bool")


def convert(network: Network, preprocessing: Preprocessing) -> Any:
    """Return the ModelProto: `data` [N,3,S,S] float32 -> `probabilities` [N,classes]."""
    logits = network.symbol.get_children()[0]
    symbol = _explicit(mx.sym.softmax(logits, name="probabilities"))
    size = preprocessing.input_size
    with _converter() as converter:
        graph = converter.create_onnx_graph_proto(
            symbol,
            {
                name: value.asnumpy().view(_Weights)
                for name, value in (network.args | network.aux).items()
            },
            [(1, 3, size, size)],
            [TensorProto.FLOAT],
            opset_version=OPSET,
            dynamic=True,
            dynamic_input_shapes=[("N", 3, size, size)],
        )
    _tidy(graph)
    model = helper.make_model(
        graph, opset_imports=[helper.make_opsetid("", OPSET)], ir_version=IR_VERSION
    )
    onnx.checker.check_model(model)
    return model


def _explicit(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """Set FullyConnected's `flatten`, whose default the converter gets wrong."""

    def change(node: Node) -> None:
        if node["op"] == "FullyConnected":
            node["attrs"].setdefault("flatten", "True")

    return edit(symbol, change)


@contextlib.contextmanager
def _converter() -> Iterator[Any]:
    """Give MXNet's converter, with the names of the onnx that it was written for."""
    mapping: Any = types.ModuleType("onnx.mapping")  # dropped in onnx 1.19
    mapping.NP_TYPE_TO_TENSOR_TYPE = {
        np.dtype(name): helper.np_dtype_to_tensor_dtype(np.dtype(name)) for name in _DTYPES
    }
    mapping.TENSOR_TYPE_TO_NP_TYPE = {n: d for d, n in mapping.NP_TYPE_TO_TENSOR_TYPE.items()}
    sys.modules[mapping.__name__] = vars(onnx)["mapping"] = mapping
    make_tensor, helper.make_tensor = helper.make_tensor, _make_tensor
    try:
        from mxnet.onnx.mx2onnx._export_onnx import MXNetGraph

        yield MXNetGraph()
    finally:
        helper.make_tensor = make_tensor


class _Weights(np.ndarray[Any, Any]):
    """Weights that stay an array; the converter would turn them into a list of numbers."""

    def asnumpy(self) -> "_Weights":
        """Return itself: the converter calls this on MXNet's arrays."""
        return self

    def tolist(self) -> Any:
        """Return itself: the converter passes the result to make_tensor."""
        return self


def _make_tensor(
    name: str, data_type: int, dims: Sequence[int], vals: Any, raw: bool = False
) -> Any:
    """Do the same as onnx's make_tensor, but take an array as it is."""
    values = np.asarray(vals, helper.tensor_dtype_to_np_dtype(data_type)).reshape(dims)
    return numpy_helper.from_array(values, name)


def _tidy(graph: Any) -> None:
    """Remove the weights from the inputs, and weights that no operator reads."""
    weights = {tensor.name for tensor in graph.initializer}
    inputs = [value for value in graph.input if value.name not in weights]
    read = {name for node in graph.node for name in node.input}
    kept = [tensor for tensor in graph.initializer if tensor.name in read]
    for field, values in ((graph.input, inputs), (graph.initializer, kept)):
        del field[:]
        field.extend(values)
