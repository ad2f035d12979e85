"""Settings of a symbol's BatchNorm layers, which decide whether a fine-tuning works.

Weights and moving statistics are not changed.
"""

import mxnet as mx

from finetune_trainer.model.graph import Node, edit

_BATCH_NORMS = {"BatchNorm", "BatchNorm_v1", "_contrib_SyncBatchNorm"}


def with_momentum(symbol: mx.sym.Symbol, momentum: float) -> mx.sym.Symbol:
    """Lower each BatchNorm's momentum to `momentum`.

    Networks trained for weeks have 0.99 and more; in the few hundred steps of a fine-tuning the
    moving statistics would stay those of the old data.
    """

    def change(node: Node) -> None:
        if node["op"] in _BATCH_NORMS:
            attrs = node.setdefault("attrs", {})
            attrs["momentum"] = str(min(momentum, float(attrs.get("momentum", 0.9))))

    return edit(symbol, change)


def with_frozen_statistics(symbol: mx.sym.Symbol) -> mx.sym.Symbol:
    """Let each BatchNorm use its moving statistics in training too, and keep them."""

    def change(node: Node) -> None:
        if node["op"] in _BATCH_NORMS:
            node.setdefault("attrs", {})["use_global_stats"] = "True"

    return edit(symbol, change)
