"""`finetune-trainer report`: the model card in a terminal, once the files are checked."""

import dataclasses
from pathlib import Path

import msgspec
import pytest
from finetune_trainer.cli.main import main
from finetune_trainer.contract import ExitCode
from finetune_trainer.export.stage import export

from tests.trainer.export.test_stage import fitted_run


@pytest.fixture
def model(tmp_path: Path) -> Path:
    export(fitted_run(tmp_path, output=f"file://{tmp_path}/out"))
    return tmp_path / "out/flowers/uid-1"


def test_the_card_is_shown_and_where_the_pictures_are(
    model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(model)]) == ExitCode.Complete
    said = capsys.readouterr().out
    assert "83.3 % of 6 validation images are classified correctly" in " ".join(said.split())
    assert (
        f"8 files, all as the job has written them. Report with pictures: {model}/report.html"
        in said
    )


def test_a_name_in_the_card_is_shown_as_it_is(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    name = "[red]*a* `b` | <b> &amp; $1$ :dog: \\x1b"
    run = fitted_run(tmp_path, output=f"file://{tmp_path}/out")
    export(dataclasses.replace(run, job=msgspec.structs.replace(run.job, name=name)))
    (folder,) = (path.parent for path in (tmp_path / "out").rglob("manifest.json"))
    assert main(["report", str(folder)]) == ExitCode.Complete
    assert name in capsys.readouterr().out


@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_text("other")])
def test_files_that_are_not_those_of_the_job_are_named(
    harm: object, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert callable(harm)
    harm(model / "labels.txt")
    assert main(["report", str(model)]) == ExitCode.InvalidData
    assert (
        "missing or changed since the job has written them: labels.txt" in capsys.readouterr().err
    )


def test_another_folder_is_refused_with_the_field_that_names_the_right_one(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["report", str(tmp_path)]) == ExitCode.InputNotFound
    assert "status.output.uri" in capsys.readouterr().err
