"""The choices of `auto` and early stopping, by training images alone. Real MXNet."""

import dataclasses
import itertools
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import mxnet as mx
import numpy as np
import pytest
from finetune_trainer import recipes
from finetune_trainer.contract import EarlyStopping, ExitCode, TrainerError
from finetune_trainer.fit import choose_recipe, fit_progress, materials, trials
from finetune_trainer.fit.early_stopping import Patience
from finetune_trainer.fit.folds import FOLDS, folds
from finetune_trainer.fit.materials import Materials
from finetune_trainer.fit.records import CHOSEN, TRIALS, Chosen, Trials
from finetune_trainer.fit.stage import fit
from finetune_trainer.fit.trials import is_better
from finetune_trainer.model.reader import split_records
from finetune_trainer.run import files
from finetune_trainer.run.context import Run
from finetune_trainer.run.gang import Gang
from finetune_trainer.run.handoff import FITTED, Fitted
from finetune_trainer.run.history import HISTORY, Row, append, read
from finetune_trainer.run.signals import Signals

from tests.trainer.fit.test_stage import (
    assert_same_bits,
    best_params,
    epochs_in_history,
    reported_epochs,
    stop_after,
)
from tests.trainer.support.networks import Reports, make_run, write_records

TRAIN = [0, 1, 2] * 10
VALIDATION = [0, 1, 2] * 3
RARE = [0] * 20 + [1] * 20 + [2]
PATIENT = {"recipe": "auto", "timeBudgetSeconds": 3600}
COMMON: dict[str, Any] = {"train": TRAIN, "validation": VALIDATION, "training": PATIENT}
HURRIED = {"recipe": "auto", "timeBudgetSeconds": 44}


def fitted(run: Run) -> Fitted:
    fit(run)
    return files.read_json(run.paths.job / FITTED, Fitted)


def test_every_class_is_spread_over_all_folds() -> None:
    labels = np.array([0] * 50 + [1] * 7 + [2] * 20)
    fold = folds(labels, seed=3)
    for label, least in ((0, 10), (1, 1), (2, 4)):
        counts = np.bincount(fold[labels == label], minlength=FOLDS)
        assert counts.min() >= least
        assert counts.max() <= least + 1
    assert np.array_equal(fold, folds(labels, seed=3))
    assert not np.array_equal(fold, folds(labels, seed=4))


@pytest.mark.parametrize(
    ("gained", "lost", "better"),
    [(0, 0, False), (4, 0, False), (5, 0, True), (8, 3, False), (12, 3, True), (3, 12, False)],
)
def test_better_is_by_more_than_chance(gained: int, lost: int, better: bool) -> None:
    correct = np.array([True] * gained + [False] * lost + [True, False] * 9)
    others = np.array([False] * gained + [True] * lost + [True, False] * 9)
    assert is_better(correct, others) == better


def test_auto_compares_weight_decays_and_deeper_recipes_and_gives_their_results(
    tmp_path: Path,
) -> None:
    run, _ = make_run(tmp_path, train=TRAIN, validation=VALIDATION, training=PATIENT)
    found = fitted(run)
    assert found.reason.startswith("auto: weight decay ")
    assert "of 5 by cross-validation, " in found.reason
    assert "of the images classified correctly; last blocks classifies " in found.reason
    assert "progressive classifies " in found.reason
    assert "of 6 held-out images correctly, " in found.reason


def test_auto_in_a_hurry_compares_weight_decays_alone(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, train=TRAIN, validation=VALIDATION, training=HURRIED)
    found = fitted(run)
    assert found.recipe == "features"
    assert "last blocks" not in found.reason


def test_auto_in_a_gang_is_the_head_alone(tmp_path: Path) -> None:
    """The followers do not wait for a recipe that the leader has chosen."""
    run, _ = make_run(tmp_path, train=TRAIN, validation=VALIDATION, training=PATIENT)
    found = fitted(dataclasses.replace(run, gang=Gang(nodes=2)))
    assert found.recipe == "features"
    assert found.reason.startswith("auto: weight decay ")
    assert "held-out" not in found.reason


@pytest.mark.parametrize(
    ("share", "reason"),
    [
        ("DECAYS_SHARE", "auto: no time to compare weight decays"),
        ("TRIAL_SHARE", "; no time for last blocks"),
    ],
)
def test_auto_that_runs_out_of_time_keeps_the_head_that_it_has(
    share: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(trials, share, 0)
    run, _ = make_run(tmp_path, train=TRAIN, validation=VALIDATION, training=PATIENT)
    chosen = chosen_in(run)
    assert chosen.name == "features"
    assert chosen.reason.endswith(reason)


def test_auto_without_last_blocks_still_tries_all_layers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(materials, "CACHED_BYTES", 1000)
    run, _ = make_run(tmp_path, train=TRAIN, validation=VALIDATION, training=PATIENT)
    found = fitted(run)
    assert "last blocks left out, 0 MiB of activations are more than 0 MiB" in found.reason
    assert "progressive classifies " in found.reason


def test_validation_images_choose_nothing(tmp_path: Path) -> None:
    common: dict[str, Any] = {"train": TRAIN, "training": PATIENT}
    run, _ = make_run(tmp_path / "right", validation=VALIDATION, **common)
    fit(run)
    other, _ = make_run(tmp_path / "wrong", validation=VALIDATION, **common)
    wrong = [(label + 1) % 3 for label in VALIDATION]
    write_records(other.paths.workspace / "packed" / "val.rec", wrong, seed=99)
    fit(other)
    left, right = (files.read_json(r.paths.job / CHOSEN, Chosen).recipe for r in (run, other))
    assert left == right
    assert_same_bits(best_params(run), best_params(other))


def test_a_resumed_fit_keeps_the_chosen_recipe(tmp_path: Path) -> None:
    common: dict[str, Any] = {"train": TRAIN, "validation": VALIDATION, "training": PATIENT}
    straight, _ = make_run(tmp_path / "straight", **common)
    fit(straight)
    interrupted, reports = make_run(tmp_path / "interrupted", **common)
    epochs = files.read_json(straight.paths.job / FITTED, Fitted).epochs
    stop_after(reports, max(1, epochs // 4))
    with pytest.raises(TrainerError, match="stopped"):
        fit(interrupted)
    chosen = (interrupted.paths.job / CHOSEN).stat().st_mtime_ns
    fit(interrupted)
    assert (interrupted.paths.job / CHOSEN).stat().st_mtime_ns == chosen
    assert_same_bits(best_params(straight), best_params(interrupted))


def test_auto_makes_no_trials_with_few_images(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, train=[0, 1, 2] * 8, validation=VALIDATION, training=PATIENT)
    found = fitted(run)
    assert found.reason == "auto: fewer than 25 training images are too few for trials"


def test_auto_makes_trials_even_with_a_rare_class(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, train=RARE, validation=VALIDATION, training=PATIENT)
    assert "of 5 by cross-validation, " in fitted(run).reason


def chosen_in(run: Run, *, seconds: float = 3600) -> Any:
    """Return the choice of `auto`."""
    head = recipes.choose(run.job.training, gpus=0)
    with Signals() as signals:
        return trials.choose(Materials.of(run, head, signals), head, budget_seconds=seconds)


def test_features_are_extracted_even_without_time_for_trials(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, train=TRAIN, validation=VALIDATION, training=PATIENT)
    assert chosen_in(run, seconds=0).reason == "auto: no time to compare weight decays"
    assert len(list((tmp_path / "packed" / "features").iterdir())) == 1


@pytest.fixture
def _report_all(monkeypatch: pytest.MonkeyPatch) -> None:
    """Report each batch, so that each trial is reported."""
    monkeypatch.setattr(fit_progress, "INTERVAL_SECONDS", 0)


def during_trial(reports: Reports, name: str, do: Callable[[], None]) -> None:
    """Call `do` whenever a trial of the recipe reports something."""

    def watch(line: dict[str, Any]) -> None:
        if line.get("note", "").startswith(f"trying {name}: "):
            do()

    reports.watch = watch


def stop() -> None:
    """Ask this process to stop, as the kubelet does."""
    os.kill(os.getpid(), signal.SIGTERM)


def trials_in(lines: list[dict[str, Any]]) -> list[str]:
    """Return the trials that were reported, in their order."""
    purposes = [line["note"].partition(": ")[0] for line in lines if ": " in line.get("note", "")]
    return [purpose for purpose, _ in itertools.groupby(purposes)]


@pytest.mark.usefixtures("_report_all")
def test_an_attempt_that_follows_goes_on_with_the_trials_that_are_done(tmp_path: Path) -> None:
    straight, _ = make_run(tmp_path / "straight", **COMMON)
    wanted = chosen_in(straight)
    run, reports = make_run(tmp_path / "interrupted", **COMMON)
    during_trial(reports, "progressive", stop)
    with pytest.raises(TrainerError, match="stopped"):
        chosen_in(run)
    reports.watch = lambda line: None
    before = len(reports.lines)
    assert chosen_in(run) == wanted
    assert chosen_in(run) == wanted
    assert trials_in(reports.lines[before:]) == ["trying progressive", "trying full"]


@pytest.mark.usefixtures("_report_all")
def test_a_trial_that_is_lost_twice_with_its_pod_is_given_up(tmp_path: Path) -> None:
    run, reports = make_run(tmp_path, **COMMON)
    path = run.paths.job / TRIALS
    known: list[bytes] = []

    def lose_the_pod() -> None:
        known.append(path.read_bytes())
        raise KeyboardInterrupt

    during_trial(reports, "progressive", lose_the_pod)
    for _ in range(2):
        with pytest.raises(KeyboardInterrupt):
            chosen_in(run)
        path.write_bytes(known[-1])  # as a killed pod leaves it
    reason = chosen_in(run).reason
    assert reason.endswith("; lost 2 times with its pod, no more time for progressive")


@pytest.mark.usefixtures("_report_all")
def test_a_trial_may_be_interrupted_more_often(tmp_path: Path) -> None:
    run, reports = make_run(tmp_path, **COMMON)
    during_trial(reports, "progressive", stop)
    for _ in range(3):
        with pytest.raises(TrainerError, match="stopped"):
            chosen_in(run)
    reports.watch = lambda line: None
    assert "; progressive classifies " in chosen_in(run).reason


@pytest.mark.usefixtures("_report_all")
def test_the_budget_is_that_of_all_attempts(tmp_path: Path) -> None:
    run, reports = make_run(tmp_path, **COMMON)
    during_trial(reports, "last blocks", stop)
    began = time.monotonic()
    with pytest.raises(TrainerError, match="stopped"):
        chosen_in(run)
    reports.watch = lambda line: None
    passed = time.monotonic() - began
    known = files.read_json(run.paths.job / TRIALS, Trials)
    assert passed - 1 < known.spent <= passed
    spent = msgspec.structs.replace(known, spent=3600)
    files.write_json(run.paths.job / TRIALS, spent)
    assert chosen_in(run).reason.endswith("; no time for last blocks")


@pytest.mark.usefixtures("_report_all")
@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (
            TrainerError(ExitCode.Diverged, "the loss is NaN"),
            "features, which the recipe starts from: the loss is NaN",
        ),
        (
            mx.MXNetError("cudaMalloc retry failed: out of memory"),
            "the GPU has too little memory for the recipe features, even for one image a batch",
        ),
    ],
)
def test_a_trial_that_fails_is_left_out(error: Exception, reason: str, tmp_path: Path) -> None:
    run, reports = make_run(tmp_path, **COMMON)

    def fail() -> None:
        raise error

    during_trial(reports, "progressive", fail)
    assert f"; progressive left out, {reason}" in chosen_in(run).reason


def test_a_full_disk_costs_the_trial_that_needs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, _ = make_run(tmp_path, **COMMON)

    def on_a_full_disk(record: Path, held_out: Any, directory: Path) -> Any:
        directory.mkdir()
        (directory / "train.rec").symlink_to("/dev/full")
        return split_records(record, held_out, directory)

    monkeypatch.setattr(materials, "split_records", on_a_full_disk)
    assert "; progressive left out, No space is left for" in chosen_in(run).reason
    assert not (run.paths.job / "held-out").exists()


@pytest.mark.usefixtures("_report_all")
def test_a_trial_that_cannot_end_in_time_is_not_begun(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run, reports = make_run(tmp_path, **COMMON)
    longer = {"full": 1e9}
    monkeypatch.setattr(materials, "units", lambda recipe, data: longer.get(recipe.name, 1.0))
    assert chosen_in(run).reason.endswith("; no time for full")
    decays = [f"comparing weight decays, {number} of 5" for number in range(1, 6)]
    assert trials_in(reports.lines) == [*decays, "trying last blocks", "trying progressive"]


def test_shuffled_labels_have_the_accuracy_of_chance_by_cross_validation(tmp_path: Path) -> None:
    """The accuracy by cross-validation is as honest as the result's."""
    labels = list(np.random.default_rng(0).permutation(TRAIN * 4))
    training = PATIENT | {"epochs": 40}
    run, _ = make_run(tmp_path, train=TRAIN * 4, validation=VALIDATION, training=training)
    rewrite_labels(tmp_path / "packed" / "train.rec", labels)
    found = fitted(run)
    share = float(found.reason.split("cross-validation, ")[1].split("%")[0]) / 100
    assert abs(share - 1 / 3) < 4 * (2 / 9 / len(labels)) ** 0.5


@pytest.mark.parametrize(
    ("accuracies", "limits", "epochs", "best"),
    [
        ((0.5, 0.6, 0.6, 0.6, 0.7), {"patience": 2, "min_epochs": 1}, 4, 2),
        ((0.5, 0.6, 0.6, 0.7, 0.7, 0.7), {"patience": 2, "min_epochs": 5}, 6, 4),
        ((0.5, 0.6, 0.6, 0.6, 0.7, 0.7), {"patience": 1, "min_epochs": 6}, 6, 5),
        ((0.5, 0.51, 0.52, 0.9), {"patience": 2, "min_epochs": 1, "tolerance": "0.1"}, 3, 1),
        ((0.0, 0.0, 0.1), {"patience": 9, "min_epochs": 1}, 3, 3),
    ],
)
def test_patience_waits_for_a_better_epoch(
    accuracies: tuple[float, ...], limits: dict[str, Any], epochs: int, best: int
) -> None:
    patience = Patience(EarlyStopping(**limits))
    epoch = 0
    while not patience.is_over and epoch < len(accuracies):
        epoch += 1
        patience.add(epoch, accuracies[epoch - 1])
    assert (epoch, patience.best_epoch) == (epochs, best)


@pytest.mark.parametrize("before", range(7))
def test_patience_that_reads_earlier_epochs_from_the_history_ends_the_same(
    before: int, tmp_path: Path
) -> None:
    accuracies = [correct / 42 for correct in (20, 30, 35, 35, 35, 35, 35, 34)]
    patience = Patience(EarlyStopping(patience=3, min_epochs=1))
    for epoch, accuracy in enumerate(accuracies[:before], start=1):
        append(tmp_path / HISTORY, Row(epoch, 0.0, 0.0, accuracy, 0.0))
    patience.resume(read(tmp_path / HISTORY))
    epoch = before
    while not patience.is_over:
        epoch += 1
        patience.add(epoch, accuracies[epoch - 1])
    assert (epoch, patience.best_epoch) == (max(before, 6), 3)


STOPPING = {
    "recipe": "full",
    "epochs": 8,
    "batchSizePerDevice": 8,
    "earlyStopping": {"patience": 2, "minEpochs": 3},
}


def test_the_last_epoch_is_found_on_held_out_images_and_all_are_trained_for_so_long(
    tmp_path: Path,
) -> None:
    common: dict[str, Any] = {"train": TRAIN, "training": STOPPING}
    run, reports = make_run(tmp_path / "right", validation=VALIDATION, **common)
    found = fitted(run)
    assert f"early stopping: after epoch {found.epochs} of 8, " in found.reason
    assert [row.epoch for row in read(run.paths.job / HISTORY)] == [*range(1, found.epochs + 1)]
    saved = [line["checkpoint"]["epoch"] for line in reports.lines if "checkpoint" in line]
    assert [epoch for epoch in saved if epoch] == [*range(1, found.epochs + 1)]
    assert reported_epochs(reports.lines) == epochs_in_history(run)  # none of the trial
    assert not (run.paths.job / "trial").exists()
    assert not (run.paths.job / "held-out").exists()
    other, _ = make_run(tmp_path / "wrong", validation=VALIDATION, **common)
    wrong = [(label + 1) % 3 for label in VALIDATION]
    write_records(other.paths.workspace / "packed" / "val.rec", wrong, seed=99)
    fit(other)
    assert_same_bits(best_params(run), best_params(other))


@pytest.mark.parametrize("epoch", [1, 2])
def test_a_trial_that_was_stopped_goes_on_and_finds_the_same(tmp_path: Path, epoch: int) -> None:
    common: dict[str, Any] = {"train": TRAIN, "validation": VALIDATION, "training": STOPPING}
    straight, _ = make_run(tmp_path / "straight", **common)
    fit(straight)
    interrupted, reports = make_run(tmp_path / "interrupted", **common)
    stop_at(reports, f"finding the last epoch: epoch {epoch} of 8")
    with pytest.raises(TrainerError, match="stopped"):
        fit(interrupted)
    assert (interrupted.paths.job / "trial" / "checkpoints").exists()
    assert not (interrupted.paths.job / CHOSEN).exists()
    fit(interrupted)
    left, right = (files.read_json(r.paths.job / CHOSEN, Chosen) for r in (straight, interrupted))
    assert left == right
    assert_same_bits(best_params(straight), best_params(interrupted))


def test_few_images_are_trained_for_all_epochs(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, train=[0, 1, 2] * 8, validation=VALIDATION, training=STOPPING)
    found = fitted(run)
    assert found.epochs == 8
    assert found.reason.endswith(
        "stopping: none, fewer than 25 training images are too few for trials"
    )


def test_a_resumed_fit_of_the_chosen_recipe_reports_the_right_progress(tmp_path: Path) -> None:
    run, reports = make_run(tmp_path, **COMMON | {"training": STOPPING})
    recipe = recipes.choose(run.job.training, gpus=0)
    with Signals() as signals:
        stopped = dataclasses.replace(recipe, stop_after=4)
        choose_recipe.record_choice(Materials.of(run, recipe, signals), recipe, stopped)
    stop_after(reports, 2)
    with pytest.raises(TrainerError, match="stopped"):
        fit(run)
    before = len(reports.lines)
    assert fitted(run).epochs == 4
    fractions = [line["fraction"] for line in reports.lines[before:] if line.get("fraction")]
    assert 0.5 <= fractions[0] <= 0.8
    assert fractions == sorted(fractions)
    assert fractions[-1] == pytest.approx(1)


def test_a_gang_does_not_stop_early(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, train=TRAIN, validation=VALIDATION, training=STOPPING)
    with pytest.raises(
        TrainerError, match=r"earlyStopping is set, but trainer.numNodes is more than 1"
    ):
        fit(dataclasses.replace(run, gang=Gang(nodes=2)))


def stop_at(reports: Reports, note: str) -> None:
    """Ask this process to stop, once, when it reports this note."""

    def watch(line: dict[str, Any]) -> None:
        if line.get("note") == note:
            reports.watch = lambda line: None
            os.kill(os.getpid(), signal.SIGTERM)

    reports.watch = watch


def rewrite_labels(record: Path, labels: list[int]) -> None:
    """Give the images of a record file other labels."""
    index = record.with_suffix(".idx")
    source = mx.recordio.MXIndexedRecordIO(str(index), str(record), "r")
    items = [mx.recordio.unpack(source.read_idx(key)) for key in source.keys]
    source.close()
    target = mx.recordio.MXIndexedRecordIO(str(index), str(record), "w")
    for key, ((_, image), label) in enumerate(zip(items, labels, strict=True)):
        header = mx.recordio.IRHeader(0, float(label), key, 0)
        target.write_idx(key, mx.recordio.pack(header, image))
    target.close()
