"""The MXNet equivalent of each ONNX operator.

https://onnx.ai/onnx/operators/ describes the operators, opset by opset.
"""

import operator
from collections.abc import Callable
from typing import Any

import mxnet as mx
import numpy as np
from mxnet.symbol import Symbol

from finetune_trainer.model.formats.onnx import layers, shaping
from finetune_trainer.model.formats.onnx.call import Call

LOWEST = layers.LOWEST


def _arithmetic(name: str, scalar: Callable[[Any, Any], Any]) -> Callable[[Call], Symbol]:
    def convert(call: Call) -> Symbol:
        sides: list[Any] = []
        shapes = []
        for index in (0, 1):
            value: Any = call.constant(index) if call.is_constant(index) else call.data(index)
            shapes.append(value.shape if call.is_constant(index) else call.shape(value))
            if call.is_constant(index):
                is_number = value.size == 1
                value = float(value.reshape(())) if is_number else call.fixed(value)
            sides.append(value)
        if any(isinstance(side, float) for side in sides):
            return scalar(*sides)
        # MXNet computes a convolution and the sum of its output at once, in place: wrong where
        # another node reads that output. It does not do so with broadcast_add.
        shared = any(call.is_shared_conv(index) for index in (0, 1))
        kind = "elemwise" if shapes[0] == shapes[1] and not shared else "broadcast"
        return getattr(mx.sym, f"{kind}_{name}")(*sides, name=call.name)

    return convert


def _add(call: Call) -> Symbol:
    """Return one layer for a MatMul and the numbers that are added to it."""
    for matrix, added in ((0, 1), (1, 0)):
        if call.is_constant(added) and (product := call.unbiased(matrix)):
            bias, width = call.constant(added), product.constant(1).shape[-1]
            if bias.shape[-1:] == (width,) and bias.size == width:
                return layers.matmul(product, bias)
    return _arithmetic("add", operator.add)(call)


def _sum(call: Call) -> Symbol:
    inputs = [call.data(index) for index in range(len(call.node.inputs))]
    return mx.sym.add_n(*inputs, name=call.name)


def _clip(call: Call) -> Symbol:
    low, high = call.optional(1, "min"), call.optional(2, "max")
    return mx.sym.clip(
        call.data(),
        a_min=LOWEST if low is None else float(low),
        a_max=-LOWEST if high is None else float(high),
        name=call.name,
    )


def _activation(kind: str) -> Callable[[Call], Symbol]:
    return lambda call: mx.sym.Activation(call.data(), act_type=kind, name=call.name)


def _leaky(kind: str, alpha: float) -> Callable[[Call], Symbol]:
    return lambda call: mx.sym.LeakyReLU(
        call.data(), act_type=kind, slope=call.attribute("alpha", alpha), name=call.name
    )


def _prelu(call: Call) -> Symbol:
    slopes, channels = call.constant(1), call.shape()[1]
    if slopes.size not in (1, channels):
        raise call.refuse("it does not have one slope for each channel")
    call.keep("gamma", np.broadcast_to(slopes.reshape(-1), channels))
    return mx.sym.LeakyReLU(call.data(), act_type="prelu", name=call.name)


def _hard_sigmoid(call: Call) -> Symbol:
    alpha, beta = call.attribute("alpha", 0.2), call.attribute("beta", 0.5)
    return mx.sym.hard_sigmoid(call.data(), alpha=alpha, beta=beta, name=call.name)


def _hard_swish(call: Call) -> Symbol:
    gate = mx.sym.hard_sigmoid(call.data(), alpha=1 / 6, beta=0.5, name=f"{call.name}_gate")
    return mx.sym.elemwise_mul(call.data(), gate, name=call.name)


def _softmax(name: str) -> Callable[[Call], Symbol]:
    def convert(call: Call) -> Symbol:
        axis = int(call.attribute("axis", -1 if call.opset >= 13 else 1))
        return getattr(mx.sym, name)(call.data(), axis=axis, name=call.name)

    return convert


def _dropout(call: Call) -> Symbol:
    ratio = call.optional(1, "ratio")
    return mx.sym.Dropout(call.data(), p=0.5 if ratio is None else float(ratio), name=call.name)


def _same(call: Call) -> Symbol:
    return call.data()


CONVERTERS: dict[str, Callable[[Call], Symbol | list[Symbol]]] = {
    "Add": _add,
    "AveragePool": layers.pool("avg"),
    "BatchNormalization": layers.batch_norm,
    "Cast": _same,
    "Clip": _clip,
    "Concat": shaping.concat,
    "Conv": layers.conv,
    "Div": _arithmetic("div", operator.truediv),
    "Dropout": _dropout,
    "Elu": _leaky("elu", 1.0),
    "Flatten": shaping.flatten,
    "Gemm": layers.gemm,
    "GlobalAveragePool": layers.global_pool("avg"),
    "GlobalMaxPool": layers.global_pool("max"),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Identity": _same,
    "LRN": layers.lrn,
    "LeakyRelu": _leaky("leaky", 0.01),
    "LogSoftmax": _softmax("log_softmax"),
    "MatMul": layers.matmul,
    "MaxPool": layers.pool("max"),
    "Mul": _arithmetic("mul", operator.mul),
    "PRelu": _prelu,
    "Pad": shaping.pad,
    "ReduceMean": layers.reduce_mean,
    "Relu": _activation("relu"),
    "Reshape": shaping.reshape,
    "Sigmoid": _activation("sigmoid"),
    "Slice": shaping.cut,
    "Softmax": _softmax("softmax"),
    "Split": shaping.split,
    "Squeeze": shaping.squeeze,
    "Sub": _arithmetic("sub", operator.sub),
    "Sum": _sum,
    "Tanh": _activation("tanh"),
    "Transpose": shaping.transpose,
    "Unsqueeze": shaping.unsqueeze,
}
"""Converters by ONNX's names of operators."""
