"""A symbol from nodes of another one's JSON."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

import mxnet as mx

VARIABLE = "null"


def rebuilt(
    graph: Mapping[str, Any], nodes: Sequence[Mapping[str, Any]], place: Mapping[int, int]
) -> mx.sym.Symbol:
    """Return the symbol of these nodes, whose inputs are numbered already; `place` is where each
    node of the graph is among them.
    """
    changed = {
        "nodes": nodes,
        "arg_nodes": [number for number, node in enumerate(nodes) if node["op"] == VARIABLE],
        "heads": [[place[i], *rest] for i, *rest in graph["heads"]],
        "attrs": graph.get("attrs", {}),
    }
    return mx.sym.load_json(json.dumps(changed))
