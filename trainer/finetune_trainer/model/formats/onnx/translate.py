"""Translates an ONNX graph to an MXNet network, and compares it with onnxruntime."""

from typing import Any

import mxnet as mx
import numpy as np
from mxnet.symbol import Symbol

from finetune_trainer.contract import TrainerError
from finetune_trainer.model.formats.onnx.call import Array, Call, Translation
from finetune_trainer.model.formats.onnx.file import Graph, Node, unusable
from finetune_trainer.model.formats.onnx.folding import can_fold, fold
from finetune_trainer.model.formats.onnx.operators import CONVERTERS
from finetune_trainer.model.formats.onnx.session import open_session
from finetune_trainer.model.network import Network, reason_of

IMAGES = 2
"""The number of images that both classify, if the file takes any number."""
TOLERANCE = 1e-3
"""The largest difference, as a fraction of the range of the outputs: float arithmetic in another
order makes 1e-6 to 1e-4."""


def to_network(graph: Graph, *, size: int) -> Network:
    """Return the network for images of size x size.

    Raises InvalidData if a node has no MXNet equivalent, or if the outputs of the two differ.
    """
    try:
        network = _translated(graph, size)
        _compare_outputs(graph, network, size)
    except TrainerError:
        raise
    # Nodes that contradict each other can fail in any of these ways.
    except (mx.MXNetError, ValueError, TypeError, LookupError, ArithmeticError) as error:
        text = f"for images of {size} x {size}: {reason_of(error)}"
        raise unusable(graph.file, text) from error
    return network


def _translated(graph: Graph, size: int) -> Network:
    translation = Translation(graph, size)
    values: dict[str, Any] = translation.values
    values |= graph.weights
    with mx.name.NameManager():  # so that names are the same in every process
        data = mx.sym.var("data")
        values[graph.image] = (
            mx.sym.transpose(data, axes=(0, 2, 3, 1), name="channels_last")
            if graph.channels_last
            else data
        )
        for node in graph.nodes:
            for name, value in zip(node.outputs, _outputs(node, translation), strict=False):
                values[name] = value
                translation.makers[name] = node
    outputs = [values[name] for name in graph.outputs]
    return Network(
        outputs[0] if len(outputs) == 1 else mx.sym.Group(outputs),
        {name: _array(value) for name, value in translation.args.items()},
        {name: _array(value) for name, value in translation.aux.items()},
    )


def _array(value: Array) -> Any:
    return mx.nd.array(value.astype(np.float32))


def _outputs(node: Node, translation: Translation) -> list[Any]:
    inputs = [translation.values[name] for name in node.inputs if name]
    if node.operator == "Shape":
        (value,) = inputs
        shape = translation.shape(value) if isinstance(value, Symbol) else value.shape
        piece = slice(node.attributes.get("start"), node.attributes.get("end"))
        return [np.array(shape[piece], np.int64)]
    if not any(isinstance(value, Symbol) for value in inputs) and can_fold(node, inputs):
        return [fold(node, inputs, opset=translation.graph.opset)]
    call = Call(node, translation)
    if node.operator not in CONVERTERS:
        raise call.refuse("it is supported only where it computes shapes")
    output = CONVERTERS[node.operator](call)
    return output if isinstance(output, list) else [output]


def _compare_outputs(graph: Graph, network: Network, size: int) -> None:
    count = graph.shape[0] or IMAGES
    images = np.random.default_rng(0).normal(size=(count, 3, size, size)).astype(np.float32)
    for ours, theirs in zip(_ours(network, images), _theirs(graph, images, size), strict=True):
        spread = float(theirs.max() - theirs.min()) + 1e-2 * float(np.abs(theirs).max())
        if ours.shape != theirs.shape or not np.abs(ours - theirs).max() <= TOLERANCE * spread:
            raise unusable(graph.file, "MXNet's output differs from onnxruntime's")


def _ours(network: Network, images: Array) -> list[Array]:
    executor = network.symbol.simple_bind(mx.cpu(), grad_req="null", data=images.shape)
    executor.copy_params_from(network.args, network.aux)
    return [output.asnumpy() for output in executor.forward(data=mx.nd.array(images))]


def _theirs(graph: Graph, images: Array, size: int) -> list[Array]:
    model, (high, wide) = graph.model, (1, 2) if graph.channels_last else (2, 3)
    del model.graph.value_info[:]
    for value in model.graph.input:
        if value.name == graph.image:
            for axis in (high, wide):
                value.type.tensor_type.shape.dim[axis].dim_value = size
    try:
        session = open_session(model.SerializeToString(), threads=1)
        data = images.transpose(0, 2, 3, 1) if graph.channels_last else images
        outputs = session.run(None, {graph.image: data.astype(np.float16) if graph.half else data})
    except Exception as error:  # onnxruntime has a dozen types without a common base
        raise unusable(graph.file, f"onnxruntime cannot run it: {error}") from error
    return [np.asarray(output, np.float32) for output in outputs]
