"""A network of float16, bfloat16 or float64 numbers as one of float32, as it is trained."""

import mxnet as mx
import numpy as np

from finetune_trainer.model.graph import VARIABLE, Node, edit
from finetune_trainer.model.network import Network

FLOAT32 = np.dtype(np.float32)
_FLOATS = {"float16", "float64", "bfloat16"}


def in_float32(network: Network) -> Network:
    """Return the network with float32 parameters; as it is if it has no others.

    Its symbol may declare the types of its variables, and cast between layers. Integers stay: they
    are those of a quantized network.
    """
    params = network.args | network.aux
    if all(value.dtype == FLOAT32 for value in params.values()):
        return network
    args, aux = (
        {name: _float32(value) for name, value in part.items()}
        for part in (network.args, network.aux)
    )
    return Network(edit(network.symbol, _without_types), args, aux)


def _float32(value: mx.nd.NDArray) -> mx.nd.NDArray:
    integer = np.dtype(value.dtype).kind in "iub"
    return value if integer else value.astype("float32")


def _without_types(node: Node) -> None:
    attrs = node.get("attrs", {})
    if node["op"] == VARIABLE:
        attrs.pop("__dtype__", None)
    elif attrs.get("dtype") in _FLOATS:
        attrs["dtype"] = "float32"
