"""Balanced epochs: every class equally often, with different images each time."""

from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from finetune_trainer.fit import tasks
from finetune_trainer.fit.features import Features
from finetune_trainer.fit.sampling import balanced_order
from finetune_trainer.fit.stage import fit
from finetune_trainer.model.inference import labels_of
from finetune_trainer.run import files
from finetune_trainer.run.handoff import FITTED, Fitted
from finetune_trainer.run.history import HISTORY, read

from tests.trainer.support.networks import make_run, small_network

LABELS = np.array([0] * 60 + [1] * 5 + [2] * 36)


@pytest.mark.parametrize("labels", [LABELS, LABELS[::-1], np.arange(101) % 7])
def test_an_epoch_has_its_length_and_each_class_equally_often(labels: Any) -> None:
    order = balanced_order(labels, seed=3)
    assert len(order) == len(labels)
    counts = np.bincount(labels[order])
    assert np.ptp(counts) <= 1


def test_no_image_is_drawn_again_before_all_of_its_class_were() -> None:
    drawn = np.bincount(balanced_order(LABELS, seed=3), minlength=len(LABELS))
    for label in range(3):
        assert np.ptp(drawn[np.equal(LABELS, label)]) <= 1
    assert drawn[:60].sum() < 60


def test_the_seed_determines_the_images_and_their_order() -> None:
    assert np.array_equal(balanced_order(LABELS, seed=1), balanced_order(LABELS, seed=1))
    first, second = balanced_order(LABELS, seed=1), balanced_order(LABELS, seed=2)
    assert set(first) != set(second)
    assert len(set(LABELS[first][:12])) == 3


def test_a_head_is_fitted_to_balanced_epochs() -> None:
    rows = np.random.default_rng(0).random((len(LABELS), 4), dtype=np.float32)
    found = Features(rows, LABELS, rows[:10], LABELS[:10])
    task = tasks.on_features(
        small_network(3), found, batch_size=16, contexts=[mx.cpu()], is_balanced=True
    )
    labels = np.concatenate([labels_of(batch) for batch in task.batches(1)])
    assert sorted(np.bincount(labels)) == [33, 34, 34]


def test_the_setting_reaches_the_fit(tmp_path: Path) -> None:
    training = {"recipe": "features", "epochs": 1, "batchSizePerDevice": 8}
    common: dict[str, Any] = {"train": [0] * 40 + [1] * 4, "validation": [1]}
    run, _ = make_run(tmp_path, training=training | {"sampling": "balanced"}, **common)
    fit(run)
    assert files.read_json(run.paths.job / FITTED, Fitted).settings["sampling"] == "balanced"
    natural, _ = make_run(tmp_path, training=training, uid="uid-2", **common)
    fit(natural)
    loss = [read(each.paths.job / HISTORY)[0].train_loss for each in (run, natural)]
    assert loss[0] != loss[1]
