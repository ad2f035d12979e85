"""Replaces the last layer of any classifier symbol.

The layer is found by walking back from the output, never by names: the last FullyConnected, or the
last 1x1 Convolution where nothing but pooling and reshaping follows. What lies before it stays as
it is, to the last bit.
"""

import dataclasses
import json
from itertools import count
from typing import Any

import mxnet as mx

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model.network import Network

# What may stand between the last layer with weights and the output.
_LOSSES = {"SoftmaxOutput", "softmax", "log_softmax", "SoftmaxActivation", "Softmax"}
_RESHAPING = {"Flatten", "Reshape", "reshape", "squeeze", "identity", "_copy", "Dropout", "Cast"}
_ACTIVATIONS = {"Activation", "relu", "clip"}
_TRANSPARENT = _LOSSES | _RESHAPING | _ACTIVATIONS | {"Pooling"}

Node = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class Surgery:
    """A network with a new head: `args` and `aux` are those of the trunk, unchanged."""

    network: Network
    features: str
    """The internal output that feeds the new head."""
    replaced: str
    """Name of the layer that was cut off."""
    dropped: tuple[str, ...]
    """Its parameters."""


def replace_head(network: Network, classes: int) -> Surgery:
    """Cut off the last layer and put FullyConnected + SoftmaxOutput for `classes` in its place."""
    path, trunk = _walk_back(network.symbol)
    head = path[-1]
    if head["op"] == "Convolution" and any(node["op"] == "Pooling" for node in path):
        # The pooling that followed the convolution comes before the new layer instead: for a
        # linear layer the order makes no difference.
        trunk = mx.sym.Pooling(
            trunk, name="pooled_features", global_pool=True, pool_type="avg", kernel=(1, 1)
        )
    args, aux = _kept(network, trunk)
    symbol = mx.sym.FullyConnected(trunk, name=_free_name(trunk), num_hidden=classes)
    symbol = mx.sym.SoftmaxOutput(symbol, name="softmax")
    return Surgery(
        network=Network(symbol, args, aux),
        features=trunk.list_outputs()[0],
        replaced=head["name"],
        dropped=tuple(sorted(set(_own_params(network.symbol, head)) & network.args.keys())),
    )


def with_momentum(symbol: mx.sym.Symbol, momentum: float) -> mx.sym.Symbol:
    """Lower each BatchNorm's momentum to `momentum`.

    Networks trained for weeks have 0.99 and more; in the few hundred steps of a fine-tuning the
    moving statistics would stay those of the old data.
    """
    graph = json.loads(symbol.tojson())
    for node in graph["nodes"]:
        if node["op"] == "BatchNorm":
            attrs = node.setdefault("attrs", {})
            attrs["momentum"] = str(min(momentum, float(attrs.get("momentum", 0.9))))
    return mx.sym.load_json(json.dumps(graph))


def _walk_back(symbol: mx.sym.Symbol) -> tuple[list[Node], mx.sym.Symbol]:
    """Return the nodes from the output to the layer to replace, and what feeds that layer."""
    graph = json.loads(symbol.tojson())
    nodes, outputs = graph["nodes"], symbol.list_outputs()
    path, data = [nodes[graph["heads"][0][0]]], _data_input(symbol)
    while path[-1]["op"] in _TRANSPARENT:
        path.append(nodes[path[-1]["inputs"][0][0]])
        data = _data_input(data)
    if len(outputs) == 1 and _is_classifier(path[-1]):
        return path, data
    candidates = [node["name"] for node in nodes if _is_classifier(node)]
    raise TrainerError(
        ExitCode.InvalidData,
        f"no classifier layer was found at the end of the network (outputs: {', '.join(outputs)})",
        f"layers that could be one: {', '.join(candidates[-8:]) or 'none'}",
    )


def _data_input(symbol: mx.sym.Symbol) -> mx.sym.Symbol | None:
    """Return the first input of the operator that gives this output; None for a variable."""
    inputs = symbol.get_children()
    return inputs[0] if inputs is not None else None


def _is_classifier(node: Node) -> bool:
    if node["op"] == "FullyConnected":
        return True
    if node["op"] != "Convolution":
        return False
    return {size.strip(" ()[]") for size in node["attrs"]["kernel"].split(",")} <= {"1", ""}


def _own_params(symbol: mx.sym.Symbol, node: Node) -> list[str]:
    nodes = json.loads(symbol.tojson())["nodes"]
    return [nodes[index]["name"] for index, *_ in node["inputs"][1:]]


def _kept(network: Network, trunk: mx.sym.Symbol) -> tuple[dict[str, Any], dict[str, Any]]:
    arguments = [name for name in trunk.list_arguments() if name != "data"]
    states = trunk.list_auxiliary_states()
    missing = [name for name in arguments if name not in network.args]
    missing += [name for name in states if name not in network.aux]
    if missing:
        raise TrainerError(
            ExitCode.InvalidData,
            f"the weights do not fit the network: {len(missing)} of its parameters are missing, "
            f"such as {', '.join(missing[:3])}",
            "give the symbol and the params file of the same network",
        )
    return (
        {name: network.args[name] for name in arguments},
        {name: network.aux[name] for name in states},
    )


def _free_name(trunk: mx.sym.Symbol) -> str:
    """Return fc1, or the next free name (AlexNet keeps an fc1 of its own)."""
    taken = set(trunk.get_internals().list_outputs())
    return next(n for n in (f"fc{i}" for i in count(1)) if f"{n}_output" not in taken)
