"""Mixed precision (Micikevicius et al. 2018): MXNet's own lists say what float16 is enough for."""

import json

import mxnet as mx
from mxnet.contrib import amp

LOSS_SCALE = 128.0
"""Of the loss, and so of the gradients: small ones would be 0 in float16, whose least number is
6e-8. Its largest is 65504, and the loss is the sum over a batch, so it cannot be much more."""
_LOSSES = {"SoftmaxOutput", "MakeLoss"}


def in_half_precision(symbol: mx.sym.Symbol, dtype: str = "float16") -> mx.sym.Symbol:
    """Return a classifier that convolves and multiplies in float16. Weights and their gradients,
    which come out LOSS_SCALE times as large, stay float32, and so do its inputs and outputs.
    """
    converted = amp.convert_symbol(symbol, target_dtype=dtype)
    graph = json.loads(converted.tojson(remove_amp_cast=False))
    for node in graph["nodes"]:
        attrs = node.setdefault("attrs", {})
        if node["op"] == "null":
            attrs["__dtype__"] = "0"  # float32: nothing else says what is cast to float16
        elif node["op"] in _LOSSES:
            attrs["grad_scale"] = str(LOSS_SCALE * float(attrs.get("grad_scale", 1)))
    return mx.sym.load_json(json.dumps(graph))
