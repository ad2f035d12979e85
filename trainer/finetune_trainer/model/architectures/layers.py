"""The layers that the networks of the catalogue are built from."""

import mxnet as mx


def conv_bn(
    data: mx.sym.Symbol,
    names: tuple[str, str],
    channels: int,
    *,
    kernel: int = 1,
    stride: int = 1,
    pad: int | None = None,
    groups: int = 1,
    eps: float = 1e-5,
) -> mx.sym.Symbol:
    """Return a convolution without bias and its BatchNorm, with these names.

    The padding is half the kernel if it is not given.
    """
    pad = kernel // 2 if pad is None else pad
    x = mx.sym.Convolution(
        data,
        name=names[0],
        num_filter=channels,
        kernel=(kernel, kernel),
        stride=(stride, stride),
        pad=(pad, pad),
        num_group=groups,
        no_bias=True,
    )
    return mx.sym.BatchNorm(x, name=names[1], eps=eps, momentum=0.9, fix_gamma=False)


def relu6(data: mx.sym.Symbol, name: str) -> mx.sym.Symbol:
    """Return min(max(x, 0), 6)."""
    return mx.sym.clip(data, a_min=0, a_max=6, name=f"{name}_relu6")


def relu(data: mx.sym.Symbol, name: str) -> mx.sym.Symbol:
    """Return max(x, 0)."""
    return mx.sym.Activation(data, act_type="relu", name=f"{name}_relu")


def classifier(data: mx.sym.Symbol, name: str, classes: int) -> mx.sym.Symbol:
    """Return pool -> flatten -> FullyConnected of this name -> softmax."""
    x = mx.sym.Pooling(data, name="pool", global_pool=True, pool_type="avg", kernel=(7, 7))
    x = mx.sym.FullyConnected(mx.sym.Flatten(x, name="flatten"), name=name, num_hidden=classes)
    return mx.sym.SoftmaxOutput(x, name="softmax")


def module_of(layer: str) -> str:
    """Return the name of a layer's torchvision module: `layer1_0_conv1` -> `layer1.0.conv1`."""
    return layer.replace("_", ".")
