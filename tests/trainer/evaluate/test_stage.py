"""Exactness: all reported figures equal a recount with the saved model, image by image."""

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import msgspec
import mxnet as mx
import numpy as np
import pytest
from finetune_trainer.contract import ExitCode, Output, TrainerError
from finetune_trainer.evaluate.metrics import METRICS, Answers, Evaluation, measure, status_metrics
from finetune_trainer.evaluate.scoring import Score, score_all
from finetune_trainer.evaluate.stage import evaluate
from finetune_trainer.fit.stage import fit
from finetune_trainer.model.inference import contexts_of, outputs
from finetune_trainer.model.network import Network, load, load_preprocessing, save
from finetune_trainer.model.reader import Reader
from finetune_trainer.run import files
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import EVALUATION, FITTED, PACKED, Fitted, Packed

from tests.trainer.support.networks import MEAN, SIZE, STD, make_run, write_records
from tests.trainer.support.recount import recount_classes, recount_confusion, recount_figures

TRAIN = [0, 1, 2, 3] * 6
SEVEN = [0, 1, 2, 3, 4, 5, 6]


@pytest.fixture(scope="module")
def fitted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run, _ = make_run(
        tmp_path_factory.mktemp("fitted"),
        train=TRAIN,
        validation=[0, 1, 2, 3] * 7 + [0] * 5,
        training={"recipe": "tutorial", "epochs": 2, "optimizer": {"learningRate": "0.3"}},
    )
    fit(run)
    return run


@pytest.fixture(scope="module")
def seven(tmp_path_factory: pytest.TempPathFactory) -> Run:
    run, _ = make_run(
        tmp_path_factory.mktemp("seven"),
        train=SEVEN * 4,
        validation=SEVEN * 6 + [0, 0, 4],
        training={"recipe": "features", "epochs": 3},
    )
    fit(run)
    return run


def classify_by_mxnet(run: Run, records: Path) -> tuple[list[list[float]], list[int]]:
    """Return probabilities and labels, by MXNet alone and one image at a time."""
    symbol = mx.sym.load(str(run.paths.job / "best/symbol.json"))
    params = mx.nd.load(str(run.paths.job / "best/model.params"))
    module = mx.mod.Module(symbol, label_names=["softmax_label"])
    module.bind([("data", (1, 3, SIZE, SIZE))], [("softmax_label", (1,))], for_training=False)
    module.set_params(
        {k[4:]: v for k, v in params.items() if k.startswith("arg:")},
        {k[4:]: v for k, v in params.items() if k.startswith("aux:")},
    )
    reader = mx.recordio.MXIndexedRecordIO(str(records.with_suffix(".idx")), str(records), "r")
    rows, labels = [], []
    for key in reader.keys:
        header, encoded = mx.recordio.unpack(reader.read_idx(key))
        pixels = mx.image.imdecode(encoded).asnumpy().astype(np.float32)
        top, left = ((n - SIZE) // 2 for n in pixels.shape[:2])
        pixels = (pixels[top : top + SIZE, left : left + SIZE] - MEAN) / STD
        data = mx.nd.array(pixels.transpose(2, 0, 1)[None])
        module.forward(mx.io.DataBatch([data], [mx.nd.zeros(1)]), is_train=False)
        rows.append(module.get_outputs()[0].asnumpy()[0].tolist())
        labels.append(int(header.label))
    return rows, labels


def recount(run: Run, records: Path) -> tuple[int, int, float]:
    """Return the number of correct answers, the number of images, and the sum of the losses."""
    rows, labels = classify_by_mxnet(run, records)
    right = [row[label] for row, label in zip(rows, labels, strict=True)]
    correct = sum(row.index(max(row)) == label for row, label in zip(rows, labels, strict=True))
    return correct, len(rows), -float(np.log(right).sum())


@pytest.mark.parametrize("images", [1, 6, 7, 8, 31, 32, 33])
def test_every_batch_size_and_number_of_devices_gives_the_recount(
    images: int, fitted: Run, tmp_path: Path
) -> None:
    records = tmp_path / "val.rec"
    write_records(records, [number % 4 for number in range(images)], seed=images)
    correct, total, loss = recount(fitted, records)
    best = fitted.paths.job / "best"
    for batch_size in (1, 7, 32):
        for devices in (1, 2, 3):
            reader = Reader.of(records, load_preprocessing(best), batch_size=batch_size, threads=1)
            ours = score_all(load(best), reader.centre(), contexts_of(gpus=0, cpus=devices))
            assert (ours.correct, ours.total) == (correct, total)
            assert ours.loss == pytest.approx(loss, rel=1e-4)


@pytest.mark.parametrize("batch_size", [1, 7, 32])
def test_all_figures_equal_a_recount_image_by_image(batch_size: int, seven: Run) -> None:
    records, best = seven.paths.workspace / "packed/val.rec", seven.paths.job / "best"
    rows, labels = classify_by_mxnet(seven, records)
    for devices in (1, 2, 3):
        reader = Reader.of(records, load_preprocessing(best), batch_size=batch_size, threads=1)
        batches = outputs(load(best), reader.centre(), contexts_of(gpus=0, cpus=devices))
        ours = measure(
            Answers.joined([Answers.of(*batch) for batch in batches]),
            classes=[str(number) for number in SEVEN],
            paths=[str(number) for number in range(len(labels))],
            cross_entropy=0.0,
        )
        for name, value in recount_figures(rows, labels).items():
            assert getattr(ours, name) == pytest.approx(value, abs=1e-5), name
        assert set(ours.confusion) == recount_confusion(rows, labels)
        for number, quotients in recount_classes(rows, labels).items():
            each = ours.classes[number]
            assert (each.precision, each.recall, each.f1) == pytest.approx(quotients)


def test_the_stage_hands_on_all_figures_with_the_paths_of_the_worst_errors(seven: Run) -> None:
    evaluate(seven)
    evaluation = files.read_json(seven.paths.job / EVALUATION, Evaluation)
    rows, labels = classify_by_mxnet(seven, seven.paths.workspace / "packed/val.rec")
    assert evaluation.top5 == pytest.approx(recount_figures(rows, labels)["top5"])
    assert [each.name for each in evaluation.classes] == [f"class-{n}" for n in SEVEN]
    assert evaluation.worst
    for mistake in evaluation.worst:
        assert mistake.path == f"validation-{mistake.record:04}.jpg"
        assert mistake.label == f"class-{labels[mistake.record]}"
        assert mistake.confidence == pytest.approx(max(rows[mistake.record]), abs=1e-5)
    metrics = {each.name: float(each.value) for each in status_metrics(evaluation)}
    assert [*metrics] == [figure.name for figure in METRICS]
    assert metrics["mean-per-class"] == pytest.approx(evaluation.mean_per_class, abs=1e-4)
    assert metrics["accuracy-low"] < metrics["accuracy"] < metrics["accuracy-high"]


def test_onnx_classifies_every_validation_image_if_the_output_wants_it(seven: Run) -> None:
    path = seven.paths.job / "model.onnx"
    evaluate(seven)
    assert files.read_json(seven.paths.job / EVALUATION, Evaluation).onnx is None
    assert not path.exists()
    only, both = Output(uri="file:///out", formats=("mxnet",)), Output(uri="file:///out")
    for output, wanted in ((only, False), (both, True)):
        job = msgspec.structs.replace(seven.job, output=output)
        evaluate(dataclasses.replace(seven, job=job))
        assert path.exists() == wanted
    onnx = files.read_json(seven.paths.job / EVALUATION, Evaluation).onnx
    assert onnx is not None
    assert (onnx.images, onnx.differing, onnx.reason) == (len(SEVEN) * 6 + 3, 0, "")
    assert onnx.max_difference < 1e-5


def test_a_full_gpu_classifies_fewer_images_at_a_time(
    seven: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate(seven)
    before = files.read_json(seven.paths.job / EVALUATION, Evaluation)
    original = mx.mod.Module.forward

    def forward(module: Any, batch: Any, is_train: bool | None = None) -> None:
        if len(batch.data[0]) > 8:
            raise mx.MXNetError("cudaMalloc retry failed: out of memory")
        original(module, batch, is_train)

    monkeypatch.setattr(mx.mod.Module, "forward", forward)
    evaluate(seven)
    after = files.read_json(seven.paths.job / EVALUATION, Evaluation)
    assert after.confusion == before.confusion
    assert after.cross_entropy == pytest.approx(before.cross_entropy, abs=1e-6)


def test_the_stage_reports_the_recount_of_the_saved_model(fitted: Run) -> None:
    evaluate(fitted)
    correct, total, loss = recount(fitted, fitted.paths.workspace / "packed/val.rec")
    evaluation = files.read_json(fitted.paths.job / EVALUATION, Evaluation)
    assert (evaluation.correct, evaluation.images) == (correct, total) == (correct, 33)
    metrics = {metric.name: metric.value for metric in status_metrics(evaluation)}
    assert metrics["accuracy"] == f"{correct / total:.4f}"
    assert float(metrics["cross-entropy"]) == pytest.approx(loss / total, abs=2e-4)
    assert metrics["majority-class"] == f"{12 / 33:.4f}"


def test_the_epoch_that_is_saved_is_the_epoch_that_was_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for recipe in ("tutorial", "features"):
        run, _ = make_run(
            tmp_path / recipe,
            train=TRAIN,
            validation=[0, 1, 2, 3] * 5 + [1],
            training={"recipe": recipe, "epochs": 3, "batchSizePerDevice": 8},
            threads=2,
        )
        caplog.clear()
        fit(run)
        evaluate(run)
        accuracy = files.read_json(run.paths.job / EVALUATION, Evaluation).accuracy
        logged = f"Epoch[2] Validation-accuracy={accuracy:.6f}"
        assert logged in caplog.text


def test_a_label_that_no_class_has_is_refused(fitted: Run, tmp_path: Path) -> None:
    records = tmp_path / "val.rec"
    write_records(records, [0, 1, 4])
    best = fitted.paths.job / "best"
    reader = Reader.of(records, load_preprocessing(best), batch_size=2, threads=1)
    with pytest.raises(TrainerError, match="label 4, but there are 4 classes") as error:
        score_all(load(best), reader.centre(), contexts_of(gpus=0))
    assert error.value.code == ExitCode.InvalidData


def test_a_missing_model_is_an_error_that_names_it(fitted: Run, tmp_path: Path) -> None:
    paths = dataclasses.replace(fitted.paths, job=tmp_path)
    run = dataclasses.replace(fitted, paths=paths)
    for name in ("packed.json", "fitted.json"):
        (tmp_path / name).write_bytes((fitted.paths.job / name).read_bytes())
    missing = Fitted(directory=str(tmp_path / "best"), recipe="tutorial", epochs=1)
    files.write_json(tmp_path / FITTED, missing)
    with pytest.raises((TrainerError, FileNotFoundError), match="best"):
        evaluate(run)


def test_a_nan_loss_is_not_finite() -> None:
    total = Score()
    total.add(np.array([[0.5, 0.5]], np.float32), np.array([1]))
    assert total.is_finite
    broken: Any = np.array([[np.nan, np.nan]], np.float32)
    total.add(broken, np.array([1]))
    assert not total.is_finite


def test_missing_gpus_are_an_error_with_their_number() -> None:
    with pytest.raises(TrainerError, match="2 GPUs were asked for, but MXNet finds 0") as error:
        contexts_of(gpus=2)
    assert error.value.code == ExitCode.UnsupportedHardware


def test_a_model_whose_loss_is_nan_has_no_accuracy(tmp_path: Path) -> None:
    run, _ = make_run(tmp_path, train=[0, 1], validation=[0, 0, 0, 1])
    best = run.paths.job / "best"
    shutil.copytree(run.paths.job / "model", best)
    network = load(best)
    weight, bias = mx.nd.ones((2, 8)) * np.inf, mx.nd.zeros(2)
    save(
        Network(
            network.symbol, network.args | {"fc1_weight": weight, "fc1_bias": bias}, network.aux
        ),
        best,
    )
    files.write_json(
        run.paths.job / FITTED, Fitted(directory=str(best), recipe="tutorial", epochs=1)
    )
    with pytest.raises(TrainerError) as error:
        evaluate(run)
    assert error.value.code == ExitCode.Diverged
    assert not (run.paths.job / EVALUATION).exists()


def test_an_accuracy_over_fewer_images_than_were_packed_is_refused(
    fitted: Run, tmp_path: Path
) -> None:
    job = tmp_path / "job"
    shutil.copytree(fitted.paths.job, job)
    packed = files.read_json(job / PACKED, Packed)
    status = msgspec.structs.replace(packed.status, validation_images=34)
    files.write_json(job / PACKED, msgspec.structs.replace(packed, status=status))
    run = dataclasses.replace(fitted, paths=dataclasses.replace(fitted.paths, job=job))
    with pytest.raises(TrainerError, match="33 of 34") as error:
        evaluate(run)
    assert error.value.code == ExitCode.InvalidData
