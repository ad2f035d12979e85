"""The MXNet equivalents of ONNX's operators that move numbers without computing any.

The number of images is never part of a shape, so that the network takes any number of them.
"""

from collections.abc import Sequence

import mxnet as mx
import numpy as np
from mxnet.symbol import Symbol

from finetune_trainer.model.formats.onnx.call import Call


def reshape(call: Call) -> Symbol:
    """Return reshape, or Flatten where that does the same."""
    target = call.constant(1).tolist()
    if call.attribute("allowzero", 0) and 0 in target:
        raise call.refuse("its output would be empty")
    return _reshaped(call, target)


def flatten(call: Call) -> Symbol:
    """Return Flatten."""
    if int(call.attribute("axis", 1)) % len(call.shape()) != 1:
        raise call.refuse("it mixes the images of a batch")
    return mx.sym.Flatten(call.data(), name=call.name)


def squeeze(call: Call) -> Symbol:
    """Return the data without axes of length 1."""
    shape, axes = call.shape(), call.optional(1, "axes")
    ones = [axis for axis, side in enumerate(shape) if side == 1]
    dropped = ones if axes is None else [int(axis) % len(shape) for axis in axes]
    return _reshaped(call, [side for axis, side in enumerate(shape) if axis not in dropped])


def unsqueeze(call: Call) -> Symbol:
    """Return the data with new axes of length 1."""
    sides, axes = iter(call.shape()), call.optional(1, "axes")
    rank = len(call.shape()) + len(axes)
    new = {int(axis) % rank for axis in axes}
    return _reshaped(call, [1 if axis in new else next(sides) for axis in range(rank)])


def _reshaped(call: Call, target: Sequence[int]) -> Symbol:
    before, after = call.shape(), call.resolved(target)
    if after[:1] != before[:1]:
        raise call.refuse("it mixes the images of a batch")
    if after == before:
        return call.data()
    if len(after) == 2:
        return mx.sym.Flatten(call.data(), name=call.name)
    return mx.sym.reshape(call.data(), shape=(0, *after[1:]), name=call.name)


def transpose(call: Call) -> Symbol:
    """Return transpose."""
    axes = call.attribute("perm", tuple(reversed(range(len(call.shape())))))
    return mx.sym.transpose(call.data(), axes=tuple(axes), name=call.name)


def concat(call: Call) -> Symbol:
    """Return Concat."""
    inputs = [call.data(index) for index in range(len(call.node.inputs))]
    return mx.sym.Concat(*inputs, dim=int(call.attribute("axis")), name=call.name)


def split(call: Call) -> list[Symbol]:
    """Return the slices along an axis, of equal size if their sizes are not given."""
    axis, count = int(call.attribute("axis", 0)), len(call.node.outputs)
    sizes, side = call.optional(1, "split"), call.shape()[axis]
    if sizes is None:
        size = -(-side // count)
        sizes = [size] * (count - 1) + [side - size * (count - 1)]
    ends = np.cumsum(sizes).tolist()
    return [
        _cut(call.data(), axis, begin, end)
        for begin, end in zip([0, *ends[:-1]], ends, strict=True)
    ]


def cut(call: Call) -> Symbol:
    """Return a slice along each of the axes."""
    starts, ends = call.optional(1, "starts"), call.optional(2, "ends")
    axes, steps = call.optional(3, "axes"), call.optional(4)
    if steps is not None and set(steps.tolist()) != {1}:
        raise call.refuse("its steps are not 1")
    data, shape = call.data(), call.shape()
    for axis, start, end in zip(
        range(len(starts)) if axes is None else axes, starts, ends, strict=True
    ):
        begin, end, _ = slice(int(start), int(end)).indices(shape[int(axis)])
        data = _cut(data, int(axis), begin, end)
    return data


def _cut(data: Symbol, axis: int, begin: int, end: int) -> Symbol:
    return mx.sym.slice_axis(data, axis=axis, begin=begin, end=end)


def pad(call: Call) -> Symbol:
    """Return Pad of height and width."""
    pads, fill = call.optional(1, "pads"), call.optional(2, "value")
    mode = call.attribute("mode", b"constant").decode()
    if mode not in ("constant", "edge", "reflect") or call.optional(3) is not None:
        raise call.refuse(f"it pads in the mode {mode}, or names its axes")
    around = np.stack(np.split(np.asarray(pads), 2), axis=1)
    if not around.any():
        return call.data()
    if len(around) != 4 or around[:2].any() or around.min() < 0:
        raise call.refuse("it pads other axes than height and width")
    return mx.sym.Pad(
        call.data(),
        name=call.name,
        mode=mode,
        pad_width=tuple(around.ravel().tolist()),
        constant_value=0.0 if fill is None else float(fill),
    )
