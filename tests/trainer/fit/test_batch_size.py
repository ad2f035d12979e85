"""Batches that fit into the memory of the container or the GPU. Real MXNet, a small network.

A full GPU is simulated on a CPU, by the error that MXNet raises then.
"""

import dataclasses
import logging
import os
import signal
from pathlib import Path
from typing import Any

import mxnet as mx
import pytest
from finetune_trainer import recipes
from finetune_trainer.contract import ExitCode, TrainerError, Training
from finetune_trainer.fit import batch_size, loop
from finetune_trainer.fit.batch_size import (
    ACTIVATIONS_FACTOR,
    BASE_BYTES,
    USABLE_SHARE,
    within_memory,
)
from finetune_trainer.fit.stage import fit
from finetune_trainer.recipes.recipe import Recipe
from finetune_trainer.run import files
from finetune_trainer.run.handoff import FITTED, Fitted

from tests.trainer.fit.test_stage import assert_same_bits, best_params, stop_after
from tests.trainer.support.networks import SIZE, make_run, small_network

FULL = recipes.choose(Training(recipe="full"), gpus=0)
OUTPUTS = 4 * (3 * 8 * 14 * 14 + 8 + 8 + 8 + 3 + 3)
"""Bytes of the small network's conv, bn, relu, pool, flatten, features, fc1 and softmax."""


def fitted_into(images: float, recipe: Recipe = FULL) -> Recipe:
    """Return the recipe for the small network, with memory for batches of so many images."""
    parameters = 4 * (8 * 27 + 8 + 4 * 8 + 3 * 8 + 3)
    needed = (
        BASE_BYTES
        + 2 * batch_size.PARAMETER_COPIES * parameters
        + ACTIVATIONS_FACTOR * OUTPUTS * images
    )
    symbol = small_network(3).symbol
    return within_memory(
        recipe, symbol, size=SIZE, contexts=1, limit=int(needed / USABLE_SHARE) + 64
    )


@pytest.mark.parametrize(
    ("images", "batch", "count"), [(32, 32, 1), (31, 16, 2), (16, 16, 2), (7, 4, 8), (1, 1, 32)]
)
def test_batch_is_split_into_the_fewest_equal_parts_that_fit(
    images: float, batch: int, count: int
) -> None:
    found = fitted_into(images)
    assert (found.batch_size, found.accumulation) == (batch, count)


def test_smaller_batches_multiply_the_users_gradient_accumulation() -> None:
    found = fitted_into(16, dataclasses.replace(FULL, accumulation=3))
    assert (found.batch_size, found.accumulation) == (16, 6)


def test_memory_without_room_for_one_image_is_an_error_before_anything_starts() -> None:
    with pytest.raises(TrainerError) as error:
        fitted_into(0.5)
    assert error.value.code == ExitCode.DeviceOutOfMemory
    assert "for a batch of one image, but the container may use 7" in error.value.message
    assert "trainer.resources.limits.memory" in error.value.hint


def test_fit_in_little_memory_makes_smaller_batches_and_logs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    monkeypatch.setattr(batch_size, "ACTIVATIONS_FACTOR", 1000.0)
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


TRAINING = {"recipe": "full", "epochs": 3, "batchSizePerDevice": 16}
OUT_OF_MEMORY = "src/storage/./pooled_storage_manager.h:187: cudaMalloc retry failed: out of memory"


def full_above(images: int, monkeypatch: pytest.MonkeyPatch, *, after: int = 0) -> None:
    """Make training on larger batches fail as on a full GPU, after so many batches."""
    original, batches = mx.mod.Module.forward_backward, [0]

    def forward_backward(module: Any, batch: Any) -> None:
        batches[0] += 1
        if batch.data[0].ndim == 4 and len(batch.data[0]) > images and batches[0] > after:
            raise mx.MXNetError(OUT_OF_MEMORY)
        original(module, batch)

    monkeypatch.setattr(mx.mod.Module, "forward_backward", forward_backward)


def make_job(root: Path, **training: Any) -> tuple[Any, Any]:
    return make_run(
        root, train=[0, 1, 2] * 11, validation=[0, 1, 2] * 2, training=TRAINING | training
    )


def test_a_full_gpu_gets_smaller_batches_that_make_the_same_updates(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    requested, _ = make_job(tmp_path / "requested", batchSizePerDevice=4, gradientAccumulation=4)
    fit(requested)
    full_above(4, monkeypatch)
    run, _ = make_job(tmp_path / "found")
    fit(run)
    assert_same_bits(best_params(run), best_params(requested))
    assert f"the recipe full, in batches of 4 now: the GPU is full: {OUT_OF_MEMORY}" in caplog.text
    settings = files.read_json(run.paths.job / FITTED, Fitted).settings
    assert (settings["batch of a device"], settings["batches of an update"]) == ("4", "4")


def test_a_gpu_that_is_full_later_costs_no_epoch(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run, _ = make_job(tmp_path)
    head = 40  # epochs of one batch of features
    full_above(8, monkeypatch, after=head + 3 + 1)
    fit(run)
    assert "the recipe full, in batches of 8 now" in caplog.text
    assert "resumed at epoch 1" in caplog.text


def test_a_gpu_that_is_full_within_an_epoch_costs_no_update(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, reports = make_job(tmp_path)  # 33 images: updates by 16, 16 and 1 with what fills it
    monkeypatch.setattr(loop, "CHECKPOINT_SECONDS", 0.0)

    def watch(line: dict[str, Any]) -> None:
        if line.get("checkpoint", {}).get("step") == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    reports.watch = watch
    with pytest.raises(TrainerError, match="stopped on request"):
        fit(run)
    reports.watch = lambda line: None
    full_above(8, monkeypatch)
    fit(run)
    checkpoint = files.read_json(run.paths.job / FITTED, Fitted).checkpoint
    assert checkpoint is not None
    assert (checkpoint.epoch, checkpoint.step) == (3, 9)


def test_the_next_attempt_begins_with_batches_that_fitted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run, reports = make_job(tmp_path)
    stop_after(reports, 2)
    full_above(8, monkeypatch)
    with pytest.raises(TrainerError, match="stopped on request"):
        fit(run)
    caplog.clear()
    fit(run)
    assert "resumed at epoch 2" in caplog.text
    assert "the GPU is full" not in caplog.text


def test_a_gpu_without_room_for_one_image_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = make_job(tmp_path)
    full_above(0, monkeypatch)
    with pytest.raises(TrainerError, match=r"even for one image a batch: .* out of mem") as error:
        fit(run)
    assert error.value.code == ExitCode.DeviceOutOfMemory
    assert "model.inputSize" in error.value.hint


def test_other_errors_of_mxnet_are_not_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{__name__}.OUT_OF_MEMORY", "an illegal memory access was encountered")
    run, _ = make_job(tmp_path)
    full_above(0, monkeypatch)
    with pytest.raises(mx.MXNetError, match="illegal memory access"):
        fit(run)


def test_a_gpu_without_room_extracts_features_of_fewer_images_at_a_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    original = mx.mod.Module.forward

    def forward(module: Any, batch: Any, is_train: bool | None = None) -> None:
        if batch.data[0].ndim == 4 and len(batch.data[0]) > 11:
            raise mx.MXNetError(OUT_OF_MEMORY)
        original(module, batch, is_train)

    monkeypatch.setattr(mx.mod.Module, "forward", forward)
    run, _ = make_job(tmp_path, recipe="features", epochs=2)
    fit(run)
    assert "extracting features, in batches of 8 now: the GPU is full" in caplog.text
