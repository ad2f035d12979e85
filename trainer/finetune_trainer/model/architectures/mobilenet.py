"""MobileNetV2 as an MXNet symbol; its layers have the names of torchvision's modules."""

import mxnet as mx

from finetune_trainer.model.architectures.layers import classifier, conv_bn, relu6

STAGES = (
    # expansion, channels, blocks, stride of the first block
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
STEM = 32
TOP = 1280


def build(*, classes: int) -> mx.sym.Symbol:
    """Return the classifier: data -> ... -> flatten -> classifier_1 -> softmax."""
    x = _conv(mx.sym.var("data"), "features_0", STEM, kernel=3, stride=2)
    width, index = STEM, 1
    for expand, channels, blocks, first_stride in STAGES:
        for position in range(blocks):
            stride = first_stride if position == 0 else 1
            shape = (width, channels, expand)
            x = _block(x, f"features_{index}", shape, stride=stride)
            width, index = channels, index + 1
    return classifier(_conv(x, f"features_{index}", TOP), "classifier_1", classes)


def _block(
    data: mx.sym.Symbol, name: str, shape: tuple[int, int, int], *, stride: int
) -> mx.sym.Symbol:
    """Inverted residual: expand, depthwise, project; a shortcut where the shape stays."""
    width, channels, expand = shape
    x, inner, layer = data, width * expand, 0
    if expand > 1:
        x, layer = _conv(x, f"{name}_conv_0", inner), 1
    x = _conv(x, f"{name}_conv_{layer}", inner, kernel=3, stride=stride, groups=inner)
    project = (f"{name}_conv_{layer + 1}", f"{name}_conv_{layer + 2}")
    x = conv_bn(x, project, channels)
    if stride > 1 or width != channels:
        return x
    return mx.sym.elemwise_add(x, data, name=f"{name}_add")


def _conv(
    data: mx.sym.Symbol,
    name: str,
    channels: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
) -> mx.sym.Symbol:
    names = (f"{name}_0", f"{name}_1")
    x = conv_bn(data, names, channels, kernel=kernel, stride=stride, groups=groups)
    return relu6(x, name)
