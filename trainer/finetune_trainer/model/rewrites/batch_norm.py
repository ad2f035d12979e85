"""Settings of the BatchNorm layers of a symbol, which decide whether a fine-tuning works.

Other settings only: weights and moving statistics are not touched.
"""

import json
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


def with_frozen_statistics(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """Let each BatchNorm use its moving statistics in training too, and keep them."""
    graph = json.loads(symbol.tojson())
    for node in _batch_norms(graph):
        node.setdefault("attrs", {})["use_global_stats"] = "True"
    return mx.sym.load_json(json.dumps(graph))


def _batch_norms(graph: dict[str, Any]) -> list[dict[str, Any]]:
    return [node for node in graph["nodes"] if node["op"] in _BATCH_NORMS]
