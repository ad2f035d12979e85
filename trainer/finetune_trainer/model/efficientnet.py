"""EfficientNet-Lite as an MXNet symbol, and its PyTorch weights under the symbol's names.

TensorFlow's SAME padding is asymmetric at stride 2 (nothing before, one more after), MXNet's is
not. The kernel gets a first row and column of zeros and one pixel of padding instead: the same
numbers, and unlike a Pad operator it lets oneDNN fuse convolution, BatchNorm and ReLU6 (1.6 times
the speed).
"""

import dataclasses
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

EPSILON = 1e-3
MOMENTUM = 0.99


@dataclasses.dataclass(frozen=True)
class Stage:
    """Blocks of one resolution: the first has the stride, all the same kernel and width."""

    blocks: int
    kernel: int
    stride: int
    expand: int
    channels: int


LITE0 = (
    Stage(1, 3, 1, 1, 16),
    Stage(2, 3, 2, 6, 24),
    Stage(2, 5, 2, 6, 40),
    Stage(3, 3, 2, 6, 80),
    Stage(3, 5, 1, 6, 112),
    Stage(4, 5, 2, 6, 192),
    Stage(1, 3, 1, 6, 320),
)
STEM = 32
TOP = 1280


def build(stages: tuple[Stage, ...] = LITE0, classes: int = 1000) -> mx.sym.Symbol:
    """Return the classifier: data -> ... -> flatten -> fc -> softmax."""
    x = _relu6(_conv_bn(mx.sym.var("data"), "stem", STEM, kernel=3, stride=2), "stem")
    width, index = STEM, 0
    for stage in stages:
        for position in range(stage.blocks):
            stride = stage.stride if position == 0 else 1
            x = _block(x, f"block{index}", width=width, stride=stride, stage=stage)
            width, index = stage.channels, index + 1
    x = _relu6(_conv_bn(x, "top", TOP), "top")
    x = mx.sym.Pooling(x, name="pool", global_pool=True, pool_type="avg", kernel=(7, 7))
    x = mx.sym.FullyConnected(mx.sym.Flatten(x, name="flatten"), name="fc", num_hidden=classes)
    return mx.sym.SoftmaxOutput(x, name="softmax")


def _block(
    data: mx.sym.Symbol, name: str, *, width: int, stride: int, stage: Stage
) -> mx.sym.Symbol:
    """Inverted residual: expand, depthwise, project; a shortcut where the shape stays."""
    x, inner = data, width * stage.expand
    if stage.expand > 1:
        x = _relu6(_conv_bn(x, f"{name}_expand", inner), f"{name}_expand")
    depthwise = {"kernel": stage.kernel, "stride": stride, "groups": inner}
    x = _relu6(_conv_bn(x, f"{name}_depthwise", inner, **depthwise), f"{name}_depthwise")
    x = _conv_bn(x, f"{name}_project", stage.channels)
    if stride > 1 or width != stage.channels:
        return x
    return mx.sym.elemwise_add(x, data, name=f"{name}_add")


def _conv_bn(
    data: mx.sym.Symbol,
    name: str,
    channels: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
) -> mx.sym.Symbol:
    kernel += stride == 2  # room for the zeros
    x = mx.sym.Convolution(
        data,
        name=name,
        num_filter=channels,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pad=(kernel // 2 - (stride == 2), kernel // 2 - (stride == 2)),
        num_group=groups,
        no_bias=True,
    )
    return mx.sym.BatchNorm(x, name=f"{name}_bn", eps=EPSILON, momentum=MOMENTUM, fix_gamma=False)


def _relu6(data: mx.sym.Symbol, name: str) -> mx.sym.Symbol:
    return mx.sym.clip(data, a_min=0, a_max=6, name=f"{name}_relu6")


Params = dict[str, NDArray[np.float32]]

_LAYERS = {
    "_conv_stem": "stem",
    "_bn0": "stem_bn",
    "_conv_head": "top",
    "_bn1": "top_bn",
    "_fc": "fc",
}
_BLOCK_LAYERS = {
    "_expand_conv": "expand",
    "_bn0": "expand_bn",
    "_depthwise_conv": "depthwise",
    "_bn1": "depthwise_bn",
    "_project_conv": "project",
    "_bn2": "project_bn",
}
_BATCH_NORM = {
    "weight": "gamma",
    "bias": "beta",
    "running_mean": "moving_mean",
    "running_var": "moving_var",
}


def rename(tensors: dict[str, NDArray[Any]], symbol: mx.sym.Symbol) -> tuple[Params, Params]:
    """Return the arguments and auxiliary states of `symbol` from a PyTorch state dict.

    Raises ValueError unless each tensor finds its place and each place its tensor.
    """
    shapes = _shapes(symbol)
    params = {}
    for name, tensor in tensors.items():
        if not name.endswith(".num_batches_tracked"):
            target = _target(name)
            params[target] = _zero_extended(tensor.astype(np.float32), shapes.get(target))
    wrong = {n for n in shapes.keys() | params.keys() if n not in params or n not in shapes}
    wrong |= {n for n in shapes.keys() & params.keys() if params[n].shape != shapes[n]}
    if wrong:
        raise ValueError(f"tensors that do not fit the network: {', '.join(sorted(wrong)[:5])}")
    states = set(symbol.list_auxiliary_states())
    return (
        {name: value for name, value in params.items() if name not in states},
        {name: value for name, value in params.items() if name in states},
    )


def _shapes(symbol: mx.sym.Symbol) -> dict[str, tuple[int, ...]]:
    arguments, _, states = symbol.infer_shape(data=(1, 3, 224, 224))
    shapes = dict(zip(symbol.list_arguments(), arguments, strict=True))
    shapes |= dict(zip(symbol.list_auxiliary_states(), states, strict=True))
    return {n: s for n, s in shapes.items() if n not in ("data", "softmax_label")}


def _target(name: str) -> str:
    """`_blocks.3._bn1.running_var` -> `block3_depthwise_bn_moving_var`."""
    *path, leaf = name.split(".")
    match path:
        case ["_blocks", index, layer] if layer in _BLOCK_LAYERS:
            target = f"block{index}_{_BLOCK_LAYERS[layer]}"
        case [layer] if layer in _LAYERS:
            target = _LAYERS[layer]
        case _:
            return name
    return f"{target}_{_BATCH_NORM.get(leaf, leaf) if target.endswith('_bn') else leaf}"


def _zero_extended(
    tensor: NDArray[np.float32], shape: tuple[int, ...] | None
) -> NDArray[np.float32]:
    """Add the first row and column of zeros where the symbol's kernel is one larger."""
    if shape and len(shape) == 4 and tensor.shape[2] + 1 == shape[2]:
        return np.pad(tensor, ((0, 0), (0, 0), (1, 0), (1, 0)))
    return tensor
