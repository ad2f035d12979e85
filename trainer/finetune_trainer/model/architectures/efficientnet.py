"""EfficientNet-Lite as an MXNet symbol, and the names of PyTorch's modules for its layers.

TensorFlow's SAME padding is asymmetric where a layer of stride 2 sees an even size (nothing before,
one more after), MXNet's is not. The kernel gets a first row and column of zeros and one pixel of
padding instead: the same numbers, and unlike a Pad operator it lets oneDNN fuse convolution,
BatchNorm and ReLU6 (1.6 times the speed).
"""

import dataclasses
import math

import mxnet as mx

from finetune_trainer.model.architectures.layers import classifier, conv_bn, relu6

EPSILON = 1e-3


@dataclasses.dataclass(frozen=True)
class BlockGroup:
    """Blocks with the same kernel and width; the first one has the stride."""

    blocks: int
    kernel: int
    stride: int
    expand: int
    channels: int


GROUPS = (
    BlockGroup(1, 3, 1, 1, 16),
    BlockGroup(2, 3, 2, 6, 24),
    BlockGroup(2, 5, 2, 6, 40),
    BlockGroup(3, 3, 2, 6, 80),
    BlockGroup(3, 5, 1, 6, 112),
    BlockGroup(4, 5, 2, 6, 192),
    BlockGroup(1, 3, 1, 6, 320),
)
"""The blocks of Lite0. Larger networks have wider groups, and more blocks in all but the first and
last group."""
STEM = 32
TOP = 1280


def build(*, width: float, depth: float, size: int, classes: int) -> mx.sym.Symbol:
    """Return the classifier of images of size x size: data -> ... -> flatten -> fc -> softmax."""
    x, size = _conv(mx.sym.var("data"), "stem", STEM, kernel=3, stride=2, size=size)
    x, channels, index = relu6(x, "stem"), STEM, 0
    for group in _scaled(width, depth):
        for position in range(group.blocks):
            stride = group.stride if position == 0 else 1
            name = f"block{index}"
            x, size = _block(x, name, channels=channels, stride=stride, group=group, size=size)
            channels, index = group.channels, index + 1
    x, _ = _conv(x, "top", TOP, size=size)
    return classifier(relu6(x, "top"), "fc", classes)


def _scaled(width: float, depth: float) -> list[BlockGroup]:
    fixed = (GROUPS[0], GROUPS[-1])
    return [
        dataclasses.replace(
            group,
            blocks=group.blocks if group in fixed else math.ceil(depth * group.blocks),
            channels=_multiple_of_8(width * group.channels),
        )
        for group in GROUPS
    ]


def _multiple_of_8(channels: float) -> int:
    """Return the nearest multiple of 8 that is not more than a tenth below."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded


def _block(
    data: mx.sym.Symbol, name: str, *, channels: int, stride: int, group: BlockGroup, size: int
) -> tuple[mx.sym.Symbol, int]:
    """Inverted residual: expand, depthwise, project; a shortcut where the shape stays."""
    x, inner = data, channels * group.expand
    if group.expand > 1:
        x, _ = _conv(x, f"{name}_expand", inner, size=size)
        x = relu6(x, f"{name}_expand")
    depthwise = {"kernel": group.kernel, "stride": stride, "groups": inner}
    x, size = _conv(x, f"{name}_depthwise", inner, size=size, **depthwise)
    x, _ = _conv(relu6(x, f"{name}_depthwise"), f"{name}_project", group.channels, size=size)
    if stride > 1 or channels != group.channels:
        return x, size
    return mx.sym.elemwise_add(x, data, name=f"{name}_add"), size


def _conv(
    data: mx.sym.Symbol,
    name: str,
    channels: int,
    *,
    size: int,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
) -> tuple[mx.sym.Symbol, int]:
    """Return the layer, and the size of its output."""
    pad = kernel // 2
    if stride == 2 and size % 2 == 0:
        kernel += 1  # for the row and column of zeros
    names = (name, f"{name}_bn")
    x = conv_bn(
        data, names, channels,
        kernel=kernel, stride=stride, pad=pad, groups=groups, eps=EPSILON,
    )  # fmt: skip
    return x, math.ceil(size / stride)


_MODULES = {
    "stem": "_conv_stem",
    "stem_bn": "_bn0",
    "top": "_conv_head",
    "top_bn": "_bn1",
    "fc": "_fc",
}
_BLOCK_MODULES = {
    "expand": "_expand_conv",
    "expand_bn": "_bn0",
    "depthwise": "_depthwise_conv",
    "depthwise_bn": "_bn1",
    "project": "_project_conv",
    "project_bn": "_bn2",
}


def module_of(layer: str) -> str:
    """Return the name of a layer's module: `block3_depthwise_bn` -> `_blocks.3._bn1`."""
    block, _, name = layer.partition("_")
    if name in _BLOCK_MODULES:
        return f"_blocks.{block.removeprefix('block')}.{_BLOCK_MODULES[name]}"
    return _MODULES.get(layer, layer)
