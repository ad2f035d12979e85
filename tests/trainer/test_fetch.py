"""A mistake in the spec is reported before a photo is read."""

import dataclasses
from pathlib import Path
from typing import Any

import msgspec
import pytest
from finetune_trainer.contract import ExitCode, Output
from finetune_trainer.fetch import check_and_fetch
from finetune_trainer.run.handoff import FETCHED

from tests.trainer.support.datasets import make_photos, make_run
from tests.trainer.support.pods import make_job, start_pod


@pytest.mark.parametrize(
    ("changes", "code", "words"),
    [
        ({"model": {"name": "resnet-1000"}}, ExitCode.InvalidSpec, "model.name"),
        (
            {"training": {"optimizer": {"name": "adam", "momentum": "0.9"}}},
            ExitCode.InvalidSpec,
            "training.optimizer.momentum",
        ),
        (
            {"dataset": {"split": {"trainPerClass": 3, "trainFraction": "0.5"}}},
            ExitCode.InvalidSpec,
            "dataset.split",
        ),
        ({"output": {"uri": "file:///dev/null/models"}}, ExitCode.OutputNotWritable, "output.uri"),
        ({"output": {"uri": "pvc://models/../x"}}, ExitCode.InvalidSpec, "output.uri"),
    ],
)
def test_a_mistake_ends_the_first_stage(
    tmp_path: Path, changes: dict[str, Any], code: ExitCode, words: str
) -> None:
    source = {"uri": make_photos(tmp_path / "photos", {"cat": 2, "dog": 2}).as_uri()}
    changes["dataset"] = {"source": source} | changes.get("dataset", {})
    pod = start_pod(
        tmp_path,
        job=make_job(**changes),
    )
    assert pod.wait() == code
    assert "stage fetch" in pod.log
    assert "stage prepare" not in pod.log
    assert pod.termination.error is not None
    assert words in pod.termination.error.message


def test_a_good_spec_is_fetched_and_nothing_is_left_in_the_output(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 2, "dog": 2})
    (tmp_path / "claims/models").mkdir(parents=True)
    run = make_run(tmp_path, source={"uri": photos.as_uri()}).run
    job = msgspec.structs.replace(run.job, output=Output(uri="pvc://models/may"))
    run = dataclasses.replace(run, job=job)
    check_and_fetch(run)
    assert (run.paths.job / FETCHED).is_file()
    assert not list((tmp_path / "claims/models").iterdir())
