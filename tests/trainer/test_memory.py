"""Batches that fit into the container's memory. Real MXNet, a small network."""

import dataclasses
import logging
from pathlib import Path

import pytest
from finetune_trainer import files, memory, recipes
from finetune_trainer.contract import ExitCode, TrainerError, Training
from finetune_trainer.fit import fit
from finetune_trainer.handoff import FITTED, Fitted
from finetune_trainer.memory import BASE, TRAINED, USED, within
from finetune_trainer.recipes import Recipe

from tests.trainer.networks import SIZE, make_run, small_network

FULL = recipes.choose(Training(recipe="full"), devices=0)
OUTPUTS = 4 * (3 * 8 * 14 * 14 + 8 + 8 + 8 + 3 + 3)
"""Bytes of the small network's conv, bn, relu, pool, flatten, features, fc1 and softmax."""


def fitted_into(images: float, recipe: Recipe = FULL) -> Recipe:
    """Return the recipe for the small network in memory for so many images."""
    parameters = 4 * (8 * 27 + 8 + 4 * 8 + 3 * 8 + 3)
    needed = BASE + 2 * memory.COPIES * parameters + TRAINED * OUTPUTS * images
    symbol = small_network(3).symbol
    return within(recipe, symbol, size=SIZE, contexts=1, limit=int(needed / USED) + 64)


@pytest.mark.parametrize(
    ("images", "batch", "parts"), [(32, 32, 1), (31, 16, 2), (16, 16, 2), (7, 4, 8), (1, 1, 32)]
)
def test_batch_is_split_into_the_fewest_equal_parts_that_fit(
    images: float, batch: int, parts: int
) -> None:
    found = fitted_into(images)
    assert (found.batch_size, found.accumulation) == (batch, parts)


def test_batches_that_the_user_adds_up_are_added_up_still() -> None:
    found = fitted_into(16, dataclasses.replace(FULL, accumulation=3))
    assert (found.batch_size, found.accumulation) == (16, 6)


def test_memory_that_no_batch_fits_into_is_said_before_anything_starts() -> None:
    with pytest.raises(TrainerError) as error:
        fitted_into(0.5)
    assert error.value.code == ExitCode.DeviceOutOfMemory
    assert "for a batch of one image, but the container may use 7" in error.value.message
    assert "trainer.resources.limits.memory" in error.value.hint


def test_fit_in_little_memory_makes_smaller_batches_and_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(memory, "TRAINED", 1000.0)
    run, _ = make_run(
        tmp_path,
        train=[0, 1, 2] * 12,
        validation=[0, 1, 2],
        training={"recipe": "full", "epochs": 1},
        threads=2,
    )
    fit(dataclasses.replace(run, memory=1100 << 20))
    assert "batches of 16 images, 2 for each update: more do not fit into 1100 MiB" in caplog.text
    settings = files.read_json(run.paths.job / FITTED, Fitted).settings
    assert (settings["batch of a device"], settings["batches of an update"]) == ("16", "2")
