"""The mean of the weights over the training: its value, and that it becomes the model."""

from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from finetune_trainer.fit.averaging import Average, share_of_epoch, share_of_step
from finetune_trainer.fit.checkpoint import AVERAGE
from finetune_trainer.fit.stage import fit
from finetune_trainer.model.network import PARAMS, load, load_params
from finetune_trainer.run import files

from tests.trainer.fit.test_learner import batches_of, make_learner, moved
from tests.trainer.support.networks import make_run

TRAIN, VALIDATION = [0, 1, 2] * 9, [0, 1, 2]


def values(arrays: dict[str, Any]) -> Any:
    return np.concatenate([arrays[name].asnumpy().ravel() for name in sorted(arrays)])


def test_a_moving_average_is_over_a_ninth_of_the_steps_and_at_most_a_thousand() -> None:
    assert share_of_step(1) == pytest.approx(9 / 11)
    assert share_of_step(90) == pytest.approx(0.09)
    assert share_of_step(10**6) == pytest.approx(0.001)


@pytest.mark.parametrize(
    ("epochs", "shares"),
    [
        (1, [1]),
        (3, [0, 0, 1]),
        (8, [0, 0, 0, 0, 0, 0, 1, 1 / 2]),
        (9, [0, 0, 0, 0, 0, 0, 1, 1 / 2, 1 / 3]),
    ],
)
def test_a_soup_is_of_the_last_quarter_of_the_epochs(epochs: int, shares: list[float]) -> None:
    assert [share_of_epoch(e, epochs=epochs) for e in range(1, epochs + 1)] == shares


@pytest.mark.parametrize("devices", [[mx.cpu(0)], [mx.cpu(0), mx.cpu(1)]])
def test_a_moving_average_is_of_the_weights_after_each_step(devices: list[Any]) -> None:
    learner = make_learner(devices, rows=8)
    average = Average("ema", learner, {})
    expected = values(learner.network.args)
    for step in range(1, 6):
        moved(learner, batches_of(8, size=8))
        average.after_step(step)
        decay = (1 + step) / (10 + step)
        expected = decay * expected + (1 - decay) * values(learner.network.args)
    np.testing.assert_allclose(values(average.network.args), expected, rtol=1e-5, atol=1e-7)
    assert np.abs(expected - values(learner.network.args)).max() > 0.001


def test_a_soup_is_the_mean_of_the_last_epochs_and_before_them_the_network_itself() -> None:
    learner = make_learner([mx.cpu(0)], rows=8)
    average = Average("soup", learner, {})
    ends = []
    for epoch in range(1, 13):
        moved(learner, batches_of(8, size=8))
        average.after_epoch(epoch, epochs=12)
        ends.append(values(learner.network.args))
        if epoch < 10:
            assert np.array_equal(values(average.network.args), ends[-1])
    expected = np.mean(ends[-3:], axis=0)
    np.testing.assert_allclose(values(average.network.args), expected, rtol=1e-5, atol=1e-7)


@pytest.mark.parametrize("kind", ["ema", "soup"])
def test_the_mean_is_the_model_and_the_fit_goes_on_without_it(kind: str, tmp_path: Path) -> None:
    training: dict[str, Any] = {
        "recipe": "tutorial",
        "batchSizePerDevice": 8,
        "epochs": 8,
        "optimizer": {"learningRate": "0.5"},
    }
    last = {}
    for averaging in ("none", kind):
        run, _ = make_run(
            tmp_path / averaging,
            train=TRAIN,
            validation=VALIDATION,
            training=training | {"weightAveraging": averaging},
            threads=2,
        )
        fit(run)
        checkpoint = run.paths.job / "checkpoints" / "step-00000032"
        last[averaging] = checkpoint / PARAMS
    assert files.sha256_of(last["none"]) == files.sha256_of(last[kind])
    best = load(run.paths.job / "best")
    mean = mx.nd.load(str(checkpoint / AVERAGE))
    assert np.array_equal(values(best.args | best.aux), values(mean))
    args, aux = load_params(last[kind])
    for name in ("fc1_weight", "bn_moving_mean"):
        assert not np.array_equal(mean[name].asnumpy(), (args | aux)[name].asnumpy())
