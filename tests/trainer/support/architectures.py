"""Many kinds of classifiers with random weights: exports of MXNet's gluon zoo, and small symbols
as in tutorials."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import mxnet as mx
from finetune_trainer.model.network import Network

from tests.trainer.support.networks import random_params

Symbol = Any


def zoo(name: str, directory: Path, *, size: int) -> Network:
    """Return a network of MXNet's own zoo as a user exports it."""
    mx.random.seed(2)
    net = mx.gluon.model_zoo.vision.get_model(name)
    net.initialize(mx.init.Xavier())
    net.hybridize()
    net(mx.nd.zeros((1, 3, size, size)))
    net.export(str(directory / name))
    symbol, args, aux = mx.model.load_checkpoint(str(directory / name), 0)
    return Network(symbol, args, aux)


def pretrained(symbol: Symbol, *, size: int = 16) -> Network:
    """Return the symbol with random parameters."""
    return Network(symbol, *random_params(symbol, seed=1, size=size))


def trunk(name: str = "data") -> Symbol:
    """Return a convolution, BatchNorm and ReLU."""
    x = mx.sym.Convolution(mx.sym.var(name), name="conv0", num_filter=6, kernel=(3, 3))
    x = mx.sym.BatchNorm(x, name="bn0", fix_gamma=False, momentum=0.99)
    return mx.sym.Activation(x, name="relu0", act_type="relu")


def mlp() -> Symbol:
    x = mx.sym.FullyConnected(mx.sym.var("data"), name="hidden", num_hidden=9)
    x = mx.sym.Activation(x, act_type="relu")
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(x, name="last", num_hidden=5), name="softmax")


def plain_output() -> Symbol:
    return mx.sym.FullyConnected(mx.sym.Flatten(trunk()), name="logits", num_hidden=5)


def softmax_operator() -> Symbol:
    return mx.sym.softmax(plain_output(), name="probabilities")


def log_softmax() -> Symbol:
    return mx.sym.BlockGrad(mx.sym.log_softmax(plain_output()), name="log")


def no_bias() -> Symbol:
    x = mx.sym.FullyConnected(mx.sym.Flatten(trunk()), name="last", num_hidden=5, no_bias=True)
    return mx.sym.SoftmaxOutput(x, name="softmax")


def other_input() -> Symbol:
    """Return a network whose input is not called data."""
    x = mx.sym.Flatten(trunk("input.1"))
    return mx.sym.softmax(mx.sym.FullyConnected(x, name="logits", num_hidden=5))


def vgg_like() -> Symbol:
    x = mx.sym.Flatten(trunk(), name="flatten")
    for name in ("fc6", "fc7"):
        x = mx.sym.Activation(mx.sym.FullyConnected(x, name=name, num_hidden=8), act_type="relu")
        x = mx.sym.Dropout(x, p=0.5)
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(x, name="fc8", num_hidden=5), name="prob")


def alexnet_like() -> Symbol:
    x = mx.sym.Flatten(trunk(), name="flatten0")
    x = mx.sym.Activation(mx.sym.FullyConnected(x, name="fc1", num_hidden=8), act_type="relu")
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(x, name="fc2", num_hidden=5), name="softmax")


def convolution_after_pooling() -> Symbol:
    x = mx.sym.Pooling(trunk(), global_pool=True, pool_type="avg", kernel=(1, 1))
    x = mx.sym.Convolution(x, name="pred", num_filter=5, kernel=(1, 1))
    return mx.sym.SoftmaxOutput(mx.sym.Flatten(x), name="softmax")


def convolution_before_pooling() -> Symbol:
    x = mx.sym.Convolution(trunk(), name="conv10", num_filter=5, kernel=(1, 1))
    x = mx.sym.Activation(x, act_type="relu")
    x = mx.sym.Pooling(x, global_pool=True, pool_type="avg", kernel=(1, 1))
    return mx.sym.SoftmaxOutput(mx.sym.Flatten(x), name="softmax")


def convolution_before_mean() -> Symbol:
    x = mx.sym.Convolution(trunk(), name="classes", num_filter=5, kernel=(1, 1))
    return mx.sym.softmax(mx.sym.mean(x, axis=(2, 3)))


def names_that_mislead() -> Symbol:
    """Return a network whose trunk has parameters called fc, and its last layer has not."""
    x = mx.sym.Convolution(mx.sym.var("data"), name="fc_conv", num_filter=4, kernel=(3, 3))
    x = mx.sym.Flatten(mx.sym.BatchNorm(x, name="fc_bn", fix_gamma=False))
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(x, name="out", num_hidden=5), name="softmax")


def two_tasks() -> Symbol:
    """Return two heads on the same features, as for breed and colour."""
    x = mx.sym.Flatten(trunk(), name="flat")
    heads = [mx.sym.FullyConnected(x, name=name, num_hidden=n) for name, n in (("a", 5), ("b", 3))]
    return mx.sym.Group([mx.sym.softmax(head) for head in heads])


def auxiliary_head() -> Symbol:
    """Return a network with a second loss half way, as GoogLeNet has."""
    x = trunk()
    aux = mx.sym.FullyConnected(mx.sym.Flatten(x), name="aux", num_hidden=5)
    x = mx.sym.Activation(mx.sym.Convolution(x, name="conv1", num_filter=4, kernel=(3, 3)), "relu")
    main = mx.sym.FullyConnected(mx.sym.Flatten(x), name="main", num_hidden=5)
    outputs = [mx.sym.SoftmaxOutput(aux, name="softmax1"), mx.sym.SoftmaxOutput(main, name="sm2")]
    return mx.sym.Group([*outputs, mx.sym.BlockGrad(mx.sym.Flatten(x), name="embedding")])


def tutorial_resnet() -> Symbol:
    """Return a network with the names of MXNet's fine-tuning tutorial: bn_data, flatten0, fc1."""
    x = mx.sym.BatchNorm(mx.sym.var("data"), name="bn_data", fix_gamma=True, eps=2e-5)
    x = mx.sym.Convolution(x, name="conv0", num_filter=8, kernel=(3, 3), pad=(1, 1), no_bias=True)
    for stage, width in enumerate((8, 16), start=1):
        x = _preactivated(x, f"stage{stage}_unit1", width, stride=stage)
    x = mx.sym.BatchNorm(x, name="bn1", fix_gamma=False, eps=2e-5)
    x = mx.sym.Activation(x, name="relu1", act_type="relu")
    x = mx.sym.Pooling(x, name="pool1", global_pool=True, pool_type="avg", kernel=(7, 7))
    x = mx.sym.FullyConnected(mx.sym.Flatten(x, name="flatten0"), name="fc1", num_hidden=1000)
    return mx.sym.SoftmaxOutput(x, name="softmax")


def _preactivated(x: Symbol, name: str, width: int, *, stride: int) -> Symbol:
    act = mx.sym.BatchNorm(x, name=f"{name}_bn1", fix_gamma=False, eps=2e-5)
    act = mx.sym.Activation(act, name=f"{name}_relu1", act_type="relu")
    both = {"num_filter": width, "stride": (stride, stride), "no_bias": True}
    y = mx.sym.Convolution(act, name=f"{name}_conv1", kernel=(3, 3), pad=(1, 1), **both)
    return y + mx.sym.Convolution(act, name=f"{name}_sc", kernel=(1, 1), **both)


SMALL: dict[str, tuple[Callable[[], Symbol], str, str, str]] = {
    # the symbol, the layers that are replaced, the layer below them, the new layer
    "mlp": (mlp, "last", "activation", "fc1"),
    "plain output": (plain_output, "logits", "flatten", "fc1"),
    "softmax operator": (softmax_operator, "logits", "flatten", "fc1"),
    "log_softmax": (log_softmax, "logits", "flatten", "fc1"),
    "no bias": (no_bias, "last", "flatten", "fc1"),
    "other input": (other_input, "logits", "flatten", "fc1"),
    "vgg": (vgg_like, "fc8", "dropout", "fc1"),
    "alexnet": (alexnet_like, "fc2", "activation", "fc2"),
    "convolution after pooling": (convolution_after_pooling, "pred", "pooling", "fc1"),
    "convolution before pooling": (convolution_before_pooling, "conv10", "pooled", "fc1"),
    "convolution before mean": (convolution_before_mean, "classes", "pooled", "fc1"),
    "misleading names": (names_that_mislead, "out", "flatten", "fc1"),
    "two tasks": (two_tasks, "a, b", "flat", "fc1"),
    "auxiliary head": (auxiliary_head, "aux, main", "flatten", "fc1"),
    "tutorial": (tutorial_resnet, "fc1", "flatten0_output", "fc1"),
}
