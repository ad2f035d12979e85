"""Replaces the last layer of any classifier by one for other classes: the new head.

The last layer is found by walking back from the outputs, never by names: it is the last
FullyConnected, or the last 1x1 Convolution where only pooling and reshaping follow. The trunk is
the network below it, and stays as it is, to the last bit.
"""

import dataclasses
import difflib
from collections.abc import Collection
from itertools import count
from typing import Any

import mxnet as mx

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model.graph import VARIABLE, Node, graph_of, nodes_of
from finetune_trainer.model.network import Network

# The operators that may stand between the last layer with weights and the output.
_LOSSES = {
    "SoftmaxOutput", "Softmax", "softmax", "log_softmax", "SoftmaxActivation", "BlockGrad",
    "make_loss", "MakeLoss", "LogisticRegressionOutput", "LinearRegressionOutput", "sigmoid",
}  # fmt: skip
_POOLING = {"Pooling", "Pooling_v1", "mean"}
_RESHAPING = {"Flatten", "flatten", "Reshape", "reshape", "squeeze"}
_TRANSPARENT = (
    _LOSSES
    | _POOLING
    | _RESHAPING
    | {"identity", "_copy", "Dropout", "Cast", "cast", "Activation", "relu", "clip"}
)
_SHOWN = 5


@dataclasses.dataclass(frozen=True)
class Surgery:
    """A network with a new head: `args` and `aux` are those of the trunk, unchanged."""

    network: Network
    features: str
    """The internal output that feeds the new head."""
    replaced: str
    """The names of the layers that were cut off."""
    dropped: tuple[str, ...]
    """The parameters of these layers."""


def replace_head(network: Network, classes: int, *, after: str | None = None) -> Surgery:
    """Cut off the last layer, or all that comes after the layer `after`, and put FullyConnected +
    SoftmaxOutput for `classes` in its place.
    """
    trunk = _kept_layers(network.symbol, after) if after else _before_head(network.symbol)
    dropped = set(network.symbol.list_arguments()) - set(trunk.list_arguments())
    dropped &= network.args.keys()
    trunk = _fed_by_data(trunk, network)
    args, aux = _kept(network, trunk)
    symbol = mx.sym.FullyConnected(trunk, name=_free_name(trunk), num_hidden=classes)
    symbol = mx.sym.SoftmaxOutput(symbol, name="softmax")
    return Surgery(
        network=Network(symbol, args, aux),
        features=trunk.list_outputs()[0],
        replaced=", ".join(_layers_with(network.symbol, dropped)),
        dropped=tuple(sorted(dropped)),
    )


def _before_head(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """Return the trunk: the network below its last layer.

    Of several last layers the deepest one counts: the others have auxiliary losses, and branch off
    earlier.
    """
    walks = [_walk_back(output) for output in symbol]
    trunks = [trunk for trunk in walks if trunk is not None]
    depths = [len(trunk.get_internals().list_outputs()) for trunk in trunks]
    deepest = {
        trunk.list_outputs()[0]: trunk
        for trunk, depth in zip(trunks, depths, strict=True)
        if depth == max(depths)
    }
    if len(deepest) == 1:
        return deepest.popitem()[1]
    outputs = ", ".join(symbol.list_outputs()[:_SHOWN])
    raise TrainerError(
        ExitCode.InvalidData,
        f"no single classifier layer was found at the end of the network (outputs: {outputs})",
        f"Name the last layer to keep in model.replaceAfter; {_places(symbol)}.",
    )


def _walk_back(output: mx.sym.Symbol) -> mx.sym.Symbol | None:
    """Return the trunk of the classifier with this output; None if no classifier ends in it."""
    graph = graph_of(output)
    nodes, last = graph["nodes"], graph["heads"][0][0]
    path, data = [nodes[last]], _data_input(output)
    while path[-1]["op"] in _TRANSPARENT:
        path.append(nodes[path[-1]["inputs"][0][0]])
        data = _data_input(data)
    passed = {node["op"] for node in path[:-1]}
    if path[-1]["op"] == "FullyConnected":
        return data
    if not _is_pointwise(path[-1]) or not passed & (_POOLING | _RESHAPING):
        return None  # without pooling or reshaping it classifies every pixel
    if passed & _POOLING:
        # The pooling that followed the convolution comes before the new layer instead: for a
        # linear layer the order makes no difference.
        return mx.sym.Pooling(
            data, name="pooled_features", global_pool=True, pool_type="avg", kernel=(1, 1)
        )
    return data


def _data_input(symbol: mx.sym.Symbol) -> mx.sym.Symbol | None:
    """Return the first input of the operator with this output; None for a variable."""
    inputs = symbol.get_children()
    return inputs[0] if inputs is not None else None


def _is_pointwise(node: Node) -> bool:
    if node["op"] != "Convolution":
        return False
    return {size.strip(" ()[]") for size in node["attrs"]["kernel"].split(",")} <= {"1", ""}


def _kept_layers(symbol: mx.sym.Symbol, after: str) -> mx.sym.Symbol:
    """Return the network up to the layer of this name."""
    layers = [node["name"] for node in nodes_of(symbol) if node["op"] != VARIABLE]
    name = after.removesuffix("_output")
    if layers.count(name) == 1:
        internals = symbol.get_internals()
        outputs = [out for out in internals.list_outputs() if out.startswith(f"{name}_output")]
        return internals[outputs[0]]
    alike = difflib.get_close_matches(name, layers, _SHOWN)
    raise TrainerError(
        ExitCode.InvalidSpec,
        f"model.replaceAfter: the network has {layers.count(name) or 'no'} layers {after!r}",
        (f"Similar: {', '.join(alike)}; " if alike else "") + f"{_places(symbol)}.",
    )


def _places(symbol: mx.sym.Symbol) -> str:
    """Name the layers that a new last layer could follow: each is below a possible last layer."""
    nodes = nodes_of(symbol)
    places = [
        f"{nodes[node['inputs'][0][0]]['name']} (before {node['name']})"
        for node in nodes
        if node["op"] == "FullyConnected" or _is_pointwise(node)
    ]
    return f"layers that it could be: {', '.join(places[-_SHOWN:]) or 'none'}"


def _layers_with(symbol: mx.sym.Symbol, params: Collection[str]) -> list[str]:
    nodes = nodes_of(symbol)
    return [
        node["name"]
        for node in nodes
        if any(nodes[index]["name"] in params for index, *_ in node["inputs"])
    ]


def _fed_by_data(trunk: mx.sym.Symbol, network: Network) -> mx.sym.Symbol:
    """Rename the network's input to `data`: exports of other tools name it differently."""
    inputs = [name for name in trunk.list_arguments() if name not in network.args]
    if len(inputs) == 1 and inputs != ["data"]:
        return trunk(**{inputs[0]: mx.sym.var("data")})
    return trunk


def _kept(network: Network, trunk: mx.sym.Symbol) -> tuple[dict[str, Any], dict[str, Any]]:
    arguments = [name for name in trunk.list_arguments() if name != "data"]
    states = trunk.list_auxiliary_states()
    missing = [name for name in arguments if name not in network.args]
    missing += [name for name in states if name not in network.aux]
    if missing:
        known = network.symbol.list_inputs()
        unknown = [name for name in (*network.args, *network.aux) if name not in known]
        instead = f"; the network does not have {', '.join(unknown[:3])}" if unknown else ""
        raise TrainerError(
            ExitCode.InvalidData,
            f"the weights do not fit the network: {len(missing)} of its parameters are missing, "
            f"such as {', '.join(missing[:3])}{instead}",
            "Give the symbol and the params file of the same network.",
        )
    return (
        {name: network.args[name] for name in arguments},
        {name: network.aux[name] for name in states},
    )


def _free_name(trunk: mx.sym.Symbol) -> str:
    """Return fc1, or the next free name (AlexNet keeps an fc1 of its own)."""
    taken = set(trunk.get_internals().list_outputs())
    return next(n for n in (f"fc{i}" for i in count(1)) if f"{n}_output" not in taken)
