"""Mixed precision (Micikevicius et al. 2018), by MXNet's own lists of operators for float16."""

import mxnet as mx
from mxnet.contrib import amp

from finetune_trainer.model.graph import VARIABLE, Node, edit

LOSS_SCALE, SCALED_ROWS = 128.0, 32
_LOSSES = {"SoftmaxOutput", "MakeLoss"}
_CONDITIONS = [
    (operator, attribute, [*values, "prelu"] if operator == "LeakyReLU" else values)
    for operator, attribute, values in amp.list_conditional_fp32_ops("float16")
]
"""Operators that stay float32 for some values of an attribute: MXNet's list, and PReLU, whose
parameter is float32."""


def loss_scale(rows: int, *, largest_weight: float = 1.0) -> float:
    """Return the factor of the loss that keeps small gradients above float16's least number, 6e-8.

    It is 128, and less for many rows on a device and for a large class weight, because gradients
    are sums over the rows, and float16 ends at 65504.
    """
    return LOSS_SCALE / max(1.0, rows / SCALED_ROWS) / max(1.0, largest_weight)


def in_half_precision(
    symbol: mx.sym.Symbol, *, scale: float, dtype: str = "float16"
) -> mx.sym.Symbol:
    """Return a classifier that convolves and multiplies in float16, and passes that from layer to
    layer. Its parameters, inputs and outputs stay float32; so do the gradients of parameters, which
    are `scale` times as large.
    """

    def change(node: Node) -> None:
        attrs = node.setdefault("attrs", {})
        if node["op"] == VARIABLE:
            attrs["__dtype__"] = "0"  # float32, which MXNet cannot infer from a cast to float16
        elif node["op"] in _LOSSES:
            attrs["grad_scale"] = str(scale * float(attrs.get("grad_scale", 1)))

    converted = amp.convert_symbol(symbol, target_dtype=dtype, conditional_fp32_ops=_CONDITIONS)
    return edit(converted, change)
