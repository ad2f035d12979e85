"""torchvision's ResNet and MobileNetV2 in numpy, computed from their state dicts."""

from itertools import count
from typing import Any

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

State = dict[str, Any]
RESNETS = {18: (2, 2, 2, 2), 34: (3, 4, 6, 3), 50: (3, 4, 6, 3), 101: (3, 4, 23, 3),
           152: (3, 8, 36, 3)}  # fmt: skip


def resnet_state(depth: int, *, classes: int, seed: int = 0) -> State:
    """Return random weights under the names and in the shapes of torchvision's ResNet."""
    random = np.random.default_rng(seed)
    state: State = {}

    def conv_bn(conv: str, bn: str, shape: tuple[int, ...]) -> None:
        scale = np.sqrt(2 / np.prod(shape[1:]))
        state[f"{conv}.weight"] = random.normal(0, scale, shape).astype(np.float32)
        for leaf, middle in (("weight", 1), ("bias", 0), ("running_mean", 0), ("running_var", 1)):
            values = middle + random.uniform(-0.3, 0.3, shape[0])
            state[f"{bn}.{leaf}"] = values.astype(np.float32)
        state[f"{bn}.num_batches_tracked"] = np.array(0)

    conv_bn("conv1", "bn1", (64, 3, 7, 7))
    bottleneck, channels = depth >= 50, 64
    for layer, blocks in enumerate(RESNETS[depth]):
        width = 64 * 2**layer
        out = width * (4 if bottleneck else 1)
        for block in range(blocks):
            name = f"layer{layer + 1}.{block}"
            kernels = ((1, width), (3, width), (1, out)) if bottleneck else ((3, width), (3, out))
            inner = channels
            for index, (kernel, to) in enumerate(kernels, start=1):
                conv_bn(f"{name}.conv{index}", f"{name}.bn{index}", (to, inner, kernel, kernel))
                inner = to
            if block == 0 and channels != out:
                conv_bn(f"{name}.downsample.0", f"{name}.downsample.1", (out, channels, 1, 1))
            channels = out
    state["fc.weight"] = random.normal(0, 0.05, (classes, channels)).astype(np.float32)
    state["fc.bias"] = random.normal(0, 0.05, classes).astype(np.float32)
    return state


def resnet(state: State, x: Any) -> Any:
    """Return the logits of a batch."""
    x = np.maximum(_conv_bn(state, x, "conv1", "bn1", stride=2), 0)
    x = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)), constant_values=-np.inf)
    x = _windows(x, 3)[:, :, ::2, ::2].max(axis=(4, 5))
    for layer in range(1, 5):
        for block in count():
            name = f"layer{layer}.{block}"
            if f"{name}.conv1.weight" not in state:
                break
            x = _residual(state, x, name, stride=2 if layer > 1 and block == 0 else 1)
    return x.mean(axis=(2, 3)) @ state["fc.weight"].T + state["fc.bias"]


def _residual(state: State, x: Any, name: str, *, stride: int) -> Any:
    shortcut, convs = x, 3 if f"{name}.conv3.weight" in state else 2
    if f"{name}.downsample.0.weight" in state:
        names = (f"{name}.downsample.0", f"{name}.downsample.1")
        shortcut = _conv_bn(state, x, *names, stride=stride)
    for index in range(1, convs + 1):
        strided = index == convs - 1 if convs == 3 else index == 1
        names = (f"{name}.conv{index}", f"{name}.bn{index}")
        x = _conv_bn(state, x, *names, stride=stride if strided else 1)
        if index < convs:
            x = np.maximum(x, 0)
    return np.maximum(x + shortcut, 0)


def mobilenet(state: State, x: Any) -> Any:
    """Return the logits of a batch."""
    strided = {0, 2, 4, 7, 14}
    for index in range(19):
        name, stride = f"features.{index}", 2 if index in strided else 1
        if index in (0, 18):
            x = np.clip(_conv_bn(state, x, f"{name}.0", f"{name}.1", stride=stride), 0, 6)
            continue
        before, position = x, 0
        while f"{name}.conv.{position}.0.weight" in state:
            names = (f"{name}.conv.{position}.0", f"{name}.conv.{position}.1")
            depthwise = state[f"{names[0]}.weight"].shape[1] == 1
            x = np.clip(_conv_bn(state, x, *names, stride=stride if depthwise else 1), 0, 6)
            position += 1
        x = _conv_bn(state, x, f"{name}.conv.{position}", f"{name}.conv.{position + 1}")
        if x.shape == before.shape:
            x = x + before
    return x.mean(axis=(2, 3)) @ state["classifier.1.weight"].T + state["classifier.1.bias"]


def _conv_bn(state: State, x: Any, conv: str, bn: str, *, stride: int = 1) -> Any:
    weight = state[f"{conv}.weight"]
    size = weight.shape[2]
    padded = np.pad(x, ((0, 0), (0, 0), (size // 2,) * 2, (size // 2,) * 2))
    windows = _windows(padded, size)[:, :, ::stride, ::stride]
    if weight.shape[1] == x.shape[1]:
        x = np.tensordot(windows, weight, axes=([1, 4, 5], [1, 2, 3])).transpose(0, 3, 1, 2)
    else:
        x = np.einsum("nchwij,cij->nchw", windows, weight[:, 0])
    gamma, beta, mean, var = (
        state[f"{bn}.{leaf}"][:, None, None]
        for leaf in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(var + 1e-5) * gamma + beta


def _windows(x: Any, size: int) -> Any:
    """Return [N,C,H,W,size,size]."""
    return sliding_window_view(x, (size, size), axis=(2, 3))  # type: ignore[call-overload]
