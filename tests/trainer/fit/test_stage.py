"""The stage `fit`: resuming, stopping, diverging, devices. Real MXNet, a small network."""

import csv
import dataclasses
import datetime
import itertools
import json
import logging
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import time
import tracemalloc
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from finetune_trainer import recipes
from finetune_trainer.contract import ExitCode, TrainerError, Training
from finetune_trainer.fit import fit_progress, tasks
from finetune_trainer.fit.features import Features
from finetune_trainer.fit.stage import fit
from finetune_trainer.model.inference import real_rows
from finetune_trainer.model.network import load, load_preprocessing
from finetune_trainer.model.reader import Reader
from finetune_trainer.recipes import progressive
from finetune_trainer.run import files, owner
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import FITTED, Fitted
from finetune_trainer.run.history import HISTORY, Row, read

from tests.trainer.support.networks import Reports, make_run, small_network

TRAIN = [0, 1, 2] * 9
VALIDATION = [0, 1, 2] * 3


def settings(recipe: str, **others: Any) -> dict[str, Any]:
    return {"recipe": recipe, "batchSizePerDevice": 8, **others}


def best_params(run: Run) -> dict[str, Any]:
    network = load(run.paths.job / "best")
    return {name: value.asnumpy() for name, value in (network.args | network.aux).items()}


def epochs_of(run: Run) -> list[Row]:
    """Return the rows of history.csv, without times."""
    rows = read(run.paths.job / HISTORY)
    return [dataclasses.replace(row, seconds=0, images_per_second=None, time="") for row in rows]


def reported_epochs(lines: list[dict[str, Any]]) -> list[dict[str, str]]:
    """Return the metrics of an epoch whenever they change, by the columns of history.csv."""
    columns = {
        "epoch": "epoch",
        "loss": "train_loss",
        "train-accuracy": "train_accuracy",
        "accuracy": "validation_accuracy",
        "learning-rate": "learning_rate",
    }
    found: list[dict[str, str]] = []
    for line in lines:
        metrics = {each["name"]: each["value"] for each in line.get("metrics", ())}
        epoch = {columns[name]: metrics[name] for name in columns if name in metrics}
        if epoch and epoch != (found or [{}])[-1]:
            found.append(epoch)
    return found


def epochs_in_history(run: Run) -> list[dict[str, str]]:
    """Return the same from the file itself."""
    others = ("seconds", "images_per_second", "time")
    with open(run.paths.job / HISTORY, newline="") as file:
        return [
            {name: text for name, text in line.items() if text and name not in others}
            for line in csv.DictReader(file)
        ]


def assert_same_bits(left: dict[str, Any], right: dict[str, Any]) -> None:
    assert left.keys() == right.keys()
    assert [name for name in left if not np.array_equal(left[name], right[name])] == []


def stop_after(reports: Reports, epoch: int) -> None:
    """Ask this process to stop, once, when the checkpoint of that epoch is complete."""

    def watch(line: dict[str, Any]) -> None:
        if line.get("checkpoint", {}).get("epoch") == epoch:
            reports.watch = lambda line: None
            os.kill(os.getpid(), signal.SIGTERM)

    reports.watch = watch


OTHERS: dict[str, dict[str, Any]] = {
    "full": {
        "recipe": "full",
        "mixup": "0.2",
        "classWeights": "balanced",
        "augmentation": "strong",
    },
    "clipped": {"gradientClipping": "0.1"},
    "added up": {"gradientAccumulation": 3},
    "ema": {"weightAveraging": "ema"},
    "soup": {"weightAveraging": "soup"},
}


def test_the_network_that_a_recipe_starts_from_is_saved_for_later_attempts(
    tmp_path: Path,
) -> None:
    common: dict[str, Any] = {"train": TRAIN, "validation": VALIDATION, "threads": 2}
    common["training"] = settings("progressive", epochs=2)
    straight, _ = make_run(tmp_path / "straight", **common)
    fit(straight)
    assert not (straight.paths.job / "starts").exists()
    run, reports = make_run(tmp_path / "interrupted", **common)

    def stop_before_the_first(line: dict[str, Any]) -> None:
        if line.get("note") == "epoch 1 of 2":
            reports.watch = lambda line: None
            shutil.rmtree(run.paths.job / "checkpoints", ignore_errors=True)
            os.kill(os.getpid(), signal.SIGTERM)

    reports.watch = stop_before_the_first
    with pytest.raises(TrainerError, match="stopped on request"):
        fit(run)
    # There is none if it stopped before its first batch.
    shutil.rmtree(run.paths.job / "checkpoints", ignore_errors=True)
    assert len(list((run.paths.job / "starts").iterdir())) == 1
    before = len(reports.lines)
    fit(run)
    notes = {line.get("note") for line in reports.lines[before:]}
    # The last blocks, which train for 6 epochs, are not trained again.
    assert not [note for note in notes if str(note).endswith(" of 6")]
    assert_same_bits(best_params(straight), best_params(run))


def test_a_start_that_diverges_ends_the_fit(tmp_path: Path) -> None:
    run, _ = make_run(
        tmp_path, train=TRAIN, validation=VALIDATION, training=settings("progressive")
    )
    start = progressive.last_blocks()
    diverging = dataclasses.replace(start, optimizer_params={"learning_rate": 1e30})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(progressive, "last_blocks", lambda: diverging)
        with pytest.raises(TrainerError, match=r"the loss is NaN in epoch 1 of 6") as error:
            fit(run)
    assert error.value.message.startswith("last blocks, which the recipe starts from: ")
    # The user's learning rate is that of the last phase: another one would not help.
    assert (
        error.value.hint == "set training.onDivergence to Retry, or choose another training.recipe"
    )


@pytest.mark.parametrize(
    ("recipe", "optimizer", "threads"),
    [
        ("tutorial", {}, 1),
        ("tutorial", {"name": "sgd", "momentum": "0.9"}, 2),
        ("tutorial", {"name": "adam", "learningRate": "0.01"}, 2),
        ("features", {}, 1),
        ("full", {}, 2),
        ("full", {"name": "adamw"}, 1),
        ("progressive", {}, 2),
        ("clipped", {"name": "sgd", "momentum": "0.9"}, 2),
        ("added up", {"name": "adam"}, 2),
        ("ema", {}, 2),
        ("soup", {}, 1),
    ],
)
def test_a_stopped_and_resumed_fit_gives_the_bits_of_one_that_ran_through(
    recipe: str,
    optimizer: dict[str, str],
    threads: int,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    epochs, stop = {"features": (20, 10), "soup": (8, 7)}.get(recipe, (4, 2))
    training = settings("tutorial", epochs=epochs, optimizer=optimizer) | OTHERS.get(
        recipe, {"recipe": recipe}
    )
    common: dict[str, Any] = {
        "train": TRAIN,
        "validation": VALIDATION,
        "training": training,
        "threads": threads,
    }
    straight, _ = make_run(tmp_path / "straight", **common)
    fit(straight)
    interrupted, reports = make_run(tmp_path / "interrupted", **common)
    stop_after(reports, stop)
    with pytest.raises(TrainerError) as stopped:
        fit(interrupted)
    assert stopped.value.code == ExitCode.Interrupted
    assert not (interrupted.paths.job / FITTED).exists()
    fit(interrupted)
    assert f"resumed at epoch {stop}" in caplog.text
    assert_same_bits(best_params(straight), best_params(interrupted))
    expected = epochs_of(straight)
    assert [row.epoch for row in expected] == list(range(1, epochs + 1))
    # The measurement after the last checkpoint was interrupted, and is not repeated.
    expected[stop - 1] = dataclasses.replace(expected[stop - 1], validation_accuracy=None)
    assert epochs_of(interrupted) == expected


def test_half_precision_without_gpus_is_refused(tmp_path: Path) -> None:
    training = settings("full", precision="float16")
    run, _ = make_run(tmp_path, train=TRAIN, validation=VALIDATION, training=training)
    with pytest.raises(TrainerError, match="float16, which MXNet has on GPUs only") as refused:
        fit(run)
    assert refused.value.code == ExitCode.InvalidSpec


@pytest.mark.parametrize(
    ("threads", "stopped", "others"),
    [
        (1, 2, {}),
        (1, 7, {}),  # after the last step, before the epoch is recorded
        (2, 2, {}),
        (1, 2, {"gradientAccumulation": 2}),
        (1, 2, {"weightAveraging": "ema"}),
    ],
)
def test_a_fit_stopped_within_an_epoch_goes_on_from_the_very_step(
    threads: int,
    stopped: int,
    others: dict[str, Any],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(fit_progress, "INTERVAL_SECONDS", 0)
    training = settings("tutorial", epochs=2, optimizer={"momentum": "0.9"}, **others)
    common: dict[str, Any] = {"train": TRAIN * 2, "validation": VALIDATION, "training": training}
    straight, _ = make_run(tmp_path / "straight", threads=threads, **common)
    fit(straight)
    interrupted, reports = make_run(tmp_path / "interrupted", threads=threads, **common)

    def stop_in_the_next_step(line: dict[str, Any]) -> None:
        if line.get("step") == stopped - 1:
            reports.watch = lambda line: None
            os.kill(os.getpid(), signal.SIGTERM)

    reports.watch = stop_in_the_next_step
    with pytest.raises(TrainerError):
        fit(interrupted)
    checkpoint = [line["checkpoint"] for line in reports.lines if "checkpoint" in line]
    assert [(c["epoch"], c["step"]) for c in checkpoint] == [(0, stopped)]
    fit(interrupted)
    first, expected_first = epochs_of(interrupted)[0], epochs_of(straight)[0]
    assert first.train_accuracy == expected_first.train_accuracy
    assert first.train_loss == expected_first.train_loss
    expected, found = best_params(straight), best_params(interrupted)
    if threads > 1:
        # Averaged over the devices once more than in the straight run.
        for name in ("bn_moving_mean", "bn_moving_var"):
            np.testing.assert_allclose(found.pop(name), expected.pop(name), rtol=1e-5)
    assert_same_bits(expected, found)


def test_each_epoch_sees_other_crops_and_another_order(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, train=TRAIN, validation=VALIDATION)
    reader = Reader.of(
        tmp_path / "packed/train.rec",
        load_preprocessing(run.paths.job / "model"),
        batch_size=8,
        threads=2,
    )

    def first(seed: int) -> Any:
        return next(iter(reader.shuffled("crop", seed=seed))).data[0].asnumpy()

    assert np.array_equal(first(5), first(5))
    assert not np.array_equal(first(5), first(6))


def test_a_fit_on_two_contexts_learns_and_logs_the_lines_of_mxnet(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    training = settings("tutorial", epochs=6, optimizer={"learningRate": "0.5"})
    run, reports = make_run(
        tmp_path, train=TRAIN, validation=VALIDATION, training=training, threads=2
    )
    fit(run)
    lines = [record.getMessage() for record in caplog.records]
    accuracy = [float(x.split("=")[1]) for x in lines if x.startswith("Epoch[5] Validation-acc")]
    assert accuracy[0] >= 0.8
    assert any(line.startswith("Epoch[0] Train-accuracy=0.") for line in lines)
    assert any(line.startswith("Epoch[0] Time cost=") for line in lines)
    checkpoints = [line["checkpoint"] for line in reports.lines if "checkpoint" in line]
    assert [(c["epoch"], c["step"]) for c in checkpoints] == [(n, 4 * n) for n in range(1, 7)]
    progress = [line for line in reports.lines if line.get("fraction") is not None]
    assert [p["step"] for p in progress] == sorted(p["step"] for p in progress)
    assert progress[-1]["fraction"] == pytest.approx(1)
    assert progress[-1]["note"] == "epoch 6 of 6"
    names = {metric["name"] for metric in progress[-1]["metrics"]}
    assert names == {
        *("epoch", "loss", "train-accuracy", "accuracy", "learning-rate"),
        *("images-per-second", "data-stall"),
    }


def test_the_reported_epochs_are_the_lines_of_the_history(tmp_path: Path) -> None:
    training = settings("tutorial", epochs=3, schedule={"name": "cosine"})
    run, reports = make_run(tmp_path, train=TRAIN, validation=VALIDATION, training=training)
    fit(run)
    assert len(epochs_in_history(run)) == 3
    assert reported_epochs(reports.lines) == epochs_in_history(run)
    rows = read(run.paths.job / HISTORY)
    rates = [row.learning_rate or 0 for row in rows]
    assert all(before > after > 0 for before, after in itertools.pairwise(rates))
    assert all(row.images_per_second for row in rows)
    times = [datetime.datetime.fromisoformat(row.time).timestamp() for row in rows]
    assert time.time() - 60 < times[0] <= times[1] <= times[2] <= time.time()


def test_a_resumed_fit_reports_the_epoch_that_it_goes_on_from(tmp_path: Path) -> None:
    training = settings("tutorial", epochs=4)
    run, reports = make_run(tmp_path, train=TRAIN, validation=VALIDATION, training=training)
    stop_after(reports, 2)
    with pytest.raises(TrainerError):
        fit(run)
    before = len(reports.lines)
    fit(run)
    # The accuracy of the second epoch was not measured any more.
    assert "validation_accuracy" not in epochs_in_history(run)[1]
    assert reported_epochs(reports.lines[before:]) == epochs_in_history(run)[1:]


def test_of_a_fit_in_phases_the_epochs_of_the_last_one_are_reported(tmp_path: Path) -> None:
    training = settings("progressive", epochs=2)
    run, reports = make_run(tmp_path, train=TRAIN, validation=VALIDATION, training=training)
    fit(run)
    assert [epoch["epoch"] for epoch in reported_epochs(reports.lines)] == ["1", "2"]
    assert reported_epochs(reports.lines) == epochs_in_history(run)


def test_the_work_of_a_fit_is_counted(tmp_path: Path) -> None:
    training = settings("tutorial", epochs=2, gradientAccumulation=2)
    run, reports = make_run(tmp_path, train=TRAIN, validation=VALIDATION, training=training)
    began = time.monotonic()
    fit(run)
    took = time.monotonic() - began
    work = [line["work"] for line in reports.lines if line.get("work")]
    for name in work[0]:
        assert [each[name] for each in work] == sorted(each[name] for each in work), name
    last = work[-1]
    assert (last["steps"], last["images"], last["checkpoints"]) == (4, 2 * len(TRAIN), 2)
    seconds = [last[f"{name}_seconds"] for name in ("step", "data_wait", "checkpoint")]
    assert min(seconds) > 0
    assert sum(seconds) < took


def test_one_batch_is_learnt_by_heart(tmp_path: Path) -> None:
    training = settings("tutorial", epochs=25, optimizer={"name": "adam", "learningRate": "0.05"})
    run, reports = make_run(
        tmp_path, train=[0, 1, 2, 0, 1, 2, 0, 1], validation=[0], training=training
    )
    fit(run)
    loss = [
        float(m["value"]) for line in reports.lines for m in line.get("metrics", ())
        if m["name"] == "loss"
    ]  # fmt: skip
    assert loss[-1] < 0.1 * loss[0]


def test_fewer_images_than_a_batch_are_a_smaller_batch(tmp_path: Path) -> None:
    run, _ = make_run(
        tmp_path,
        train=[0, 1, 2],
        validation=[0],
        training={"recipe": "tutorial", "epochs": 1},
        threads=2,
    )
    fit(run)
    assert files.read_json(run.paths.job / FITTED, Fitted).epochs == 1


@pytest.mark.parametrize(
    ("name", "left", "words"),
    [
        ("model.params", -7, "model.params is damaged"),
        ("manifest.json", -7, "Input data was truncated"),
        ("manifest.json", 0, "Input data was truncated"),
    ],
)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before(
    name: str, left: int, words: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run, reports = make_run(
        tmp_path, train=TRAIN, validation=VALIDATION, training=settings("tutorial", epochs=4)
    )
    stop_after(reports, 3)
    with pytest.raises(TrainerError):
        fit(run)
    checkpoints = run.paths.job / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == ["step-00000008", "step-00000012"]
    (checkpoints / ".step-00000016.killed/step-00000016").mkdir(parents=True)
    damaged = checkpoints / "step-00000012" / name
    damaged.write_bytes(damaged.read_bytes()[:left])
    fit(run)
    assert f"checkpoint step-00000012 is dropped: {words}" in caplog.text
    assert "resumed at epoch 2" in caplog.text
    assert {path.name for path in checkpoints.iterdir()} == {"step-00000012", "step-00000016"}


def test_a_checkpoint_of_other_settings_is_no_start_and_crowds_out_no_new_one(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    common: dict[str, Any] = {"train": TRAIN, "validation": VALIDATION}
    run, _ = make_run(tmp_path, training=settings("tutorial", epochs=3), **common)
    fit(run)
    run, _ = make_run(tmp_path, training=settings("tutorial", epochs=1, seed=7), **common)
    fit(run)
    assert "is of another recipe, data set or network" in caplog.text
    assert "resumed" not in caplog.text
    checkpoints = run.paths.job / "checkpoints"
    assert [path.name for path in checkpoints.iterdir()] == ["step-00000004"]


def test_divergence_ends_the_fit_and_keeps_the_last_good_checkpoint(tmp_path: Path) -> None:
    training = settings("tutorial", epochs=30, optimizer={"learningRate": "90000000"})
    run, _ = make_run(tmp_path, train=TRAIN, validation=VALIDATION, training=training)
    with pytest.raises(TrainerError) as error:
        fit(run)
    assert error.value.code == ExitCode.Diverged
    assert "training.optimizer.learningRate" in error.value.hint
    assert not (run.paths.job / "best").exists()


def unstable(on_divergence: str) -> dict[str, Any]:
    """Return settings by which each step multiplies the weights by -14; at a tenth of the learning
    rate it halves them."""
    optimizer = {"learningRate": "15", "weightDecay": "1"}
    return settings("tutorial", epochs=12, optimizer=optimizer, onDivergence=on_divergence)


def test_a_fit_that_diverges_goes_on_from_its_last_good_checkpoint_at_a_tenth_of_the_rate(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    common: dict[str, Any] = {"train": TRAIN, "validation": VALIDATION}
    failed, reports = make_run(tmp_path / "Fail", training=unstable("Fail"), **common)
    with pytest.raises(TrainerError, match="the loss is NaN") as error:
        fit(failed)
    assert error.value.code == ExitCode.Diverged
    good = max(line["checkpoint"]["epoch"] for line in reports.lines if "checkpoint" in line)
    assert 1 < good < 12
    caplog.set_level(logging.INFO)
    run, _ = make_run(tmp_path / "Retry", training=unstable("Retry"), **common)
    fit(run)
    assert "goes on from the last good checkpoint, at a tenth of the rate" in caplog.text
    assert f"resumed at epoch {good}" in caplog.text
    fitted = files.read_json(run.paths.job / FITTED, Fitted)
    assert fitted.settings["after divergence"] == "learning rate x 0.1"
    assert [row.epoch for row in epochs_of(run)] == list(range(1, 13))
    assert all(np.isfinite(value).all() for value in best_params(run).values())


def test_a_fit_that_goes_on_after_divergence_stays_slow_in_the_next_attempt(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    common: dict[str, Any] = {
        "train": TRAIN,
        "validation": VALIDATION,
        "training": unstable("Retry"),
    }
    straight, _ = make_run(tmp_path / "straight", **common)
    fit(straight)
    interrupted, reports = make_run(tmp_path / "interrupted", **common)
    stop_after(reports, 11)
    with pytest.raises(TrainerError, match="stopped"):
        fit(interrupted)
    caplog.clear()
    fit(interrupted)
    assert "the loss is NaN" not in caplog.text
    fitted = files.read_json(interrupted.paths.job / FITTED, Fitted)
    assert fitted.settings["after divergence"] == "learning rate x 0.1"
    assert_same_bits(best_params(straight), best_params(interrupted))


def test_a_fit_that_diverges_a_second_time_ends(tmp_path: Path) -> None:
    training = settings(
        "tutorial", epochs=30, optimizer={"learningRate": "90000000"}, onDivergence="Retry"
    )
    run, _ = make_run(tmp_path, train=TRAIN, validation=VALIDATION, training=training)
    with pytest.raises(TrainerError) as error:
        fit(run)
    assert error.value.code == ExitCode.Diverged
    assert "90000000.0, and then a tenth of that" in error.value.hint


def test_a_gang_that_retries_after_divergence_is_refused() -> None:
    training = Training(recipe="full", on_divergence="Retry")
    with pytest.raises(TrainerError, match=r"trainer.numNodes") as error:
        recipes.choose(training, gpus=0, pods=2)
    assert error.value.code == ExitCode.InvalidSpec


def test_a_run_taken_over_by_another_pod_writes_no_checkpoint(tmp_path: Path) -> None:
    run, _ = make_run(
        tmp_path, train=TRAIN, validation=VALIDATION, training=settings("tutorial", epochs=1)
    )
    owner.claim(run.paths.job, "pod-2")
    with pytest.raises(TrainerError, match="pod-2"):
        fit(run)
    assert list((run.paths.job / "checkpoints").glob("*")) == []


def test_features_are_computed_once_for_all_jobs_of_a_workspace(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    common: dict[str, Any] = {
        "train": TRAIN,
        "validation": VALIDATION,
        "training": settings("features", epochs=5),
    }
    first, _ = make_run(tmp_path, **common)
    fit(first)
    assert "features: read from" not in caplog.text
    cached = list((tmp_path / "packed" / "features").iterdir())
    assert len(cached) == 1
    shutil.rmtree(first.paths.job)
    second, _ = make_run(tmp_path, uid="uid-2", **common)
    fit(second)
    assert "features: read from" in caplog.text
    cached[0].write_bytes(cached[0].read_bytes()[:1000])
    third, _ = make_run(tmp_path, uid="uid-3", **common)
    fit(third)
    assert "is damaged" in caplog.text
    assert_same_bits(best_params(second), best_params(third))


def test_a_full_disk_costs_the_cached_features_but_not_the_job(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    common: dict[str, Any] = {
        "train": TRAIN,
        "validation": VALIDATION,
        "training": settings("features", epochs=5),
    }
    first, _ = make_run(tmp_path, **common)
    fit(first)
    (cached,) = (tmp_path / "packed" / "features").iterdir()
    cached.unlink()
    cached.with_name(f".{cached.name}.{os.getpid()}.tmp").symlink_to("/dev/full")
    second, _ = make_run(tmp_path, uid="uid-2", **common)
    fit(second)
    assert "features: not cached: [Errno 28] No space left on device" in caplog.text
    assert list(cached.parent.iterdir()) == []
    assert_same_bits(best_params(first), best_params(second))


def test_the_largest_seed_is_one_for_every_view(tmp_path: Path) -> None:
    training = settings("progressive", epochs=1, seed=2**31 - 1)
    run, _ = make_run(tmp_path, train=TRAIN, validation=VALIDATION, training=training)
    fit(run)


def test_the_trunk_under_a_head_fitted_on_features_is_unchanged(tmp_path: Path) -> None:
    run, _ = make_run(
        tmp_path, train=TRAIN, validation=VALIDATION, training=settings("features", epochs=5)
    )
    fit(run)
    before, after = load(run.paths.job / "model"), load(run.paths.job / "best")
    trunk = before.args | before.aux
    kept = {name: (after.args | after.aux)[name].asnumpy() for name in trunk}
    assert_same_bits({name: value.asnumpy() for name, value in trunk.items()}, kept)
    assert after.args.keys() - before.args.keys() == {"fc1_weight", "fc1_bias"}


def test_sigterm_ends_the_process_soon_with_143_after_saving(tmp_path: Path) -> None:
    script = tmp_path / "stage.py"
    script.write_text(
        textwrap.dedent("""\
        import dataclasses
        import os
        import sys
        from pathlib import Path
        from finetune_trainer.contract import TrainerError
        from finetune_trainer.fit.stage import fit
        from finetune_trainer.run.context import Reporter
        from tests.trainer.support.networks import make_run
        run, _ = make_run(Path(sys.argv[1]), train=[0, 1] * 40, validation=[0, 1],
                          training={"recipe": "tutorial", "epochs": 1000})
        run = dataclasses.replace(run, reporter=Reporter(lambda line: os.write(1, line)))
        try:
            fit(run)
        except TrainerError as error:
            sys.exit(int(error.code))
        """)
    )
    with subprocess.Popen(
        [sys.executable, str(script), str(tmp_path / "run")],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
    ) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if "checkpoint" in json.loads(line):
                break
        process.send_signal(signal.SIGTERM)
        process.stdout.read()
        assert process.wait(timeout=10) == ExitCode.Interrupted
    assert list((tmp_path / "run/jobs/uid-1/checkpoints").glob("step-*/manifest.json"))


def test_a_run_taken_over_hands_nothing_to_the_next_stage(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, train=[0, 1], validation=[0])
    owner.claim(run.paths.job, "pod-2")
    with pytest.raises(TrainerError, match="pod-2"):
        run.hand_on(FITTED, Fitted(directory="best", recipe="tutorial", epochs=1))
    assert not (run.paths.job / FITTED).exists()


def test_a_pod_that_lost_the_run_leaves_its_successors_checkpoint_in_the_making(
    tmp_path: Path,
) -> None:
    run, _ = make_run(tmp_path, train=[0, 1], validation=[0])
    written = run.paths.job / "checkpoints/.step-00000004.abc/step-00000004"
    written.mkdir(parents=True)
    owner.claim(run.paths.job, "pod-2")
    with pytest.raises(TrainerError, match="pod-2"):
        fit(run)
    assert written.is_dir()


def test_the_last_checkpoint_is_handed_on(tmp_path: Path) -> None:
    run, _ = make_run(
        tmp_path, train=TRAIN, validation=VALIDATION, training=settings("tutorial", epochs=2)
    )
    for _ in ("fitted", "resumed"):
        fit(run)
        checkpoint = files.read_json(run.paths.job / FITTED, Fitted).checkpoint
        assert checkpoint is not None
        assert (checkpoint.epoch, checkpoint.step) == (2, 8)


def test_a_fit_of_a_head_that_takes_a_second_does_not_fill_the_log(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    run, _ = make_run(
        tmp_path, train=TRAIN, validation=VALIDATION, training=settings("features", epochs=25)
    )
    fit(run)
    logged = re.findall(r"Epoch\[(\d+)\] Validation-accuracy", caplog.text)
    assert logged == ["9", "19", "24"]


def test_the_head_is_trained_without_a_second_copy_of_the_features() -> None:
    count, width = 4000, 1280
    random = np.random.default_rng(0)
    rows = random.random((count, width), dtype=np.float32)
    labels = np.arange(count) % 2
    found = Features(rows, labels, rows[:10], labels[:10])
    network = small_network(2)
    task = tasks.on_features(network, found, batch_size=64, contexts=[mx.cpu()])
    tracemalloc.start()
    rows_trained = sum(real_rows(batch) for batch in task.batches(1))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert rows_trained == count
    assert peak < rows.nbytes / 4
