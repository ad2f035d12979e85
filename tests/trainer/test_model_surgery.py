"""Head surgery: the last layer of any classifier is replaced, and nothing else is touched."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model.network import Network, load, save
from finetune_trainer.model.surgery import replace_head, with_momentum

from tests.trainer.networks import random_params

Symbol = Any
CLASSES = 7


def trunk() -> Symbol:
    x = mx.sym.Convolution(mx.sym.var("data"), name="conv0", num_filter=6, kernel=(3, 3))
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


def no_bias() -> Symbol:
    x = mx.sym.FullyConnected(mx.sym.Flatten(trunk()), name="last", num_hidden=5, no_bias=True)
    return mx.sym.SoftmaxOutput(x, name="softmax")


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


def names_that_mislead() -> Symbol:
    """The trunk's parameters are called fc, the last layer is not."""
    x = mx.sym.Convolution(mx.sym.var("data"), name="fc_conv", num_filter=4, kernel=(3, 3))
    x = mx.sym.Flatten(mx.sym.BatchNorm(x, name="fc_bn", fix_gamma=False))
    return mx.sym.SoftmaxOutput(mx.sym.FullyConnected(x, name="out", num_hidden=5), name="softmax")


def pretrained(symbol: Symbol, *, size: int = 16) -> Network:
    return Network(symbol, *random_params(symbol, seed=1, size=size))


def gluon(name: str, directory: Path) -> Network:
    """Return a network of MXNet's own zoo as a user exports it."""
    mx.random.seed(2)
    net = mx.gluon.model_zoo.vision.get_model(name)
    net.initialize(mx.init.Xavier())
    net.hybridize()
    net(mx.nd.zeros((1, 3, 224, 224)))
    net.export(str(directory / name))
    symbol, args, aux = mx.model.load_checkpoint(str(directory / name), 0)
    return Network(symbol, args, aux)


def forward(network: Network, *, size: int) -> Any:
    module = mx.mod.Module(network.symbol, label_names=["softmax_label"])
    module.bind([("data", (2, 3, size, size))], [("softmax_label", (2,))], for_training=False)
    mx.random.seed(5)
    module.init_params(
        mx.init.Xavier(), arg_params=network.args, aux_params=network.aux, allow_missing=True
    )
    data = mx.nd.array(np.random.default_rng(0).normal(size=(2, 3, size, size)))
    module.forward(mx.io.DataBatch([data], [mx.nd.zeros(2)]), is_train=False)
    return module.get_outputs()[0].asnumpy()


def assert_only_the_head_is_gone(before: Network, after: Network, dropped: set[str]) -> None:
    assert before.args.keys() - after.args.keys() == dropped
    assert before.aux.keys() == after.aux.keys()
    for name, value in (after.args | after.aux).items():
        assert np.array_equal(value.asnumpy(), (before.args | before.aux)[name].asnumpy()), name


@pytest.mark.parametrize(
    ("symbol", "replaced", "dropped", "head"),
    [
        (mlp, "last", {"last_weight", "last_bias"}, "fc1"),
        (plain_output, "logits", {"logits_weight", "logits_bias"}, "fc1"),
        (softmax_operator, "logits", {"logits_weight", "logits_bias"}, "fc1"),
        (no_bias, "last", {"last_weight"}, "fc1"),
        (vgg_like, "fc8", {"fc8_weight", "fc8_bias"}, "fc1"),
        (alexnet_like, "fc2", {"fc2_weight", "fc2_bias"}, "fc2"),
        (convolution_after_pooling, "pred", {"pred_weight", "pred_bias"}, "fc1"),
        (convolution_before_pooling, "conv10", {"conv10_weight", "conv10_bias"}, "fc1"),
        (names_that_mislead, "out", {"out_weight", "out_bias"}, "fc1"),
    ],
)
def test_the_last_layer_and_no_other_is_replaced(
    symbol: Callable[[], Symbol], replaced: str, dropped: set[str], head: str
) -> None:
    network = pretrained(symbol())
    surgery = replace_head(network, CLASSES)
    assert (surgery.replaced, set(surgery.dropped)) == (replaced, dropped)
    assert_only_the_head_is_gone(network, surgery.network, dropped)
    assert surgery.network.symbol.list_outputs() == ["softmax_output"]
    assert f"{head}_weight" in surgery.network.symbol.list_arguments()
    assert surgery.features in surgery.network.symbol.get_internals().list_outputs()
    probabilities = forward(surgery.network, size=16)
    assert probabilities.shape == (2, CLASSES)
    np.testing.assert_allclose(probabilities.sum(axis=1), 1, rtol=1e-5)


@pytest.mark.parametrize("name", ["resnet18_v1", "mobilenetv2_0.25", "squeezenet1.1"])
def test_networks_of_the_gluon_zoo_get_a_new_head(name: str, tmp_path: Path) -> None:
    network = gluon(name, tmp_path)
    surgery = replace_head(network, CLASSES)
    sizes = {param: network.args[param].shape[0] for param in surgery.dropped}
    assert set(sizes.values()) == {1000}
    assert_only_the_head_is_gone(network, surgery.network, set(surgery.dropped))
    assert forward(surgery.network, size=224).shape == (2, CLASSES)


def test_a_convolution_before_pooling_gives_features_of_one_row_an_image() -> None:
    surgery = replace_head(pretrained(convolution_before_pooling()), CLASSES)
    features = surgery.network.symbol.get_internals()[surgery.features]
    _, (shape,), _ = features.infer_shape(data=(2, 3, 16, 16))
    assert shape == (2, 6, 1, 1)


@pytest.mark.parametrize(
    ("symbol", "outputs"),
    [
        (lambda: mx.sym.Convolution(plain_output().get_children()[0], name="end",
                                    num_filter=3, kernel=(3, 3)), "end_output"),
        (lambda: mx.sym.Group([plain_output(), mx.sym.Flatten(trunk(), name="flat")]),
         "logits_output, flat_output"),
        (lambda: mx.sym.var("data"), "data"),
    ],
)  # fmt: skip
def test_a_network_that_ends_otherwise_is_refused_with_the_layers_it_could_be(
    symbol: Callable[[], Symbol], outputs: str
) -> None:
    with pytest.raises(TrainerError, match=outputs) as error:
        replace_head(Network(symbol(), {}, {}), CLASSES)
    assert error.value.code == ExitCode.InvalidData
    assert error.value.hint.startswith("layers that could be one: ")


def test_weights_of_another_network_are_refused() -> None:
    network = pretrained(plain_output())
    with pytest.raises(TrainerError, match="hidden_weight"):
        replace_head(Network(mlp_on_hidden(), network.args, network.aux), CLASSES)


def mlp_on_hidden() -> Symbol:
    x = mx.sym.FullyConnected(mx.sym.var("data"), name="hidden", num_hidden=9)
    return mx.sym.FullyConnected(x, name="logits", num_hidden=5)


def test_batch_norm_momentum_is_lowered_and_never_raised() -> None:
    symbol = with_momentum(trunk(), 0.9)
    assert momentum_of(symbol) == {"bn0": 0.9}
    assert momentum_of(with_momentum(symbol, 0.95)) == {"bn0": 0.9}


def momentum_of(symbol: Symbol) -> dict[str, float]:
    nodes = json.loads(symbol.tojson())["nodes"]
    return {n["name"]: float(n["attrs"]["momentum"]) for n in nodes if n["op"] == "BatchNorm"}


def test_a_saved_network_comes_back_as_it_was(tmp_path: Path) -> None:
    network = pretrained(vgg_like())
    save(network, tmp_path)
    back = load(tmp_path)
    assert back.symbol.tojson() == network.symbol.tojson()
    assert_only_the_head_is_gone(network, back, set())


@pytest.mark.parametrize("name", ["symbol.json", "model.params"])
def test_a_damaged_file_is_named(name: str, tmp_path: Path) -> None:
    save(pretrained(mlp()), tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(TrainerError, match="cannot be read"):
        load(tmp_path)
