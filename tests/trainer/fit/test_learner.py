"""Updates of a network on its devices: clipping, and gradients added up over batches."""

import itertools
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from finetune_trainer import recipes
from finetune_trainer.contract import Optimizer, Training
from finetune_trainer.fit.checkpoint import Checkpoint, _states_by_name
from finetune_trainer.fit.learner import Learner
from finetune_trainer.model.network import Network

from tests.trainer.support.networks import bare_task

WIDTH, CLASSES = 6, 3
DEVICES = [[mx.cpu(0)], [mx.cpu(0), mx.cpu(1)]]


def plain_network() -> Network:
    """Return a network whose output for a row does not depend on the other rows of the batch."""
    x = mx.sym.FullyConnected(mx.sym.var("data"), num_hidden=8, name="hidden")
    x = mx.sym.Activation(x, act_type="tanh")
    x = mx.sym.FullyConnected(x, num_hidden=CLASSES, name="fc1")
    return Network(mx.sym.SoftmaxOutput(x, name="softmax"), {}, {})


def make_learner(
    devices: list[Any], *, rows: int, start: Checkpoint | None = None, **training: Any
) -> Learner:
    task = bare_task(plain_network(), (rows, WIDTH), devices)
    training = {"optimizer": Optimizer(learning_rate="1")} | training
    settings = Training(recipe="tutorial", batch_size_per_device=rows, **training)
    recipe = recipes.choose(settings, gpus=0)
    return Learner(task, recipe, start or Checkpoint(), seed=4)


def rows_of(count: int) -> tuple[Any, Any]:
    random = np.random.default_rng(1)
    return random.normal(size=(count, WIDTH)), random.integers(0, CLASSES, count)


def batches_of(count: int, *, size: int) -> list[mx.io.DataBatch]:
    data, labels = rows_of(count)
    cuts = itertools.pairwise(range(0, count + 1, size))
    return [
        mx.io.DataBatch([mx.nd.array(data[a:b])], [mx.nd.array(labels[a:b])], pad=0)
        for a, b in cuts
    ]


def weights(learner: Learner) -> Any:
    args = learner.network.args
    return np.concatenate([args[name].asnumpy().ravel() for name in sorted(args)])


def moved(learner: Learner, batches: list[mx.io.DataBatch]) -> Any:
    """Return how the weights change with one update."""
    before = weights(learner)
    for batch in batches:
        learner.learn(batch)
    learner.update(rate=1.0)
    return weights(learner) - before


@pytest.mark.parametrize("devices", DEVICES)
def test_a_gradient_that_is_too_long_keeps_its_direction(devices: list[Any]) -> None:
    batches = batches_of(8, size=8)
    plain = moved(make_learner(devices, rows=8), batches)
    clipped = moved(make_learner(devices, rows=8, gradient_clipping="0.02"), batches)
    length = np.linalg.norm(plain)
    assert length > 0.1
    np.testing.assert_allclose(clipped * (length / 0.02), plain, atol=1e-5)


@pytest.mark.parametrize("devices", DEVICES)
def test_a_gradient_below_the_limit_is_left_alone(devices: list[Any]) -> None:
    batches = batches_of(8, size=8)
    plain = moved(make_learner(devices, rows=8), batches)
    clipped = moved(make_learner(devices, rows=8, gradient_clipping="100"), batches)
    assert np.array_equal(plain, clipped)


def test_clipping_leaves_the_next_gradient_its_own_length() -> None:
    learner = make_learner([mx.cpu(0)], rows=8, gradient_clipping="0.02")
    lengths = [np.linalg.norm(moved(learner, batches_of(8, size=8))) for _ in range(3)]
    np.testing.assert_allclose(lengths, 0.02, rtol=1e-3)


def test_a_nan_gradient_is_not_hidden_by_clipping() -> None:
    learner = make_learner([mx.cpu(0)], rows=8, gradient_clipping="1.0")
    (batch,) = batches_of(8, size=8)
    batch.data[0][0] = float("nan")
    moved(learner, [batch])
    assert not np.isfinite(weights(learner)).all()


def test_each_device_goes_on_with_states_of_its_own() -> None:
    devices, optimizer = DEVICES[1], Optimizer(learning_rate="1", momentum="0.9")
    common: dict[str, Any] = {"optimizer": optimizer, "gradient_clipping": "0.02", "rows": 8}
    learner, batches = make_learner(devices, **common), batches_of(8, size=8)
    moved(learner, batches)
    start = Checkpoint(step=1, args=learner.network.args, states=_states_by_name(learner.module))
    resumed = make_learner(devices, start=start, **common)
    expected = moved(learner, batches)
    assert np.array_equal(moved(resumed, batches), expected)
    for copies in resumed.module._exec_group.param_arrays:
        assert np.array_equal(copies[0].asnumpy(), copies[1].asnumpy())


@pytest.mark.parametrize("devices", DEVICES)
@pytest.mark.parametrize("clipping", ["0", "0.02"])
@pytest.mark.parametrize("count", [1, 2, 3])
def test_batches_added_up_move_the_weights_as_one_of_all_their_images(
    count: int, clipping: str, devices: list[Any]
) -> None:
    whole = make_learner(devices, rows=4 * count, gradient_clipping=clipping)
    parts = make_learner(devices, rows=4, gradient_clipping=clipping, gradient_accumulation=3)
    for _ in range(2):  # the gradients of one update are no part of the next one
        expected = moved(whole, batches_of(4 * count, size=4 * count))
        found = moved(parts, batches_of(4 * count, size=4))
        assert np.abs(expected).max() > 0.001
        np.testing.assert_allclose(found, expected, atol=1e-6)
