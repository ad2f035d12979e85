"""Mixed precision (Micikevicius et al. 2018): MXNet's own lists say what float16 is enough for."""

import json

import mxnet as mx
from mxnet.contrib import amp

from finetune_trainer.model.rewrites.graph import VARIABLE

LOSS_SCALE, SCALED_ROWS = 128.0, 32
_LOSSES = {"SoftmaxOutput", "MakeLoss"}
_CONDITIONS = [
    (operator, attribute, [*values, "prelu"] if operator == "LeakyReLU" else values)
    for operator, attribute, values in amp.list_conditional_fp32_ops("float16")
]
"""What is float32 by the value of an attribute: MXNet's list, and PReLU, whose parameter is."""


def loss_scale(rows: int, *, largest_weight: float = 1.0) -> float:
    """Return what to multiply the loss of a device's rows by, so that small gradients are not 0 in
    float16, whose least number is 6e-8: 128, less for many rows and for classes that count for
    much, as the gradients are sums over the rows, and float16 ends at 65504.
    """
    return LOSS_SCALE / max(1.0, rows / SCALED_ROWS) / max(1.0, largest_weight)


def in_half_precision(
    symbol: mx.sym.Symbol, *, scale: float, dtype: str = "float16"
) -> mx.sym.Symbol:
    """Return a classifier that convolves and multiplies in float16, and hands that on from layer to
    layer. Its parameters, inputs and outputs stay float32; so do the gradients of parameters, which
    come out `scale` times as large.
    """
    converted = amp.convert_symbol(symbol, target_dtype=dtype, conditional_fp32_ops=_CONDITIONS)
    graph = json.loads(converted.tojson(remove_amp_cast=False))
    for node in graph["nodes"]:
        attrs = node.setdefault("attrs", {})
        if node["op"] == VARIABLE:
            attrs["__dtype__"] = "0"  # float32: nothing else says what is cast to float16
        elif node["op"] in _LOSSES:
            attrs["grad_scale"] = str(scale * float(attrs.get("grad_scale", 1)))
    return mx.sym.load_json(json.dumps(graph))
