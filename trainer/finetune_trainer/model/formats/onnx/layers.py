"""The MXNet equivalents of ONNX's layers with weights, pooling and normalisation."""

from collections.abc import Callable, Sequence

import mxnet as mx
import numpy as np
from mxnet.symbol import Symbol

from finetune_trainer.model.formats.onnx.call import Array, Call

LOWEST = float(np.finfo(np.float32).min)


def conv(call: Call) -> Symbol:
    """Return Convolution."""
    weight, bias = call.constant(1), call.optional(2)
    if weight.ndim != 4:
        raise call.refuse(f"it is a convolution of {weight.ndim - 2} dimensions, not 2")
    data, shape = _padded(call, _pair(weight.shape[2:]), fill=0.0)
    call.keep("weight", weight)
    if bias is not None:
        call.keep("bias", bias)
    return mx.sym.Convolution(
        data,
        name=call.name,
        num_filter=len(weight),
        num_group=int(call.attribute("group", 1)),
        dilate=_pair(call.attribute("dilations", (1, 1))),
        no_bias=bias is None,
        **shape,
    )


def batch_norm(call: Call) -> Symbol:
    """Return BatchNorm."""
    if call.attribute("training_mode") or not call.attribute("spatial", 1):
        raise call.refuse("it is in training mode")
    for index, leaf in enumerate(("gamma", "beta", "moving_mean", "moving_var"), start=1):
        call.keep(leaf, call.constant(index), state=leaf.startswith("moving"))
    return mx.sym.BatchNorm(
        call.data(),
        name=call.name,
        fix_gamma=False,
        eps=call.attribute("epsilon", 1e-5),
        momentum=call.attribute("momentum", 0.9),
    )


def lrn(call: Call) -> Symbol:
    """Return LRN."""
    return mx.sym.LRN(
        call.data(),
        name=call.name,
        nsize=int(call.attribute("size")),
        alpha=call.attribute("alpha", 1e-4),
        beta=call.attribute("beta", 0.75),
        knorm=call.attribute("bias", 1.0),
    )


def pool(kind: str) -> Callable[[Call], Symbol]:
    """Return a converter to Pooling of this kind."""

    def convert(call: Call) -> Symbol:
        if len(call.node.outputs) > 1 or set(call.attribute("dilations", (1,))) != {1}:
            raise call.refuse("it has indices or dilations")
        kernel = _pair(call.attribute("kernel_shape"))
        data, shape = _padded(call, kernel, fill=LOWEST if kind == "max" else 0.0)
        counts = bool(call.attribute("count_include_pad", 0))
        if kind == "avg" and data is not call.data() and not counts:
            raise call.refuse("its padding is not the same on both sides")
        return mx.sym.Pooling(
            data,
            name=call.name,
            pool_type=kind,
            count_include_pad=counts,
            pooling_convention="full" if call.attribute("ceil_mode", 0) else "valid",
            **shape,
        )

    return convert


def global_pool(kind: str) -> Callable[[Call], Symbol]:
    """Return a converter to Pooling over the whole image."""
    return lambda call: mx.sym.Pooling(
        call.data(), name=call.name, pool_type=kind, global_pool=True, kernel=(1, 1)
    )


def reduce_mean(call: Call) -> Symbol:
    """Return Pooling over the whole image, for the mean of each channel."""
    axes = call.optional(1, "axes")
    if axes is None or len(call.shape()) != 4 or {int(axis) % 4 for axis in axes} != {2, 3}:
        raise call.refuse("it is not the mean of each channel")
    pooled = global_pool("avg")(call)
    keeps = call.attribute("keepdims", 1)
    return pooled if keeps else mx.sym.Flatten(pooled, name=f"{call.name}_flat")


def gemm(call: Call) -> Symbol:
    """Return FullyConnected."""
    weight, bias = call.constant(1), call.optional(2)
    if call.attribute("transA", 0):
        raise call.refuse("it transposes its first input")
    weight = weight if call.attribute("transB", 0) else weight.T
    bias = None if bias is None else bias * np.float32(call.attribute("beta", 1.0))
    return _dense(call, weight * np.float32(call.attribute("alpha", 1.0)), bias)


def matmul(call: Call, bias: Array | None = None) -> Symbol:
    """Return FullyConnected."""
    weight = call.constant(1)
    if weight.ndim != 2:
        raise call.refuse(f"its weights have {weight.ndim} dimensions, not 2")
    return _dense(call, weight.T, bias)


def _dense(call: Call, weight: Array, bias: Array | None) -> Symbol:
    """Return FullyConnected with a weight of [outputs, inputs]."""
    call.keep("weight", weight)
    if bias is not None:
        call.keep("bias", np.broadcast_to(bias.reshape(-1), len(weight)))
    return mx.sym.FullyConnected(
        call.data(),
        name=call.name,
        num_hidden=len(weight),
        no_bias=bias is None,
        flatten=len(call.shape()) == 2,
    )


def _padded(
    call: Call, kernel: tuple[int, int], *, fill: float
) -> tuple[Symbol, dict[str, tuple[int, int]]]:
    """Return the data, and the kernel, stride and padding of the layer.

    MXNet's layers pad both sides alike; other padding becomes an operator of its own before them.
    """
    stride = _pair(call.attribute("strides", (1, 1)))
    top, left, bottom, right = _pads(call, kernel, stride)
    shape = {"kernel": kernel, "stride": stride, "pad": (top, left)}
    if (top, left) == (bottom, right):
        return call.data(), shape
    width = (0, 0, 0, 0, top, bottom, left, right)
    data = mx.sym.Pad(
        call.data(), name=f"{call.name}_pad", mode="constant", pad_width=width, constant_value=fill
    )
    return data, shape | {"pad": (0, 0)}


def _pads(call: Call, kernel: tuple[int, int], stride: tuple[int, int]) -> list[int]:
    auto = call.attribute("auto_pad", b"NOTSET").decode()
    if not auto.startswith("SAME"):
        return [int(pad) for pad in call.attribute("pads", (0, 0, 0, 0))]
    dilation = _pair(call.attribute("dilations", (1, 1)))
    spans = [far * (length - 1) + 1 for far, length in zip(dilation, kernel, strict=True)]
    sides = zip(call.shape()[2:], spans, stride, strict=True)
    totals = [max((-(-side // step) - 1) * step + span - side, 0) for side, span, step in sides]
    less, more = [total // 2 for total in totals], [total - total // 2 for total in totals]
    return less + more if auto == "SAME_UPPER" else more + less


def _pair(values: Sequence[int]) -> tuple[int, int]:
    first, second = (int(value) for value in values)
    return first, second
