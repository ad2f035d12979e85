"""A symbol's graph, as MXNet writes it in JSON: read, edit and rebuild it.

A graph is a list of nodes, each before all that use it, and the list of its outputs ("heads").
Inputs and outputs name a node by its number: [node, output of the node, version].
"""

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import mxnet as mx

VARIABLE = "null"
"""The `op` of a node that is no operator: a parameter, the images or the labels."""

Node = dict[str, Any]


def graph_of(symbol: mx.sym.Symbol) -> dict[str, Any]:
    """Return the graph of a symbol, with the casts of mixed precision if there are any."""
    graph: dict[str, Any] = json.loads(symbol.tojson(remove_amp_cast=False))
    return graph


def nodes_of(symbol: mx.sym.Symbol) -> list[Node]:
    """Return the nodes of a symbol."""
    nodes: list[Node] = graph_of(symbol)["nodes"]
    return nodes


def edit(symbol: mx.sym.Symbol, change: Callable[[Node], None]) -> mx.sym.Symbol:
    """Return the symbol after `change` has edited each of its nodes in place."""
    graph = graph_of(symbol)
    for node in graph["nodes"]:
        change(node)
    return mx.sym.load_json(json.dumps(graph))


def rebuild(
    graph: Mapping[str, Any], nodes: Sequence[Node], place: Mapping[int, int]
) -> mx.sym.Symbol:
    """Return the symbol of these nodes, with the outputs of `graph`.

    The inputs of the nodes are renumbered already; `place` has the new number of each node by its
    number in `graph`.
    """
    changed = {
        "nodes": nodes,
        "arg_nodes": [number for number, node in enumerate(nodes) if node["op"] == VARIABLE],
        "heads": [[place[i], *rest] for i, *rest in graph["heads"]],
        "attrs": graph.get("attrs", {}),
    }
    return mx.sym.load_json(json.dumps(changed))
