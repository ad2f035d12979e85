"""The stage `model`: from the catalogue to a network for the data set's classes."""

import dataclasses
import sys
from pathlib import Path

import msgspec
import numpy as np
import pytest
from finetune_trainer.contract import ExitCode, Model, TrainerError
from finetune_trainer.model import catalogue
from finetune_trainer.model.convert import convert
from finetune_trainer.model.network import load
from finetune_trainer.model.stage import build
from finetune_trainer.run import files
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import BUILT, Built

from tests.trainer.support.networks import Reports, make_run

NAME = "efficientnet-lite0"
(WEIGHTS,) = filter(None, [catalogue.find(NAME).package])


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Run, Reports]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return make_run(tmp_path, train=[0, 1, 2], validation=[0])


def test_a_bundled_network_gets_a_head_for_the_classes(
    run: tuple[Run, Reports], tmp_path: Path
) -> None:
    stage, reports = run
    convert(NAME, stage.paths.models)
    build(stage)
    built = files.read_json(stage.paths.job / BUILT, Built)
    assert (built.features, built.input_size) == ("flatten_output", 224)
    assert (built.mean, built.std) == ((127.0,) * 3, (128.0,) * 3)
    assert (built.status.name, built.status.head) == (NAME, "fc")
    assert built.status.sha256 == WEIGHTS.sha256
    assert reports.lines[-1]["model"]["name"] == NAME
    network, source = load(Path(built.directory)), load(stage.paths.models / NAME)
    assert network.symbol.infer_shape(data=(1, 3, 224, 224))[1] == [(1, 3)]
    assert source.args.keys() - network.args.keys() == {"fc_weight", "fc_bias"}
    for name, value in (network.args | network.aux).items():
        assert np.array_equal(value.asnumpy(), (source.args | source.aux)[name].asnumpy())
    assert not (tmp_path / "cache").exists()


def test_a_local_run_converts_into_the_users_cache_once(
    run: tuple[Run, Reports], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage, _ = run
    build(stage)
    cached = tmp_path / "cache/finetune-operator/models" / NAME
    assert (cached / "model.params").is_file()
    monkeypatch.setitem(sys.modules, WEIGHTS.module, None)
    build(stage)


@pytest.mark.parametrize("model", [Model(), Model(name="resnet-1000")])
def test_the_error_for_an_unknown_model_names_the_catalogue(
    model: Model, run: tuple[Run, Reports]
) -> None:
    stage = dataclasses.replace(run[0], job=msgspec.structs.replace(run[0].job, model=model))
    with pytest.raises(TrainerError, match=r"model.name") as error:
        build(stage)
    assert error.value.code == ExitCode.InvalidSpec
    assert NAME in error.value.hint
