import os
import subprocess
import sys
from pathlib import Path

import mxnet as mx
import pytest
from finetune_trainer.cli.main import main
from finetune_trainer.dataset.compose import training_order, validation_order
from finetune_trainer.dataset.lock import read_lock
from PIL import Image

from tests.trainer.support.datasets import draw, make_hostile_photos, make_photos


def packed_directory(workspace: Path) -> Path:
    return next(path for path in (workspace / "packed").iterdir() if path.name != "keys")


def test_prepare_prints_a_table_and_writes_a_contact_sheet(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = make_hostile_photos(tmp_path / "photos")
    draw(77).save(photos / "dog" / "<script>alert(1)</script>.jpg".replace("/", "_"))
    manifest = tmp_path / "job.yaml"
    manifest.write_text(
        "apiVersion: finetune-operator.dev/v1alpha1\nkind: FineTuneJob\nmetadata: {name: a}\n"
        "spec: {model: {name: resnet-18}, dataset: {source: {uri: 'pvc://photos'},"
        " badImages: {maxFraction: '0.5'}}}\n"
    )
    sheet = tmp_path / "sheet.html"
    arguments = ["--data", str(photos), "--workspace", str(tmp_path), "--sheet", str(sheet)]
    assert main(["prepare", str(manifest), *arguments]) == 0
    output = capsys.readouterr().out
    rows = [line.split("\u2502")[1:-1] for line in output.splitlines() if "\u2502" in line]
    assert [[cell.strip() for cell in row] for row in rows][-1][0] == "all"
    assert "empty file" in output
    page = sheet.read_text()
    assert page.count("<img") == 27
    assert "cat/truncated.jpg" in page
    assert "<script" not in page
    assert "http" not in page


def test_prepare_makes_what_the_job_would_make(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 3, "dog": 3})
    manifest = tmp_path / "job.yaml"
    manifest.write_text(
        "apiVersion: finetune-operator.dev/v1alpha1\nkind: FineTuneJob\nmetadata: {name: a}\n"
        "spec: {model: {name: efficientnet-lite1}, dataset: {source: {uri: 'pvc://photos'}},"
        " training: {recipe: tutorial}}\n"
    )
    arguments = ["--data", str(photos), "--workspace", str(tmp_path)]
    assert main(["prepare", str(manifest), *arguments]) == 0
    settings = read_lock(packed_directory(tmp_path)).settings
    assert (settings.framing, settings.resize_short) == ("Crop", 274)


def test_a_refusal_names_the_reason_and_the_remedy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 3})
    assert main(["prepare", "--data", str(photos), "--workspace", str(tmp_path)]) == 65
    assert "at least 2 classes" in capsys.readouterr().err
    assert main(["prepare", "--workspace", str(tmp_path)]) == 64


def test_exact_records_are_those_of_im2rec_byte_for_byte(tmp_path: Path) -> None:
    pytest.importorskip("cv2")
    photos = make_photos(tmp_path / "photos", {"cat": 5, "dog": 5})
    draw(50, size=(900, 1300)).save(photos / "cat/tall.jpg", quality=90)
    draw(51, size=(701, 333)).convert("L").save(photos / "dog/grey.png")
    draw(52, size=(100, 100)).convert("RGBA").save(photos / "dog/alpha.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(53, size=(90, 40)).save(photos / "dog/turned.jpg", exif=exif)
    options = ["--data", str(photos), "--workspace", str(tmp_path), "--exact"]
    assert main(["prepare", *options]) == 0
    packed = packed_directory(tmp_path)
    lock = read_lock(packed)
    script = Path(mx.__file__).parent / "tools/im2rec.py"
    for name, numbers in (("train", training_order(lock)), ("val", validation_order(lock))):
        files = [lock.files[number] for number in numbers]
        rows = (f"{n}\t{file.label:f}\t{file.path}\n" for n, file in enumerate(files))
        (tmp_path / f"{name}.lst").write_text("".join(rows))
        prefix = str(tmp_path / name)
        size = ["--resize", "256", "--quality", "90"]
        command = [sys.executable, str(script), *size, prefix, str(photos)]
        subprocess.run(command, check=True, capture_output=True)
        for suffix in (".rec", ".idx"):
            theirs = Path(prefix + suffix).read_bytes()
            assert (packed / f"{name}{suffix}").read_bytes() == theirs


NAMES = ("cat [old]", "[/b] cats", ":dog: | *x*", "a very long name " * 8 + "1", "=1+1 <b>`")


def cells(output: str) -> list[list[str]]:
    """Return the rows of a table, each folded name as one text."""
    rows: list[list[str]] = []
    for line in output.splitlines():
        found = [cell.strip() for cell in line.split("\u2502")[1:-1]]
        if found and not any(found[1:]):
            rows[-1][0] += " " + found[0]
        elif found:
            rows.append(found)
    return rows


def test_class_names_are_no_markup(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    names = [name.strip() for name in NAMES]
    photos = tmp_path / "photos"
    lines = ["path,label"]
    for number, name in enumerate(names):
        make_photos(photos, {str(number): 3}, seed=100 * number)
        lines += [f'{number}/{index}.jpg,"{name}"' for index in range(3)]
    (photos / "labels.csv").write_text("\n".join(lines))
    assert main(["prepare", "--data", str(photos), "--workspace", str(tmp_path)]) == 0
    rows = cells(capsys.readouterr().out)
    assert [row[0] for row in rows] == [*sorted(names), "all"]


@pytest.mark.parametrize("threads", ["0", "-1", "two", "1.5", ""])
def test_threads_are_a_whole_number_from_1(
    threads: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["prepare", "--data", "photos", "--threads", threads])
    assert f"argument --threads: {threads!r} is not a whole number from 1" in (
        capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("sheet", "words"),
    [("{}", "is a folder; name a file in it"), ("{}/file/sheet.html", "is no folder that can be")],
)
def test_a_sheet_that_cannot_be_written_is_refused_before_the_work(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], sheet: str, words: str
) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(SystemExit, match="2"):
        main(["prepare", "--data", "photos", "--sheet", sheet.format(tmp_path)])
    assert words in capsys.readouterr().err


VOLUMES = (
    "apiVersion: finetune-operator.dev/v1alpha1\nkind: FineTuneJob\nmetadata: {name: a}\n"
    "spec: {dataset: {source: {uri: 'pvc://train'}, validationSource: {uri: 'pvc://val'}}}\n"
)


def test_a_manifest_of_volumes_is_prepared_from_folders(tmp_path: Path) -> None:
    (tmp_path / "job.yaml").write_text(VOLUMES)
    train = make_photos(tmp_path / "train", {"cat": 4, "dog": 4})
    val = make_photos(tmp_path / "val", {"cat": 2, "dog": 2}, seed=50)
    where = ["--data", str(train), "--validation-data", str(val), "--workspace", str(tmp_path)]
    assert main(["prepare", str(tmp_path / "job.yaml"), *where]) == 0
    splits = [file.split for file in read_lock(packed_directory(tmp_path)).files]
    assert (splits.count("train"), splits.count("validation")) == (8, 4)


@pytest.mark.parametrize(
    ("given", "field", "remedy"),
    [
        ([], "spec.dataset.validationSource: pvc://val is a volume", "--validation-data PATH"),
        (["--validation-data", "."], "spec.dataset.source: pvc://train is a vol", "--data PATH"),
    ],
)
def test_a_volume_without_a_folder_is_refused_with_the_option(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    given: list[str],
    field: str,
    remedy: str,
) -> None:
    (tmp_path / "job.yaml").write_text(VOLUMES)
    given = given or ["--data", str(tmp_path)]
    assert main(["prepare", str(tmp_path / "job.yaml"), *given]) == 64
    error = capsys.readouterr().err
    assert field in error
    assert remedy in error


def test_prepare_does_not_load_mxnet(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 4, "dog": 4})
    program = (
        "import sys; from finetune_trainer.cli.main import main;"
        f"main(['prepare', '--data', {str(photos)!r}, '--workspace', {str(tmp_path)!r}]);"
        "sys.exit('mxnet' in sys.modules)"
    )
    command = [sys.executable, "-c", program]
    assert subprocess.run(command, env=os.environ, capture_output=True).returncode == 0
