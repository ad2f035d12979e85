"""Settings of the BatchNorm layers of a symbol, which decide whether a fine-tuning works.

Other settings only: weights and moving statistics are not touched.
"""

import json
from collections.abc import Collection
from typing import Any

import mxnet as mx

_BATCH_NORMS = {"BatchNorm", "BatchNorm_v1", "_contrib_SyncBatchNorm"}


def with_momentum(symbol: mx.sym.Symbol, momentum: float) -> mx.sym.Symbol:
    """Lower each BatchNorm's momentum to `momentum`.

    Networks trained for weeks have 0.99 and more; in the few hundred steps of a fine-tuning the
    moving statistics would stay those of the old data.
    """
    graph = json.loads(symbol.tojson())
    for node in _batch_norms(graph):
        attrs = node.setdefault("attrs", {})
        attrs["momentum"] = str(min(momentum, float(attrs.get("momentum", 0.9))))
    return mx.sym.load_json(json.dumps(graph))


def with_frozen_statistics(symbol: mx.sym.Symbol, layers: Collection[str]) -> mx.sym.Symbol:
    """Let these BatchNorm layers use their moving statistics in training too, and keep them.

    Freezing the parameters is not enough: a BatchNorm without gradients still normalises by the
    batch, and on GPUs its moving statistics drift away from the weights that are kept.
    """
    graph = json.loads(symbol.tojson())
    for node in _batch_norms(graph):
        if node["name"] in layers:
            node.setdefault("attrs", {})["use_global_stats"] = "True"
    return mx.sym.load_json(json.dumps(graph))


def batch_norms(symbol: mx.sym.Symbol) -> tuple[str, ...]:
    """Return the names of the BatchNorm layers, from the data on."""
    return tuple(node["name"] for node in _batch_norms(json.loads(symbol.tojson())))


def _batch_norms(graph: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in graph["nodes"] if node["op"] in _BATCH_NORMS]
