"""Mixed precision, as far as a machine without GPUs shows it: which numbers are of which type in
every architecture, and training itself in bfloat16, the half precision that MXNet has on CPUs.
"""

import functools
import json
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from finetune_trainer import learner, recipes
from finetune_trainer.checkpoint import Checkpoint
from finetune_trainer.contract import ExitCode, Optimizer, TrainerError, Training
from finetune_trainer.model.architectures import ARCHITECTURES
from finetune_trainer.model.batch_norm import with_frozen_statistics
from finetune_trainer.model.half import in_half_precision
from finetune_trainer.model.network import Network
from finetune_trainer.model.surgery import replace_head
from finetune_trainer.targets import Targets, with_targets
from finetune_trainer.tasks import Task

from tests.trainer.architectures import SMALL, pretrained, zoo

Symbol = Any
ROWS, SIZE, CLASSES = 8, 16, 3
PRODUCTS = {"Convolution", "FullyConnected"}


def assert_half_inside_alone(symbol: Symbol, *, size: int) -> None:
    half = in_half_precision(symbol)
    assert half.list_arguments() == symbol.list_arguments()
    assert half.list_auxiliary_states() == symbol.list_auxiliary_states()
    assert half.list_outputs() == symbol.list_outputs()
    types = half.infer_type(data=np.float32)
    assert {found for group in types for found in group} == {np.float32}
    assert half.infer_shape(data=(2, 3, size, size)) == symbol.infer_shape(data=(2, 3, size, size))
    internals = half.get_internals()
    computed = dict(
        zip(internals.list_outputs(), internals.infer_type(data=np.float32)[1], strict=True)
    )
    nodes = json.loads(half.tojson())["nodes"]
    products = [node["name"] for node in nodes if node["op"] in PRODUCTS]
    assert products
    assert {computed[f"{name}_output"] for name in products} == {np.float16}


@pytest.mark.parametrize("name", SMALL)
def test_products_are_half_and_what_goes_in_and_out_is_not(name: str) -> None:
    surgery = replace_head(pretrained(SMALL[name][0]()), CLASSES)
    assert_half_inside_alone(surgery.network.symbol, size=SIZE)
    assert_half_inside_alone(with_targets(surgery.network.symbol), size=SIZE)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_so_they_are_in_the_catalogue(name: str) -> None:
    symbol = ARCHITECTURES[name].symbol(size=64, classes=CLASSES)
    assert_half_inside_alone(with_frozen_statistics(symbol), size=64)


@pytest.mark.parametrize("name", ["resnet18_v1", "mobilenetv2_0.25", "squeezenet1.1"])
def test_so_they_are_in_the_zoo(tmp_path: Path, name: str) -> None:
    surgery = replace_head(zoo(name, tmp_path, size=224), CLASSES)
    assert_half_inside_alone(surgery.network.symbol, size=224)


def network() -> Network:
    x = mx.sym.Convolution(mx.sym.var("data"), name="conv0", num_filter=6, kernel=(3, 3))
    x = mx.sym.BatchNorm(x, name="bn0", fix_gamma=False)
    x = mx.sym.Flatten(mx.sym.Activation(x, name="relu0", act_type="relu"))
    x = mx.sym.FullyConnected(x, name="fc1", num_hidden=CLASSES)
    return Network(mx.sym.SoftmaxOutput(x, name="softmax"), {}, {})


def make_learner(training: Training, targets: Targets | None) -> learner.Learner:
    shape = (ROWS, 3, SIZE, SIZE)
    task = Task(
        network=network(),
        batches=lambda seed: (),
        steps=1,
        validation=lambda: mx.io.NDArrayIter(np.zeros(shape), batch_size=ROWS),
        whole=lambda trained: trained,
        shape=shape,
        devices=[mx.cpu(0), mx.cpu(1)],
        cost=1.0,
        targets=targets,
    )
    recipe = recipes.choose(training, devices=1)
    return learner.Learner(task, recipe, Checkpoint(), seed=4)


def moved(training: Training, targets: Targets | None) -> dict[str, Any]:
    """Return how each weight changes with one update."""
    random = np.random.default_rng(1)
    data = mx.nd.array(random.normal(size=(ROWS, 3, SIZE, SIZE)))
    labels = mx.nd.array(random.integers(0, CLASSES, ROWS))
    batch = mx.io.DataBatch([data], [labels], pad=0)
    made = make_learner(training, targets)
    before = {name: value.asnumpy() for name, value in made.network.args.items()}
    probabilities = made.learn(targets.of(batch, seed=0) if targets else batch)
    assert probabilities.dtype == np.float32
    made.update(rate=1.0)
    after = made.network
    assert {value.dtype for value in (after.args | after.aux).values()} == {np.float32}
    return {name: after.args[name].asnumpy() - value for name, value in before.items()}


@pytest.mark.parametrize("targets", [None, Targets(CLASSES, smoothing=0.1)], ids=["", "smoothed"])
@pytest.mark.parametrize("clipping", [None, "0.5"])
def test_updates_are_those_of_single_precision_within_its_rounding(
    monkeypatch: pytest.MonkeyPatch, targets: Targets | None, clipping: str | None
) -> None:
    brain = functools.partial(in_half_precision, dtype="bfloat16")
    monkeypatch.setattr(learner, "in_half_precision", brain)
    exact, half = (
        moved(
            Training(
                recipe="tutorial",
                optimizer=Optimizer(learning_rate="0.1"),
                gradient_clipping=clipping,
                precision=precision,
            ),
            targets,
        )
        for precision in ("float32", "float16")
    )
    del exact["conv0_bias"]  # of no effect before a BatchNorm: its gradient is rounding
    for name, change in exact.items():
        length = np.linalg.norm(change)
        assert length > 1e-3
        assert np.linalg.norm(half[name] - change) < 0.05 * length, name


def test_a_machine_without_gpus_refuses_it() -> None:
    with pytest.raises(TrainerError, match="float16, which MXNet has on GPUs only") as caught:
        recipes.choose(Training(recipe="full", precision="float16"), devices=0)
    assert caught.value.code == ExitCode.InvalidSpec


def test_heads_on_features_have_none_of_it() -> None:
    with pytest.raises(TrainerError, match=r"training\.precision is set, but the recipe features"):
        recipes.choose(Training(recipe="features", precision="float16"), devices=1)


def test_layers_that_a_recipe_trains_before_are_half_too_but_for_heads() -> None:
    recipe = recipes.choose(Training(recipe="progressive", precision="float16"), devices=1)
    assert recipe.start is not None
    assert recipe.start.start is not None
    found = [each.precision for each in (recipe, recipe.start, recipe.start.start)]
    assert found == ["float16", "float16", "float32"]
