"""The size of a network's images is known before a photo is packed, and is the built network's."""

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import mxnet as mx
import pytest
from finetune_trainer.contract import ExitCode, Job, TrainerError
from finetune_trainer.dataset.preprocessing import PREPROCESSING, Preprocessing
from finetune_trainer.fetch import check_and_fetch
from finetune_trainer.model.input_size import declared_size
from finetune_trainer.model.stage import build
from finetune_trainer.run import files
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import BUILT, FETCHED, Built, Fetched

from tests.trainer.support.architectures import tutorial_resnet, zoo
from tests.trainer.support.datasets import make_photos
from tests.trainer.support.networks import make_run, random_params
from tests.trainer.support.onnx_files import SIZE, relu_classifier
from tests.trainer.support.reference import resnet_state
from tests.trainer.support.weight_files import pth

NORMALIZATION = {"mean": ["123.68", "116.78", "103.94"], "std": ["58.4", "57.1", "57.4"]}
FOLDER = {"uri": "pvc://networks/imagenet"}


def run_of(root: Path, model: dict[str, Any], **image: Any) -> Run:
    run, _ = make_run(root, train=[0, 1, 2], validation=[0])
    if not (root / "photos").exists():
        make_photos(root / "photos", {"cat": 3, "dog": 3})
    body = msgspec.to_builtins(run.job) | {
        "model": model,
        "dataset": {"source": {"uri": (root / "photos").as_uri()}, "image": image},
    }
    return dataclasses.replace(run, job=msgspec.convert(body, Job))


def write_symbol(claim: Path, *, shape: tuple[int, ...] | None = None) -> None:
    symbol = tutorial_resnet()
    args, aux = random_params(symbol, seed=1, size=64)
    mx.model.save_checkpoint(str(claim / "net"), 0, symbol, args, aux)
    if shape:
        path = claim / "net-symbol.json"
        graph = json.loads(path.read_text())
        data = next(node for node in graph["nodes"] if node["name"] == "data")
        data["attrs"] = {"__shape__": str(shape)}
        path.write_text(json.dumps(graph))


def declare_nothing(claim: Path) -> None:
    write_symbol(claim)


def declare_size(claim: Path) -> None:
    write_symbol(claim, shape=(0, 3, 96, 96))


def export_from_gluon(claim: Path) -> None:
    zoo("resnet18_v1", claim, size=64)


def put_preprocessing_beside(claim: Path) -> None:
    write_symbol(claim, shape=(0, 3, 96, 96))
    beside = Preprocessing(input_size=72, mean=(1.0, 2.0, 3.0), std=(4.0, 5.0, 6.0))
    files.write_json(claim / PREPROCESSING, beside)


def write_onnx(claim: Path) -> None:
    (claim / "net.onnx").write_bytes(relu_classifier())


def write_state_dict(claim: Path) -> None:
    (claim / "net.pth").write_bytes(pth(resnet_state(18, classes=5)))


@pytest.mark.parametrize(
    ("arrange", "model", "size"),
    [
        (declare_nothing, {}, 224),
        (declare_nothing, {"inputSize": 80}, 80),
        (declare_size, {}, 96),
        (declare_size, {"inputSize": 64}, 64),
        (export_from_gluon, {}, 224),
        (put_preprocessing_beside, {}, 72),
        (write_onnx, {}, SIZE),
        (write_state_dict, {"source": FOLDER | {"architecture": "resnet-18"}}, 224),
        (write_state_dict,
         {"source": FOLDER | {"architecture": "resnet-18"}, "inputSize": 128}, 128),
    ],
)  # fmt: skip
def test_the_size_of_the_spec_or_the_files_is_handed_on(
    arrange: Callable[[Path], None], model: dict[str, Any], size: int, claim: Path, tmp_path: Path
) -> None:
    arrange(claim)
    run = run_of(tmp_path, {"source": FOLDER, "normalization": NORMALIZATION} | model)
    check_and_fetch(run)
    assert files.read_json(run.paths.job / FETCHED, Fetched).input_size == size
    build(run)
    assert files.read_json(run.paths.job / BUILT, Built).input_size == size


@pytest.mark.parametrize(
    ("name", "size"), [("efficientnet-lite1", 240), ("efficientnet-lite2", 260)]
)
def test_the_catalogues_size_is_handed_on(name: str, size: int, tmp_path: Path) -> None:
    run = run_of(tmp_path, {"name": name})
    check_and_fetch(run)
    assert files.read_json(run.paths.job / FETCHED, Fetched).input_size == size


def test_photos_that_are_stored_smaller_than_the_files_show_are_refused(
    claim: Path, tmp_path: Path
) -> None:
    declare_size(claim)
    run = run_of(tmp_path, {"source": FOLDER, "normalization": NORMALIZATION}, resizeShort=64)
    with pytest.raises(TrainerError, match=r"takes images of 96 pixels, but .* is 64") as error:
        check_and_fetch(run)
    assert error.value.code == ExitCode.InvalidSpec
    assert error.value.hint == "Remove resizeShort: photos are then stored in 110 pixels."
    check_and_fetch(run_of(tmp_path, {"source": FOLDER, "normalization": NORMALIZATION}))


def test_parameters_that_gluon_declares_are_no_images(tmp_path: Path) -> None:
    zoo("resnet18_v1", tmp_path, size=64)
    path = tmp_path / "resnet18_v1-symbol.json"
    graph = json.loads(path.read_text())
    for node in graph["nodes"]:
        if node["op"] == "null" and node["name"] != "data":
            node["attrs"] = {"__shape__": "(64, 3, 7, 7)"}
    path.write_text(json.dumps(graph))
    assert declared_size(path) == 224
    for node in graph["nodes"]:
        if node["name"] == "data":
            node["attr"] = {"__shape__": "[0, 3, 128, 128]"}  # as MXNet before 1.0 wrote it
    path.write_text(json.dumps(graph))
    assert declared_size(path) == 128


@pytest.mark.parametrize("text", ["", "[]", '{"nodes": 3}', '{"nodes": [{"inputs": [[7, 0]]}]}'])
def test_a_damaged_symbol_is_named(text: str, tmp_path: Path) -> None:
    (tmp_path / "net-symbol.json").write_text(text)
    with pytest.raises(TrainerError, match=r"net-symbol\.json .* cannot be read") as error:
        declared_size(tmp_path / "net-symbol.json")
    assert error.value.code == ExitCode.InvalidData
