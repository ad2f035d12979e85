"""Head surgery: the last layer of any classifier is replaced, and nothing else changes."""

import json
import pkgutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model.architectures.assemble import ARCHITECTURES
from finetune_trainer.model.network import Network, load, save
from finetune_trainer.model.rewrites.batch_norm import with_frozen_statistics, with_momentum
from finetune_trainer.model.surgery import replace_head

from tests.trainer.support.architectures import (
    SMALL,
    alexnet_like,
    convolution_before_pooling,
    mlp,
    plain_output,
    pretrained,
    trunk,
    tutorial_resnet,
    vgg_like,
    zoo,
)
from tests.trainer.support.surgeries import (
    CLASSES,
    assert_head_for_classes,
    assert_only_the_head_is_replaced,
)

Symbol = Any


@pytest.mark.parametrize("name", SMALL)
def test_the_last_layer_and_no_other_is_replaced(name: str) -> None:
    symbol, replaced, features, head = SMALL[name]
    network = pretrained(symbol())
    surgery = replace_head(network, CLASSES)
    assert surgery.replaced == replaced
    assert surgery.features.startswith(features)
    assert {name.rpartition("_")[0] for name in surgery.dropped} == set(replaced.split(", "))
    assert f"{head}_weight" in surgery.network.symbol.list_arguments()
    assert_only_the_head_is_replaced(network, surgery)
    assert_head_for_classes(surgery, size=16)


FAMILIES = {
    # the smallest image size that each can be exported for
    "alexnet": 96,
    "densenet121": 224,
    "inceptionv3": 299,
    "mobilenet0.25": 64,
    "mobilenetv2_0.25": 64,
    "resnet18_v1": 64,
    "resnet50_v1": 64,
    "resnet18_v2": 64,
    "resnet50_v2": 64,
    "squeezenet1.0": 224,
    "squeezenet1.1": 224,
    "vgg11": 32,
    "vgg11_bn": 32,
}
QUICK = {"resnet18_v1", "mobilenetv2_0.25", "squeezenet1.1"}


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=[] if n in QUICK else [pytest.mark.slow]) for n in FAMILIES],
)
def test_networks_of_the_gluon_zoo_get_a_new_head(name: str, tmp_path: Path) -> None:
    network = zoo(name, tmp_path, size=FAMILIES[name])
    surgery = replace_head(network, CLASSES)
    assert {network.args[param].shape[0] for param in surgery.dropped} == {1000}
    assert_only_the_head_is_replaced(network, surgery)
    assert_head_for_classes(surgery, size=FAMILIES[name])


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=[] if name == "mobilenet-v2" else [pytest.mark.slow])
        for name in ARCHITECTURES
    ],
)
def test_networks_of_the_catalogue_get_a_new_head(name: str) -> None:
    network = pretrained(ARCHITECTURES[name].symbol(size=64, classes=1000), size=64)
    surgery = replace_head(network, CLASSES)
    assert {network.args[param].shape[0] for param in surgery.dropped} == {1000}
    assert_only_the_head_is_replaced(network, surgery)
    assert_head_for_classes(surgery, size=64)


def test_the_matrix_has_every_family_of_the_zoo() -> None:
    vision = mx.gluon.model_zoo.vision
    covered = {type(vision.get_model(name)).__module__.rpartition(".")[2] for name in FAMILIES}
    assert covered == {module.name for module in pkgutil.iter_modules(vision.__path__)}


def test_a_convolution_before_pooling_gives_one_row_of_features_an_image() -> None:
    surgery = replace_head(pretrained(convolution_before_pooling()), CLASSES)
    features = surgery.network.symbol.get_internals()[surgery.features]
    _, (shape,), _ = features.infer_shape(data=(2, 3, 16, 16))
    assert shape == (2, 6, 1, 1)


@pytest.mark.parametrize(
    ("symbol", "after", "replaced"),
    [
        (vgg_like, "flatten", "fc6, fc7, fc8"),
        (vgg_like, "fc6", "fc7, fc8"),
        (alexnet_like, "flatten0_output", "fc1, fc2"),
        (tutorial_resnet, "flatten0", "fc1"),
        (tutorial_resnet, "stage1_unit1_bn1",
         "stage1_unit1_conv1, stage1_unit1_sc, stage2_unit1_bn1, stage2_unit1_conv1, "
         "stage2_unit1_sc, bn1, fc1"),
    ],
)  # fmt: skip
def test_the_user_may_name_the_last_layer_to_keep(
    symbol: Callable[[], Symbol], after: str, replaced: str
) -> None:
    network = pretrained(symbol())
    surgery = replace_head(network, CLASSES, after=after)
    assert surgery.replaced == replaced
    assert surgery.features == f"{after.removesuffix('_output')}_output"
    assert set(surgery.network.symbol.list_arguments()) >= surgery.network.args.keys()
    assert_head_for_classes(surgery, size=16)


def test_the_error_for_an_unknown_layer_names_similar_layers() -> None:
    with pytest.raises(TrainerError, match=r"replaceAfter: the network has no layers 'flatten1'"):
        replace_head(pretrained(tutorial_resnet()), CLASSES, after="flatten1")
    with pytest.raises(TrainerError) as error:
        replace_head(pretrained(vgg_like()), CLASSES, after="flattened")
    assert error.value.code == ExitCode.InvalidSpec
    assert error.value.hint.startswith("Similar: flatten;")
    assert "(before fc8)" in error.value.hint


@pytest.mark.parametrize(
    ("symbol", "outputs"),
    [
        (lambda: mx.sym.Convolution(plain_output().get_children()[0], name="end",
                                    num_filter=3, kernel=(3, 3)), "end_output"),
        (lambda: mx.sym.softmax(mx.sym.Convolution(trunk(), name="pixels", num_filter=3,
                                                   kernel=(1, 1)), axis=1), "softmax"),
        (lambda: mx.sym.Group([plain_output(), plain_output()]), "logits_output, logits_output"),
        (lambda: mx.sym.var("data"), "data"),
    ],
    ids=["convolution", "every pixel", "two networks", "nothing"],
)  # fmt: skip
def test_a_network_without_a_classifier_at_its_end_is_refused_with_possible_layers(
    symbol: Callable[[], Symbol], outputs: str
) -> None:
    with pytest.raises(TrainerError, match=outputs) as error:
        replace_head(Network(symbol(), {}, {}), CLASSES)
    assert error.value.code == ExitCode.InvalidData
    assert "model.replaceAfter; layers that it could be: " in error.value.hint


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


def test_frozen_statistics_stay_those_of_the_old_data_in_training() -> None:
    network = pretrained(tutorial_resnet())
    frozen = with_frozen_statistics(network.symbol)
    data = np.random.default_rng(0).normal(3, 5, size=(4, 3, 16, 16))
    inferred, _ = forward(Network(network.symbol, network.args, network.aux), data, train=False)
    trained, aux = forward(Network(frozen, network.args, network.aux), data, train=True)
    np.testing.assert_allclose(trained, inferred, rtol=1e-4, atol=1e-6)
    for name, value in network.aux.items():
        assert np.array_equal(value.asnumpy(), aux[name].asnumpy()), name
    moving, aux = forward(Network(network.symbol, network.args, network.aux), data, train=True)
    assert not np.allclose(moving, inferred, rtol=1e-3)
    assert not np.array_equal(aux["bn1_moving_mean"].asnumpy(), np.zeros(16))


def forward(network: Network, data: Any, *, train: bool) -> tuple[Any, dict[str, Any]]:
    """Return the outputs, and the moving statistics after the update."""
    module = mx.mod.Module(network.symbol, label_names=["softmax_label"])
    module.bind([("data", data.shape)], [("softmax_label", data.shape[:1])])
    module.set_params(network.args, network.aux)
    module.init_optimizer(optimizer_params={"learning_rate": 0.0})
    labels = mx.nd.zeros(len(data))
    module.forward(mx.io.DataBatch([mx.nd.array(data)], [labels]), is_train=train)
    outputs = module.get_outputs()[0].asnumpy()
    if train:
        module.backward()
        module.update()
    return outputs, module.get_params()[1]


def test_a_saved_network_is_loaded_unchanged(tmp_path: Path) -> None:
    network = pretrained(vgg_like())
    save(network, tmp_path)
    loaded = load(tmp_path)
    assert loaded.symbol.tojson() == network.symbol.tojson()
    assert (loaded.args.keys(), loaded.aux.keys()) == (network.args.keys(), network.aux.keys())
    for name, value in loaded.args.items():
        assert np.array_equal(value.asnumpy(), network.args[name].asnumpy())


@pytest.mark.parametrize("name", ["symbol.json", "model.params"])
def test_a_damaged_file_is_named(name: str, tmp_path: Path) -> None:
    save(pretrained(mlp()), tmp_path)
    path = tmp_path / name
    path.write_bytes(path.read_bytes()[:50])
    with pytest.raises(TrainerError, match="cannot be read"):
        load(tmp_path)
