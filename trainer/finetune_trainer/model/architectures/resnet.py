"""ResNet as an MXNet symbol; its layers have the names of torchvision's modules.

The stride of a bottleneck is in its 3x3 convolution, as in the released weights.
"""

import mxnet as mx

from finetune_trainer.model.architectures.layers import classifier, conv_bn, relu

BLOCKS = {
    18: (2, 2, 2, 2),
    34: (3, 4, 6, 3),
    50: (3, 4, 6, 3),
    101: (3, 4, 23, 3),
    152: (3, 8, 36, 3),
}
BOTTLENECKS = frozenset({50, 101, 152})
EXPANSION = 4


def build(*, depth: int, classes: int) -> mx.sym.Symbol:
    """Return the classifier: data -> ... -> flatten -> fc -> softmax."""
    x = conv_bn(mx.sym.var("data"), ("conv1", "bn1"), 64, kernel=7, stride=2)
    x = mx.sym.Pooling(
        relu(x, "bn1"), name="maxpool", kernel=(3, 3), stride=(2, 2), pad=(1, 1), pool_type="max"
    )
    block = _bottleneck if depth in BOTTLENECKS else _basic
    for stage, blocks in enumerate(BLOCKS[depth]):
        for index in range(blocks):
            stride = 2 if stage > 0 and index == 0 else 1
            # Where the shape changes, the shortcut has a convolution too.
            changes = index == 0 and (stage > 0 or depth in BOTTLENECKS)
            name = f"layer{stage + 1}_{index}"
            x = block(x, name, 64 << stage, stride=stride, changes=changes)
    return classifier(x, "fc", classes)


def _basic(
    data: mx.sym.Symbol, name: str, width: int, *, stride: int, changes: bool
) -> mx.sym.Symbol:
    x = conv_bn(data, (f"{name}_conv1", f"{name}_bn1"), width, kernel=3, stride=stride)
    x = conv_bn(relu(x, f"{name}_bn1"), (f"{name}_conv2", f"{name}_bn2"), width, kernel=3)
    return _sum(x, _shortcut(data, name, width, stride=stride, changes=changes), name)


def _bottleneck(
    data: mx.sym.Symbol, name: str, width: int, *, stride: int, changes: bool
) -> mx.sym.Symbol:
    x = conv_bn(data, (f"{name}_conv1", f"{name}_bn1"), width)
    names = (f"{name}_conv2", f"{name}_bn2")
    x = conv_bn(relu(x, f"{name}_bn1"), names, width, kernel=3, stride=stride)
    wide = EXPANSION * width
    x = conv_bn(relu(x, f"{name}_bn2"), (f"{name}_conv3", f"{name}_bn3"), wide)
    return _sum(x, _shortcut(data, name, wide, stride=stride, changes=changes), name)


def _shortcut(
    data: mx.sym.Symbol, name: str, channels: int, *, stride: int, changes: bool
) -> mx.sym.Symbol:
    if not changes:
        return data
    names = (f"{name}_downsample_0", f"{name}_downsample_1")
    return conv_bn(data, names, channels, stride=stride)


def _sum(x: mx.sym.Symbol, shortcut: mx.sym.Symbol, name: str) -> mx.sym.Symbol:
    return relu(mx.sym.elemwise_add(x, shortcut, name=f"{name}_add"), name)
