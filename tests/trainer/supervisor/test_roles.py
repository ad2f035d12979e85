"""The role prepare: a separate pod packs the photos, and the training pod finds them."""

import json
from pathlib import Path
from typing import Any

import pytest
from finetune_trainer.contract import ExitCode
from PIL import Image

from tests.trainer.contract.test_schema import check
from tests.trainer.support.pods import Pod, make_job, start_pod


def write_photos(root: Path) -> None:
    for label, colour in (("cats", "red"), ("dogs", "blue")):
        folder = root / "claims/photos/flowers" / label
        folder.mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (40 + 20 * number, 40), colour).save(folder / f"{number}.png")


def run(root: Path, name: str, *, job: dict[str, Any] | None = None, **environment: str) -> Pod:
    (root / name).mkdir()
    volumes = {
        "FINETUNE_WORKSPACE": str(root / "workspace"),
        "FINETUNE_CLAIMS": str(root / "claims"),
    }
    return start_pod(root / name, job=job, **volumes | environment)


def test_the_role_prepare_packs_and_reports_the_data_set(tmp_path: Path) -> None:
    write_photos(tmp_path)
    pod = run(tmp_path, "prepare", FINETUNE_ROLE="prepare", FINETUNE_NODES="2")
    assert pod.wait() == 0, pod.log
    check("Termination", json.loads(pod.message))
    prepared = pod.termination.prepared
    assert prepared is not None
    assert (prepared.classes, prepared.train_images, prepared.validation_images) == (2, 8, 2)
    assert pod.termination.result is None
    assert pod.termination.error is None
    assert "stage model" not in pod.log
    # Training finds it, whatever dataset.prepare says; here it fails, for there is no model file.
    dataset = make_job()["dataset"] | {"prepare": "Separate"}
    training = run(tmp_path, "train", job=make_job(dataset=dataset), FINETUNE_MODELS="/nowhere")
    training.wait()
    assert f"found packed in the workspace: {prepared.digest}" in training.log
    assert "stage model" in training.log


def test_the_role_prepare_needs_none_of_the_gpus_of_a_training_in_half_precision(
    tmp_path: Path,
) -> None:
    write_photos(tmp_path)
    job = make_job(training={"recipe": "full", "precision": "float16"})
    pod = run(tmp_path, "prepare", job=job, FINETUNE_ROLE="prepare", FINETUNE_GPUS="0")
    assert pod.wait() == 0, pod.log


def test_the_role_prepare_ignores_a_result(tmp_path: Path) -> None:
    write_photos(tmp_path)
    directory = tmp_path / "workspace/jobs" / str(make_job()["uid"])
    directory.mkdir(parents=True)
    (directory / "result.json").write_text('{"accuracy": "0.5000", "recipe": "tutorial"}')
    pod = run(tmp_path, "prepare", FINETUNE_ROLE="prepare")
    assert pod.wait() == 0
    assert pod.termination.prepared is not None
    assert pod.termination.result is None


def test_the_role_prepare_fails_as_the_stages_do(tmp_path: Path) -> None:
    pod = run(tmp_path, "prepare", FINETUNE_ROLE="prepare")
    assert pod.wait() == ExitCode.InputNotFound
    assert pod.termination.prepared is None


@pytest.mark.parametrize("role", ["fit", ""])
def test_an_unknown_role_is_refused(tmp_path: Path, role: str) -> None:
    pod = run(tmp_path, "pod", FINETUNE_ROLE=role)
    assert pod.wait() == ExitCode.InvalidSpec
    assert pod.termination.error is not None
    assert "Use train or prepare" in pod.termination.error.hint
