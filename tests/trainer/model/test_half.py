"""Mixed precision, as far as it can be tested without GPUs: the types of all numbers in every
architecture, and training in bfloat16, the half precision that MXNet has on CPUs.
"""

import functools
import json
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import mxnet as mx
import numpy as np
import pytest
from finetune_trainer import recipes
from finetune_trainer.contract import Optimizer, TrainerError, Training
from finetune_trainer.fit.checkpoint import Checkpoint
from finetune_trainer.fit.learner import Learner
from finetune_trainer.fit.targets import Targets, with_targets
from finetune_trainer.model.architectures.assemble import ARCHITECTURES
from finetune_trainer.model.network import Network
from finetune_trainer.model.rewrites import half
from finetune_trainer.model.rewrites.batch_norm import with_frozen_statistics
from finetune_trainer.model.rewrites.half import in_half_precision, loss_scale
from finetune_trainer.model.surgery import replace_head

from tests.trainer.support.architectures import SMALL, pretrained, trunk, zoo
from tests.trainer.support.networks import bare_task

Symbol = Any
ROWS, SIZE, CLASSES = 8, 16, 3
PRODUCTS = {"Convolution", "FullyConnected"}


def assert_only_inner_layers_are_half(symbol: Symbol, *, size: int) -> None:
    converted = in_half_precision(symbol, scale=128)
    assert converted.list_arguments() == symbol.list_arguments()
    assert converted.list_auxiliary_states() == symbol.list_auxiliary_states()
    assert converted.list_outputs() == symbol.list_outputs()
    types = converted.infer_type(data=np.float32)
    assert {dtype for group in types for dtype in group} == {np.float32}
    assert converted.infer_shape(data=(2, 3, size, size)) == symbol.infer_shape(
        data=(2, 3, size, size)
    )
    internals = converted.get_internals()
    computed = dict(
        zip(internals.list_outputs(), internals.infer_type(data=np.float32)[1], strict=True)
    )
    nodes = json.loads(converted.tojson())["nodes"]
    products = [node["name"] for node in nodes if node["op"] in PRODUCTS]
    assert products
    assert {computed[f"{name}_output"] for name in products} == {np.float16}


@pytest.mark.parametrize("name", SMALL)
def test_products_are_half_and_inputs_and_outputs_are_not(name: str) -> None:
    surgery = replace_head(pretrained(SMALL[name][0]()), CLASSES)
    assert_only_inner_layers_are_half(surgery.network.symbol, size=SIZE)
    assert_only_inner_layers_are_half(with_targets(surgery.network.symbol), size=SIZE)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_products_are_half_in_the_catalogue(name: str) -> None:
    symbol = ARCHITECTURES[name].symbol(size=64, classes=CLASSES)
    assert_only_inner_layers_are_half(with_frozen_statistics(symbol), size=64)


@pytest.mark.parametrize("name", ["resnet18_v1", "mobilenetv2_0.25", "squeezenet1.1"])
def test_products_are_half_in_the_zoo(tmp_path: Path, name: str) -> None:
    surgery = replace_head(zoo(name, tmp_path, size=224), CLASSES)
    assert_only_inner_layers_are_half(surgery.network.symbol, size=224)


def network() -> Network:
    x = mx.sym.FullyConnected(mx.sym.Flatten(trunk()), name="fc1", num_hidden=CLASSES)
    return Network(mx.sym.SoftmaxOutput(x, name="softmax"), {}, {})


def make_learner(training: Training, targets: Targets | None) -> Learner:
    contexts = [mx.cpu(0), mx.cpu(1)]
    task = bare_task(network(), (ROWS, 3, SIZE, SIZE), contexts, targets=targets)
    return Learner(task, recipes.choose(training, gpus=1), Checkpoint(), seed=4)


class Update(NamedTuple):
    """The gradients and changes of one update, by parameter."""

    gradients: dict[str, Any]
    """The sum over the contexts."""
    changes: dict[str, Any]


def one_update(training: Training, targets: Targets | None) -> Update:
    random = np.random.default_rng(1)
    learner = make_learner(training, targets)
    before = {name: value.asnumpy() for name, value in learner.network.args.items()}
    data = mx.nd.array(random.normal(size=(ROWS, 3, SIZE, SIZE)))
    batch = mx.io.DataBatch([data], [mx.nd.array(random.integers(0, CLASSES, ROWS))], pad=0)
    probabilities = learner.learn(targets.of(batch, seed=0) if targets else batch)
    assert probabilities.dtype == np.float32
    group = learner.module._exec_group
    summed = [sum(each.asnumpy() for each in copies) for copies in group.grad_arrays]
    learner.update(rate=1.0)
    after = learner.network
    assert {value.dtype for value in (after.args | after.aux).values()} == {np.float32}
    return Update(
        dict(zip(group.param_names, summed, strict=True)),
        {name: after.args[name].asnumpy() - value for name, value in before.items()},
    )


def assert_alike(actual: dict[str, Any], wanted: dict[str, Any]) -> None:
    for name, value in wanted.items():
        if name != "conv0_bias":  # without effect before a BatchNorm: its gradient is rounding
            length = np.linalg.norm(value)
            assert length > 1e-3
            assert np.linalg.norm(actual[name] - value) < 0.05 * length, name


WEIGHTS = np.array([4, 0.5, 1], np.float32)


@pytest.mark.skipif(
    "avx512bw" not in Path("/proc/cpuinfo").read_text(),
    reason="oneDNN has bfloat16 for CPUs with AVX-512 only",
)
@pytest.mark.parametrize(
    ("targets", "scale", "others"),
    [
        (None, 128, {}),
        (None, 128, {"gradient_clipping": "0.5"}),
        (Targets(CLASSES, smoothing=0.1, mixup=0.2), 128, {}),
        (Targets(CLASSES, weights=WEIGHTS), 32, {}),
    ],
    ids=["plain", "clipped", "mixed", "weighted"],
)
def test_gradients_are_scaled_and_updates_are_those_of_single_precision_within_rounding(
    monkeypatch: pytest.MonkeyPatch, targets: Targets | None, scale: float, others: dict[str, Any]
) -> None:
    on_cpus = functools.partial(in_half_precision, dtype="bfloat16")
    monkeypatch.setattr(half, "in_half_precision", on_cpus)
    optimizer = Optimizer(learning_rate="0.1")
    single = Training(recipe="tutorial", optimizer=optimizer, **others)
    exact = one_update(single, targets)
    halved = one_update(msgspec.structs.replace(single, precision="float16"), targets)
    assert_alike(halved.changes, exact.changes)
    assert_alike({n: each / scale for n, each in halved.gradients.items()}, exact.gradients)


def test_gradients_of_several_batches_add_up_through_the_casts() -> None:
    # oneDNN overwrites gradients in bfloat16, so this cannot be tested on a network.
    weight = mx.sym.var("weight")
    doubled = mx.sym.amp_cast(2 * mx.sym.amp_cast(weight, dtype="float16"), dtype="float32")
    arrays = {"weight": mx.nd.ones(3)}
    gradients = {"weight": mx.nd.zeros(3)}
    executor = doubled.bind(mx.cpu(), arrays, args_grad=gradients, grad_req="add")
    for _ in range(3):
        executor.forward(is_train=True)
        executor.backward(mx.nd.ones(3))
    assert gradients["weight"].asnumpy().tolist() == [6, 6, 6]


def test_the_scale_falls_with_the_rows_that_gradients_are_summed_over() -> None:
    assert [loss_scale(rows) for rows in (1, 32, 256)] == [128, 128, 16]


def test_a_parametric_activation_keeps_its_parameter() -> None:
    x = mx.sym.Convolution(mx.sym.var("data"), name="conv0", num_filter=6, kernel=(3, 3))
    x = mx.sym.Flatten(mx.sym.LeakyReLU(x, name="relu0", act_type="prelu"))
    x = mx.sym.FullyConnected(x, name="fc1", num_hidden=CLASSES)
    assert_only_inner_layers_are_half(mx.sym.SoftmaxOutput(x, name="softmax"), size=SIZE)


def test_training_on_features_refuses_half_precision() -> None:
    with pytest.raises(TrainerError, match=r"training\.precision is set, but the recipe features"):
        recipes.choose(Training(recipe="features", precision="float16"), gpus=1)


def test_earlier_steps_of_a_recipe_are_half_too_but_not_training_on_features() -> None:
    recipe = recipes.choose(Training(recipe="progressive", precision="float16"), gpus=1)
    assert recipe.start is not None
    assert recipe.start.start is not None
    precisions = [each.precision for each in (recipe, recipe.start, recipe.start.start)]
    assert precisions == ["float16", "float16", "float32"]
