"""The local run: what a user types and sees."""

import dataclasses
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from finetune_trainer.cli.main import main
from finetune_trainer.cli.manifest import read_manifest
from finetune_trainer.cli.run import RunOptions, localize, run_local
from finetune_trainer.contract import ExitCode, TrainerError
from PIL import Image

from tests.trainer.support.pods import wait_until
from tests.trainer.support.small_stages import table

MANIFEST = """\
apiVersion: finetune-operator.dev/v1alpha1
kind: FineTuneJob
metadata: {name: flowers}
spec:
  model: {name: efficientnet-lite0}
  dataset: {source: {uri: "pvc://photos/flowers"}}
  output: {uri: "pvc://models/flowers"}
  trainer: {gpusPerNode: 1}
  backoffLimit: 3
"""


@pytest.fixture
def manifest(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text(MANIFEST)
    return path


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    for name in ("cats", "dogs"):
        (tmp_path / "photos" / name).mkdir(parents=True)
        (tmp_path / "photos" / name / "1.jpg").write_bytes(b"never read")
    return tmp_path / "photos"


def choose(photos: Path, **changes: Path) -> RunOptions:
    where: dict[str, Any] = {
        "manifest": photos.parent / "job.yaml",
        "data": photos,
        "validation_data": None,
        "workspace": photos.parent / "workspace",
        "output": photos.parent / "output",
    }
    return RunOptions(**(where | changes), fresh=False)


def local_command(manifest: Path, photos: Path, *stages: str) -> list[str]:
    where = [manifest, photos, photos.parent / "workspace", photos.parent / "output"]
    return [
        sys.executable,
        "-m",
        "tests.trainer.support.small_stages",
        "run",
        *map(str, where),
        *stages,
    ]


def environment() -> dict[str, str]:
    return os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("model: {name:", "model: {nam:", "spec.model: Object contains unknown field `nam`"),
        ("backoffLimit", "backOffLimit", "spec: Object contains unknown field `backOffLimit`"),
        ('uri: "pvc://p', 'url: "pvc://p', "spec.dataset.source: Object "),
        (
            "  dataset: {source: ",
            "  training: {resumeFrom: ",
            "spec: Object missing required field",
        ),
        ("  backoffLimit: 3", "  training: {epochs: many}", "spec.training.epochs: Expected"),
        ("v1alpha1", "v9", "apiVersion: finetune-operator.dev/v9 is not known"),
        ("FineTuneJob", "FinetuneJob", "has 0 objects of kind FineTuneJob"),
        ("spec:", "spec: {", "is not YAML"),
        ("{name: flowers}", "{}", "metadata.name: a name is required"),
        ("{name: flowers}", "{name: ../../flowers}", "metadata.name: '../../flowers' is not a"),
        ("{name: flowers}", '{name: "a\\n# b"}', "is not a valid name"),
        ("{name: flowers}", "{name: 7}", "metadata.name: 7 is not a valid name"),
        ("{name: flowers}", "{name: a, namespace: [b]}", "metadata.namespace: ['b'] is not"),
        ("spec:", "spec: 7\nother:", "spec: an object is required"),
    ],
)
def test_a_wrong_manifest_is_refused_with_its_field(
    manifest: Path, photos: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, words: str
) -> None:
    manifest.write_text(MANIFEST.replace(old, new))
    assert main(["run", str(manifest), "--data", str(photos)]) == ExitCode.InvalidSpec
    assert words in capsys.readouterr().err


def test_a_manifest_without_a_namespace_is_in_the_default_one(manifest: Path) -> None:
    manifest.write_text(MANIFEST.replace("{name: flowers}", "{name: flowers, namespace: }"))
    assert read_manifest(manifest).namespace == "default"


def test_a_decimal_without_quotes_is_refused_with_the_right_way(manifest: Path) -> None:
    manifest.write_text(MANIFEST.replace("  backoffLimit: 3", "  training: {minAccuracy: 0.77}"))
    with pytest.raises(TrainerError, match=r"spec\.training\.minAccuracy") as error:
        read_manifest(manifest)
    assert 'in quotes, as in "0.77"' in error.value.hint


def test_a_missing_manifest_or_folder_is_named(
    manifest: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["run", "nowhere.yaml"]) == ExitCode.InputNotFound
    assert "nowhere.yaml: No such file" in (error := capsys.readouterr().err)
    assert error.count("nowhere.yaml") == 1
    assert main(["run", str(manifest), "--data", "nowhere"]) == ExitCode.InputNotFound
    assert "--data nowhere does not exist" in capsys.readouterr().err
    assert main(["run", str(manifest)]) == ExitCode.InvalidSpec
    assert "--data PATH" in capsys.readouterr().err


def test_fields_of_the_operator_are_known_and_named(manifest: Path) -> None:
    assert read_manifest(manifest).ignored == ("spec.trainer", "spec.backoffLimit")


def test_folders_take_the_place_of_the_clusters_volumes(manifest: Path, photos: Path) -> None:
    job = localize(read_manifest(manifest), choose(photos))
    assert job.dataset.source.uri == photos.as_uri()
    assert job.output is not None
    assert job.output.uri == (photos.parent / "output").as_uri()
    assert job.output.formats == ("mxnet", "onnx")


def test_the_output_may_be_a_folder_beside_this_one(manifest: Path, photos: Path) -> None:
    job = localize(read_manifest(manifest), choose(photos, output=photos / ".." / "models"))
    assert job.output is not None
    assert job.output.uri == (photos.parent / "models").as_uri()


def test_formats_and_event_file_of_the_output_are_the_manifests(
    manifest: Path, photos: Path
) -> None:
    output = "backoffLimit: 3\n  output: {uri: 's3://b/models', formats: [onnx], tensorboard: true}"
    manifest.write_text(MANIFEST.replace("backoffLimit: 3", output))
    job = localize(read_manifest(manifest), choose(photos))
    assert job.output is not None
    assert (job.output.uri[:8], job.output.formats) == ("file:///", ("onnx",))
    assert job.output.tensorboard


OWN = "model: {source: {uri: pvc://m/r.pth, sha256: 'SHA', architecture: resnet-18}}"


def test_a_file_takes_the_place_of_a_network_on_a_volume(manifest: Path, photos: Path) -> None:
    weights = photos.parent / "weights.pth"
    weights.write_bytes(b"never read")
    own = MANIFEST.replace("model: {name: efficientnet-lite0}", OWN.replace("SHA", "0" * 64))
    manifest.write_text(own)
    job = localize(read_manifest(manifest), choose(photos, model=weights))
    assert job.model.source is not None
    assert job.model.source.uri == weights.as_uri()
    assert (job.model.source.architecture, job.model.source.sha256) == ("resnet-18", "0" * 64)
    weights.write_bytes(b"changed")
    assert localize(read_manifest(manifest), choose(photos, model=weights)).uid != job.uid
    with pytest.raises(TrainerError, match=r"spec.model.source: pvc://m/r.pth is a vol") as error:
        localize(read_manifest(manifest), choose(photos))
    assert "--model PATH" in error.value.hint


def test_a_model_of_the_command_line_needs_its_kind_in_the_manifest(
    manifest: Path, photos: Path
) -> None:
    with pytest.raises(TrainerError, match=r"spec.model.source is not set") as error:
        localize(read_manifest(manifest), choose(photos, model=photos))
    assert error.value.code == ExitCode.InvalidSpec


def test_a_folder_takes_the_place_of_an_earlier_jobs_model(manifest: Path, photos: Path) -> None:
    job = localize(read_manifest(manifest), choose(photos, resume_from=photos))
    assert job.training.resume_from is not None
    assert job.training.resume_from.uri == photos.as_uri()
    training = "backoffLimit: 3\n  training: {resumeFrom: {uri: pvc://models/flowers}}"
    manifest.write_text(MANIFEST.replace("backoffLimit: 3", training))
    with pytest.raises(TrainerError, match=r"spec.training.resumeFrom: pvc://models") as error:
        localize(read_manifest(manifest), choose(photos))
    assert "--resume-from PATH" in error.value.hint


def test_the_same_run_has_the_same_uid_and_another_one_has_not(
    manifest: Path, photos: Path
) -> None:
    def uid(**changes: Path) -> str:
        return localize(read_manifest(manifest), choose(photos, **changes)).uid

    first = uid()
    assert uid() == first
    assert uid(output=photos.parent / "elsewhere") != first
    (photos / "cats" / "2.jpg").write_bytes(b"one more")
    assert uid() != first
    second = uid()
    manifest.write_text(MANIFEST.replace("backoffLimit: 3", "training: {epochs: 3}"))
    assert uid() != second


def test_hidden_files_that_appear_between_two_runs_are_the_same_run(
    manifest: Path, photos: Path
) -> None:
    first = localize(read_manifest(manifest), choose(photos)).uid
    (photos / ".DS_Store").touch()
    (photos / "cats/._1.jpg").touch()
    (photos / "dogs/@eaDir/1.jpg").mkdir(parents=True)
    (photos / "dogs/@eaDir/1.jpg/thumb.jpg").touch()
    assert localize(read_manifest(manifest), choose(photos)).uid == first


def train_a_little(photos: Path) -> str:
    """Run a stage that leaves a checkpoint; return the uid."""
    options = choose(photos)
    uid = localize(read_manifest(options.manifest), options).uid
    assert run_local(options, stages=table("fetch=succeed")) == 0
    (options.workspace / "jobs" / uid / "checkpoints/step-1").mkdir(parents=True, exist_ok=True)
    return uid


def test_other_times_alone_keep_the_checkpoints(
    manifest: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    first = train_a_little(photos)
    os.utime(photos / "cats/1.jpg", (1, 1))
    capfd.readouterr()
    options = choose(photos)
    second = localize(read_manifest(manifest), options).uid
    assert second != first
    assert run_local(options, stages=table("fetch=succeed")) == 0
    said = capfd.readouterr().out
    assert "the files have other times than in the earlier run in" in said
    assert "stage fetch" in said  # the result of other photos is not reported again
    assert (options.workspace / "jobs" / second / "checkpoints/step-1").is_dir()


def change_photo(manifest: Path, photos: Path) -> None:
    (photos / "cats/1.jpg").write_bytes(b"another photo")


def add_photo(manifest: Path, photos: Path) -> None:
    (photos / "cats/2.jpg").write_bytes(b"one more")


def change_manifest(manifest: Path, photos: Path) -> None:
    manifest.write_text(MANIFEST.replace("backoffLimit: 3", "training: {epochs: 3}"))


@pytest.mark.parametrize("change", [change_photo, add_photo, change_manifest])
def test_other_photos_or_settings_start_over_and_it_is_said(
    change: Callable[[Path, Path], None],
    manifest: Path,
    photos: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    first = train_a_little(photos)
    change(manifest, photos)
    capfd.readouterr()
    second = train_a_little(photos)
    jobs = choose(photos).workspace / "jobs"
    assert f"starting over; the earlier run is in {jobs / first}" in capfd.readouterr().out
    assert second != first


def test_a_run_of_another_name_is_no_earlier_run(
    manifest: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    train_a_little(photos)
    manifest.write_text(MANIFEST.replace("{name: flowers}", "{name: birds}"))
    capfd.readouterr()
    train_a_little(photos)
    assert "earlier run" not in capfd.readouterr().out


def test_lines_are_plain_without_a_terminal_and_end_with_the_accuracy(
    manifest: Path, photos: Path
) -> None:
    command = local_command(manifest, photos, "fetch=succeed")
    done = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert "\x1b" not in done.stdout
    assert "ignored without a cluster: spec.trainer, spec.backoffLimit" in done.stdout
    assert done.stdout.endswith("accuracy 0.7500\n")


def test_a_terminal_shows_a_bar_with_stage_note_and_accuracy(manifest: Path, photos: Path) -> None:
    terminal, inner = pty.openpty()
    command = local_command(manifest, photos, "fetch=report_all", "fit=succeed")
    process = subprocess.Popen(
        command,
        stdout=inner,
        stderr=inner,
        env=environment() | {"TERM": "xterm", "COLUMNS": "100"},
    )
    os.close(inner)
    seen = b""

    def shows(*texts: bytes) -> bool:
        nonlocal seen
        seen += os.read(terminal, 65536)
        return all(text in seen for text in texts)

    wait_until(lambda: shows(b"fetch", b"25%", b"epoch 1 of 2", b"accuracy 0.5", b"waiting"))
    process.send_signal(signal.SIGINT)
    wait_until(lambda: shows(b"Run the same command again to resume."))
    assert process.wait(timeout=60) == ExitCode.Interrupted
    os.close(terminal)


def test_ctrl_c_lets_the_stage_save_and_the_next_run_resumes(manifest: Path, photos: Path) -> None:
    command = local_command(manifest, photos, "fetch=save_on_sigterm")
    with subprocess.Popen(
        command, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        while process.stdout.readline() != "waiting\n":
            assert process.poll() is None
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=60)
    assert process.returncode == ExitCode.Interrupted
    assert "Run the same command again to resume." in error
    assert list(photos.parent.glob("workspace/jobs/*/saved"))
    command = local_command(manifest, photos, "fetch=succeed")
    again = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert "resuming an earlier run" in again.stdout


def test_fresh_starts_over(
    manifest: Path, photos: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    for fresh, runs in ((False, True), (False, False), (True, True)):
        options = dataclasses.replace(choose(photos), fresh=fresh)
        assert run_local(options, stages=table("fetch=succeed")) == 0
        assert ("stage fetch" in capfd.readouterr().out) == runs


def paint(directory: Path, *, classes: dict[str, tuple[int, int, int]], count: int) -> None:
    """Make pictures that anyone could tell apart: one colour and pattern for each class."""
    for index, (name, colour) in enumerate(classes.items()):
        (directory / name).mkdir(parents=True)
        for number in range(count):
            picture = Image.new("RGB", (96, 80), colour)
            for x in range(number % 7, 96, 6 + 10 * index):
                picture.paste((255 - colour[0], number * 9 % 256, 80), (x, 0, x + 3, 80))
            picture.save(directory / name / f"{number}.jpg")


def test_a_manifest_is_trained_to_a_model_on_this_machine(tmp_path: Path, manifest: Path) -> None:
    colours = {"blue": (20, 30, 200), "green": (20, 180, 40), "red": (200, 30, 20)}
    paint(tmp_path / "photos", classes=colours, count=10)
    command = [sys.executable, "-m", "finetune_trainer", "run", str(manifest)]
    for option in ("data", "workspace", "output"):
        folder = tmp_path / {"data": "photos"}.get(option, option)
        command += [f"--{option}", str(folder)]
    done = subprocess.run(
        command, env=environment(), capture_output=True, text=True, timeout=300, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    latest = json.loads((tmp_path / "output/flowers/latest.json").read_text())
    accuracy = float(done.stdout.rpartition("accuracy ")[2].split()[0])
    assert accuracy >= 0.8
    metrics = [json.loads(path.read_text()) for path in tmp_path.glob("output/*/*/metrics.json")]
    assert [float(metric["accuracy"]) for metric in metrics] == [accuracy]
    assert latest
    (result,) = (
        json.loads(path.read_text()) for path in tmp_path.glob("workspace/jobs/*/result.json")
    )
    assert float(result["accuracy"]) == accuracy
    assert result["recipe"] == "features"
    assert result["dataset"]["trainImages"] == 24
    assert result["model"]["name"] == "efficientnet-lite0"
    assert result["checkpoint"]["epoch"] > 0
    again = subprocess.run(command, env=environment(), capture_output=True, text=True, check=True)
    assert "has the result of an earlier attempt" in again.stdout
    shutil.rmtree(tmp_path / "output")
    once_more = subprocess.run(
        command, env=environment(), capture_output=True, text=True, check=True
    )
    assert f"accuracy {result['accuracy']}" in once_more.stdout
    assert (tmp_path / "output/flowers/latest.json").is_file()


def test_a_link_to_nowhere_among_the_photos_does_not_end_the_run(
    manifest: Path, photos: Path
) -> None:
    (photos / "cats" / "missing.jpg").symlink_to("/nowhere/cat.jpg")
    assert localize(read_manifest(manifest), choose(photos)).uid


def test_changed_photos_of_a_folder_that_the_manifest_names_are_another_run(
    manifest: Path, photos: Path
) -> None:
    manifest.write_text(MANIFEST.replace("pvc://photos/flowers", photos.as_uri()))
    options = dataclasses.replace(choose(photos), data=None)
    first = localize(read_manifest(manifest), options).uid
    assert localize(read_manifest(manifest), options).uid == first
    (photos / "cats" / "2.jpg").write_bytes(b"one more")
    assert localize(read_manifest(manifest), options).uid != first


def test_validation_photos_of_the_command_line_need_no_field_in_the_manifest(
    manifest: Path, photos: Path
) -> None:
    job = localize(read_manifest(manifest), choose(photos, validation_data=photos / "cats"))
    assert job.dataset.validation_source is not None
    assert job.dataset.validation_source.uri == (photos / "cats").as_uri()


def test_a_workspace_that_cannot_be_made_is_named_before_anything_runs(
    manifest: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (photos.parent / "file").touch()
    workspace = photos.parent / "file" / "workspace"
    code = main(["run", str(manifest), "--data", str(photos), "--workspace", str(workspace)])
    assert code == ExitCode.OutputNotWritable
    assert f"--workspace {workspace}: Not a directory" in capsys.readouterr().err
