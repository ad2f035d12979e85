"""A job that starts from the model of an earlier one: known classes keep their rows, to the bit."""

import dataclasses
import io
import json
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import mxnet as mx
import numpy as np
import pytest
from finetune_trainer.contract import ExitCode, Model, Source, TrainerError, Training
from finetune_trainer.export.stage import export
from finetune_trainer.fetch import check_and_fetch
from finetune_trainer.fit.learner import INITIALIZERS
from finetune_trainer.fit.stage import fit
from finetune_trainer.model import origin
from finetune_trainer.model.known_rows import KNOWN_ROWS, save_known_rows, shifted, with_known_rows
from finetune_trainer.model.network import Network, load, load_params
from finetune_trainer.model.stage import build
from finetune_trainer.model.surgery import replace_head
from finetune_trainer.run import files
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import BUILT, FITTED, Built, Fitted
from finetune_trainer.storage import web_source

from tests.servers import s3, web
from tests.trainer.export.test_stage import fitted_run
from tests.trainer.support.networks import MEAN, SIZE, STD, make_run, random_params, small_network

OLD = ("class-2", "class-0")
"""The classes of the earlier model; the new job has class-0 to class-3."""
TRAIN = [0, 1, 2, 3] * 4


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_source, "PAUSES_SECONDS", (0.01,))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


@pytest.fixture
def earlier(tmp_path: Path) -> Path:
    """The output of an earlier job, on a claim."""
    root = tmp_path / "before"
    run = fitted_run(root, output=f"file://{tmp_path}/claims/models", uid="uid-0")
    best = Path(files.read_json(run.paths.job / FITTED, Fitted).directory)
    (best / "labels.txt").write_text("".join(f"{name}\n" for name in OLD))
    export(run)
    return tmp_path / "claims/models/flowers/uid-0"


def run_from(
    tmp_path: Path, uri: str = "pvc://models/flowers/uid-0", *, model: Any = None, **training: Any
) -> Run:
    settings = {"recipe": "features"} | training
    run, _ = make_run(tmp_path, train=TRAIN, validation=TRAIN[:4], training=settings)
    source = {"resumeFrom": {"uri": uri} if isinstance(uri, str) else uri}
    job = msgspec.structs.replace(
        run.job,
        model=msgspec.convert(model or {}, Model),
        training=msgspec.convert(settings | source, Training),
    )
    return dataclasses.replace(run, job=job)


def parameters(earlier: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    return load_params(earlier / "model-0000.params")


def built(run: Run) -> Built:
    build(run)
    return files.read_json(run.paths.job / BUILT, Built)


def known_rows(result: Built) -> dict[str, Any]:
    rows = mx.nd.load(str(Path(result.directory) / KNOWN_ROWS))
    return {name: value.asnumpy() for name, value in rows.items()}


@pytest.mark.parametrize("of", ["/uid-0", ""], ids=["the model", "the newest"])
def test_known_classes_keep_their_rows_and_the_trunk_stays_as_it_is(
    of: str, earlier: Path, tmp_path: Path
) -> None:
    result = built(run_from(tmp_path, f"pvc://models/flowers{of}"))
    args, aux = parameters(earlier)
    rows = known_rows(result)
    for leaf in ("weight", "bias"):
        old = args[f"fc1_{leaf}"].asnumpy()
        assert np.array_equal(rows[leaf][[2, 0]], old)
        assert np.isnan(rows[leaf][[1, 3]]).all()
    network = load(Path(result.directory))
    assert args.keys() - network.args.keys() == {"fc1_weight", "fc1_bias"}
    assert network.symbol.infer_shape(data=(1, 3, SIZE, SIZE))[1] == [(1, 4)]
    for name, value in (network.args | network.aux).items():
        assert np.array_equal(value.asnumpy(), (args | aux)[name].asnumpy()), name
    assert (result.input_size, result.mean, result.std) == (SIZE, MEAN, STD)
    assert (result.status.name, result.status.head) == ("flowers", "fc1")
    assert result.status.sha256 == files.sha256_of(earlier / "model-0000.params")


def test_all_attempts_start_from_the_newest_model_at_the_first_attempt(
    earlier: Path, tmp_path: Path
) -> None:
    run = run_from(tmp_path, "pvc://models/flowers")
    first = built(run)
    other = shutil.copytree(earlier, earlier.with_name("uid-9"))
    (other / "manifest.json").unlink()
    latest = earlier.parent / "latest.json"
    latest.write_text(latest.read_text().replace("uid-0", "uid-9"))
    assert built(run) == first
    shutil.rmtree(run.paths.job)
    with pytest.raises(TrainerError, match="flowers/uid-9 is no model of a FineTuneJob"):
        built(run_from(tmp_path, "pvc://models/flowers"))


def test_of_a_bucket_only_the_newest_model_is_fetched(
    earlier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(earlier, earlier.with_name("uid-older"))
    with s3.serve(tmp_path / "buckets") as server:
        server.give(monkeypatch, "RESUME_")
        server.upload(earlier.parent, "s3://models/flowers")
        run = run_from(tmp_path, "s3://models/flowers/")
        result = built(run)
    assert result.status.sha256 == files.sha256_of(earlier / "model-0000.params")
    fetched = [path.name for path in (run.paths.workspace / "fetched").rglob("*.params")]
    assert fetched == ["model-0000.params"]


@pytest.mark.parametrize("recipe", ["features", "tutorial"])
def test_the_fit_starts_from_the_known_rows(recipe: str, earlier: Path, tmp_path: Path) -> None:
    """With a learning rate of almost 0 it also ends there."""
    optimizer = {"learningRate": "0.000000001"}
    run = run_from(tmp_path, recipe=recipe, epochs=1, optimizer=optimizer)
    build(run)
    fit(run)
    fitted = load(Path(files.read_json(run.paths.job / FITTED, Fitted).directory))
    args, _ = parameters(earlier)
    weight, old = fitted.args["fc1_weight"].asnumpy(), args["fc1_weight"].asnumpy()
    np.testing.assert_allclose(weight[[2, 0]], old, atol=1e-5)
    assert np.allclose(weight[[1, 3]], 0, atol=1e-5) == (recipe == "features")


def test_rows_of_new_classes_come_from_the_initializer_and_the_seed(
    earlier: Path, tmp_path: Path
) -> None:
    result = built(run_from(tmp_path))
    directory = Path(result.directory)
    network = load(directory)
    first, again, other = (
        with_known_rows(network, directory, INITIALIZERS["xavier"], seed=seed) for seed in (1, 1, 2)
    )
    weights = [each.args["fc1_weight"].asnumpy() for each in (first, again, other)]
    assert np.array_equal(weights[0], weights[1])
    assert (weights[0] != weights[2]).any(axis=1).tolist() == [False, True, False, True]
    assert first.args["fc1_bias"].asnumpy()[[1, 3]].tolist() == [0.0, 0.0]


def test_a_head_on_shifted_features_gives_the_same_outputs() -> None:
    symbol = small_network(3).symbol
    network = Network(symbol, *random_params(symbol, seed=1))
    random = np.random.default_rng(0)
    features = random.normal(3, 2, (5, 8)).astype(np.float32)
    mean, scale = features.mean(axis=0), 2.5
    weight, bias = (network.args[f"fc1_{leaf}"].asnumpy() for leaf in ("weight", "bias"))
    start = shifted(network, mean=mean, scale=scale)
    moved = (features - mean) / scale @ start["fc1_weight"].asnumpy().T
    np.testing.assert_allclose(
        moved + start["fc1_bias"].asnumpy(), features @ weight.T + bias, rtol=1e-4, atol=1e-5
    )
    assert shifted(small_network(3), mean=mean, scale=scale) == {}


def test_labels_and_last_layer_must_have_the_same_classes(tmp_path: Path) -> None:
    symbol = small_network(2).symbol
    before = Network(symbol, *random_params(symbol, seed=1))
    surgery = replace_head(before, 4)
    with pytest.raises(TrainerError, match=r"labels.txt names 3 classes, but the last layer is"):
        save_known_rows(tmp_path, before, surgery, old=("a", "b", "c"), new=("a",))


def packed(folder: Path) -> bytes:
    content = io.BytesIO()
    with tarfile.open(fileobj=content, mode="w:gz") as archive:
        archive.add(folder, folder.name)
    return content.getvalue()


def test_an_archive_behind_a_login_is_fetched_with_its_own_secret(
    earlier: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with web.serve(packed(earlier)) as site:
        site.authorization = "Bearer right"
        run = run_from(tmp_path)
        source = Source(uri=site.url, sha256=site.sha256)
        training = msgspec.structs.replace(run.job.training, resume_from=source)
        run = dataclasses.replace(run, job=msgspec.structs.replace(run.job, training=training))
        with pytest.raises(TrainerError) as error:
            build(run)
        assert error.value.code == ExitCode.PermissionDenied
        assert "training.resumeFrom.secretRef" in error.value.hint
        monkeypatch.setenv("RESUME_TOKEN", "right")
        assert built(run).status.name == "flowers"


def lose_manifest(model: Path) -> None:
    (model / "manifest.json").unlink()


def change_weights(model: Path) -> None:
    path = model / "model-0000.params"
    path.write_bytes(path.read_bytes()[:-1] + b"\1")


def lose_labels(model: Path) -> None:
    (model / "labels.txt").unlink()


def damage_manifest(model: Path) -> None:
    (model / "manifest.json").write_text('{"name": "flo')


def keep_onnx_alone(model: Path) -> None:
    manifest = json.loads((model / "manifest.json").read_text())
    for name in ("model-symbol.json", "model-0000.params"):
        (model / name).unlink()
        del manifest["files"][name]
    (model / "manifest.json").write_text(json.dumps(manifest))


def climb(model: Path) -> None:
    latest = model.parent / "latest.json"
    latest.write_text(json.dumps(json.loads(latest.read_text()) | {"uid": "../other"}))


@pytest.mark.parametrize(
    ("damage", "message", "hint"),
    [
        (lose_manifest, "is no model of a FineTuneJob: it has no manifest.json", "status.output"),
        (
            change_weights,
            "model-0000.params is damaged: it is missing, or its sha256",
            "Copy the whole",
        ),
        (lose_labels, "labels.txt is damaged", "Copy the whole"),
        (damage_manifest, "manifest.json is damaged", "Copy the whole"),
        (keep_onnx_alone, "was written without model-symbol.json", "model.source"),
        (climb, "latest.json is damaged: '../other' is no uid", "Copy the whole"),
    ],
)
def test_an_incomplete_model_is_explained_before_a_photo_is_read(
    damage: Callable[[Path], None], message: str, hint: str, earlier: Path, tmp_path: Path
) -> None:
    damage(earlier)
    uri = "pvc://models/flowers" if damage is climb else "pvc://models/flowers/uid-0"
    with pytest.raises(TrainerError) as error:
        check_and_fetch(run_from(tmp_path, uri))
    assert error.value.code == ExitCode.InvalidData
    assert error.value.message.startswith("training.resumeFrom: ")
    assert message in error.value.message
    assert hint in error.value.hint


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ({"name": "resnet-18"}, "exactly one of model.name, model.source and training.resumeFrom"),
        ({"inputSize": 32}, "network of training.resumeFrom has its own input size"),
        (
            {"replaceAfter": "flatten"},
            "network of training.resumeFrom has its own input size",
        ),
    ],
)
def test_the_earlier_model_is_the_network(
    model: dict[str, Any], message: str, tmp_path: Path
) -> None:
    with pytest.raises(TrainerError, match=message) as error:
        origin.check(run_from(tmp_path, model=model).job)
    assert error.value.code == ExitCode.InvalidSpec


def test_images_must_be_stored_as_large_as_the_earlier_network_needs(
    earlier: Path, tmp_path: Path
) -> None:
    run = run_from(tmp_path)
    image = msgspec.structs.replace(run.job.dataset.image, resize_short=12)
    dataset = msgspec.structs.replace(run.job.dataset, image=image)
    run = dataclasses.replace(run, job=msgspec.structs.replace(run.job, dataset=dataset))
    with pytest.raises(TrainerError, match="takes images of 16 pixels") as error:
        check_and_fetch(run)
    assert error.value.hint == "Remove resizeShort: photos are then stored in 18 pixels."
