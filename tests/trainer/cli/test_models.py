"""`finetune-trainer models`: the catalogue, and its models as files."""

from pathlib import Path

import pytest
from finetune_trainer.cli.main import main
from finetune_trainer.contract import ExitCode
from finetune_trainer.model.catalogue import entries


@pytest.mark.parametrize("words", [[], ["list"]])
def test_the_catalogue_is_a_table(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["models", *words]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines() if line.strip()}
    for name, entry in entries().items():
        cells = (entry.licence, f"{entry.top1} %", str(entry.input_size), f"{entry.millions} M")
        assert all(each in lines[name] for each in cells)
    assert "in the image" in lines["mobilenet-v2"]
    assert "fetched: 98 MB" in lines["resnet-50"]


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
