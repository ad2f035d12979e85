"""The output directory: whole or absent, with true digests and readable errors."""

import errno
import hashlib
import json
import os
import subprocess
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
import pytest
from finetune_trainer.contract import ExitCode, Result, TrainerError
from finetune_trainer.evaluate.metrics import Answers, measure
from finetune_trainer.export.result import report
from finetune_trainer.export.stage import export
from finetune_trainer.model import network
from finetune_trainer.run import files, history, owner
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import EVALUATION, EXPORTED, FITTED, RESULT, Exported, Fitted

from tests.trainer.support.networks import make_run, random_params, small_network

FILES = {
    "model-symbol.json",
    "model-0000.params",
    "labels.txt",
    "preprocessing.json",
    "metrics.json",
    "confusion.csv",
    "report.html",
    "README.md",
}


def fitted_run(root: Path, *, output: str | None, uid: str = "uid-1") -> Run:
    labels = [0, 1] * 3
    run, _ = make_run(root, train=[0, 1], validation=labels, output=output, uid=uid)
    best = run.paths.job / "best"
    best.mkdir()
    symbol = small_network(2).symbol
    network.save(network.Network(symbol, *random_params(symbol, seed=1)), best)
    (best / "labels.txt").write_text("cat\ndog\n")
    preprocessing = run.paths.job / "model/preprocessing.json"
    (best / "preprocessing.json").write_bytes(preprocessing.read_bytes())
    files.write_json(
        run.paths.job / FITTED, Fitted(directory=str(best), recipe="tutorial", epochs=8)
    )
    probabilities = np.array([[0.9, 0.1], [0.2, 0.8]] * 3, np.float32)
    probabilities[-1] = (0.6, 0.4)  # a dog that is taken for a cat
    paths = [f"{number}.jpg" for number in range(len(labels))]
    evaluation = measure(
        Answers.of(probabilities, np.array(labels)),
        classes=("cat", "dog"),
        paths=paths,
        cross_entropy=0.5,
    )
    files.write_json(run.paths.job / EVALUATION, evaluation)
    return run


def read(path: Path) -> Any:
    return json.loads(path.read_text())


def test_the_model_can_be_used_by_mxnet_alone(tmp_path: Path) -> None:
    run = fitted_run(tmp_path, output=f"file://{tmp_path}/out")
    export(run)
    directory = tmp_path / "out/flowers/uid-1"
    module = mx.mod.Module.load(str(directory / "model"), 0, label_names=["softmax_label"])
    module.bind([("data", (1, 3, 16, 16))], [("softmax_label", (1,))], for_training=False)
    module.forward(mx.io.DataBatch([mx.nd.ones((1, 3, 16, 16))], [mx.nd.zeros(1)]))
    assert module.get_outputs()[0].shape == (1, 2)
    assert (directory / "labels.txt").read_text().split() == ["cat", "dog"]
    metrics = read(directory / "metrics.json")
    assert (metrics["accuracy"], metrics["cross-entropy"]) == (0.8333, 0.5)
    assert read(tmp_path / "out/flowers/latest.json")["accuracy"] == 0.8333
    assert metrics["evaluation"]["images"] == 6


def test_the_manifest_and_its_digest_can_be_checked_with_sha256sum(tmp_path: Path) -> None:
    run = fitted_run(tmp_path, output=f"file://{tmp_path}/out")
    export(run)
    directory = tmp_path / "out/flowers/uid-1"
    manifest = read(directory / "manifest.json")
    assert set(manifest["files"]) == FILES
    assert {path.name for path in directory.iterdir()} == FILES | {"manifest.json"}
    summed = subprocess.run(
        ["sha256sum", *sorted(FILES)], cwd=directory, capture_output=True, check=True
    ).stdout
    assert manifest["digest"] == hashlib.sha256(summed).hexdigest()
    status = files.read_json(run.paths.job / EXPORTED, Exported).status
    assert status is not None
    assert status.digest == manifest["digest"]
    assert status.uri == f"file://{tmp_path}/out/flowers/uid-1"


def test_result_has_the_figures_of_the_model_and_of_its_last_epoch(tmp_path: Path) -> None:
    run = fitted_run(tmp_path, output=f"file://{tmp_path}/out")
    for epoch in (1, 2):
        row = history.Row(epoch, 0.75, 0.125, 0.5, 1.0, learning_rate=0.01, images_per_second=9)
        history.append(run.paths.job / history.HISTORY, row)
    export(run)
    report(run)
    metrics = files.read_json(run.paths.job / RESULT, Result).metrics
    found = {metric.name: metric.value for metric in metrics}
    assert (found["epoch"], found["loss"], found["train-accuracy"]) == ("2", "0.125000", "0.750000")
    assert (found["accuracy"], found["learning-rate"]) == ("0.8333", "0.01")
    assert "images-per-second" not in found


def test_a_claims_path_is_below_its_mount(tmp_path: Path) -> None:
    run = fitted_run(tmp_path, output="pvc://models/flowers/may")
    export(run)
    assert (tmp_path / "claims/models/flowers/may/flowers/uid-1/manifest.json").is_file()


def test_latest_points_to_the_newest_and_the_older_model_stays(tmp_path: Path) -> None:
    for uid in ("uid-1", "uid-2"):
        export(fitted_run(tmp_path, output=f"file://{tmp_path}/out", uid=uid))
    parent = tmp_path / "out/flowers"
    assert read(parent / "latest.json")["uid"] == "uid-2"
    assert {path.name for path in parent.iterdir()} == {"uid-1", "uid-2", "latest.json"}


def test_exporting_again_gives_the_same_and_leaves_nothing_beside_it(tmp_path: Path) -> None:
    run = fitted_run(tmp_path, output=f"file://{tmp_path}/out")
    export(run)
    (tmp_path / "out/flowers/.uid-1.killed/uid-1").mkdir(parents=True)
    before = read(tmp_path / "out/flowers/uid-1/manifest.json")
    export(run)
    assert read(tmp_path / "out/flowers/uid-1/manifest.json") == before
    assert {p.name for p in (tmp_path / "out/flowers").iterdir()} == {"uid-1", "latest.json"}


def test_without_an_output_nothing_is_written(tmp_path: Path) -> None:
    run = fitted_run(tmp_path, output=None)
    export(run)
    assert files.read_json(run.paths.job / EXPORTED, Exported) == Exported()


def test_a_run_taken_over_exports_nothing(tmp_path: Path) -> None:
    run = fitted_run(tmp_path, output=f"file://{tmp_path}/out")
    owner.claim(run.paths.job, "pod-2")
    with pytest.raises(TrainerError, match="pod-2"):
        export(run)
    assert list((tmp_path / "out/flowers").iterdir()) == []


def test_an_output_that_cannot_be_written_is_an_error_with_a_hint(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file where a folder must be")
    run = fitted_run(tmp_path, output=f"file://{tmp_path}/out")
    with pytest.raises(TrainerError, match=r"output.uri: .*/out/flowers/uid-1") as error:
        export(run)
    assert error.value.code == ExitCode.OutputNotWritable
    assert error.value.hint


def test_a_full_volume_is_an_error_that_says_so(tmp_path: Path) -> None:
    run = fitted_run(tmp_path, output=f"file://{tmp_path}/out")
    (tmp_path / "out/flowers").mkdir(parents=True)
    # The file that is written last, on a device that is always full.
    os.symlink("/dev/full", tmp_path / f"out/flowers/.latest.json.{os.getpid()}.tmp")
    with pytest.raises(TrainerError, match="No space left") as error:
        export(run)
    assert error.value.code == ExitCode.InputOutputError
    assert "full" in error.value.hint


def test_a_volume_that_fails_for_a_moment_is_an_error_to_retry(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = fitted_run(tmp_path, output=f"file://{tmp_path}/out")

    def stale(*_: object) -> None:
        raise OSError(errno.ESTALE, "Stale file handle", "model.params")

    monkeypatch.setattr(files, "clear_leftovers", stale)
    with pytest.raises(TrainerError, match="Stale file handle") as error:
        export(run)
    assert error.value.code == ExitCode.InputOutputError


@pytest.mark.parametrize("uri", ["gs://bucket/models", "pvc://models/../photos"])
def test_an_output_of_another_kind_is_refused(uri: str, tmp_path: Path) -> None:
    run = fitted_run(tmp_path, output=uri)
    with pytest.raises(TrainerError, match=r"output\.uri") as error:
        export(run)
    assert error.value.code == ExitCode.InvalidSpec
