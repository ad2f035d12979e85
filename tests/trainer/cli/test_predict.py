"""`finetune-trainer predict` and `evaluate`: they give what the evaluation of the job gave."""

import json
import os
import shutil
import subprocess
import sys
import unicodedata
from pathlib import Path
from typing import Literal

import msgspec
import pytest
from finetune_trainer.cli.main import main
from finetune_trainer.contract import ExitCode
from finetune_trainer.dataset.lock import read_lock
from finetune_trainer.dataset.recordio import read_image, read_offsets
from finetune_trainer.evaluate.classifier import open_classifier
from finetune_trainer.evaluate.metrics import Evaluation
from finetune_trainer.evaluate.onnx_twin import Twin
from finetune_trainer.evaluate.stage import evaluate
from finetune_trainer.model.exported import NAMES
from finetune_trainer.model.network import load, load_preprocessing
from finetune_trainer.run import files
from finetune_trainer.run.context import Run
from finetune_trainer.run.handoff import EVALUATION, PACKED, Packed

from tests.trainer.support.datasets import draw, make_photos, make_tar, prepare_photos
from tests.trainer.support.fitted import leave_fitted
from tests.trainer.support.networks import leave_built

Form = Literal["NFC", "NFD"]
CLASSES = {"cat": 10, "dog": 10, "ox": 10}


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = make_photos(tmp_path_factory.mktemp("photos") / "all", CLASSES)
    # Preparation turns and converts these two: a prediction must do the same.
    exif = draw(77, size=(90, 40)).getexif()
    exif[0x0112] = 6
    draw(77, size=(90, 40)).save(root / "cat/turned.jpg", exif=exif)
    draw(78).quantize(16).save(root / "dog/palette.png")
    return root


@pytest.fixture(scope="module")
def run(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """A run up to the stage evaluate, from photos."""
    workspace = tmp_path_factory.mktemp("workspace")
    run = prepare_photos(workspace, photos, image={"resizeShort": 32}).run
    leave_built(run.paths.job, classes=len(CLASSES))
    leave_fitted(run)
    evaluate(run)
    return run


@pytest.fixture(scope="module")
def model(run: Run, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The model's directory as an output has it."""
    directory = tmp_path_factory.mktemp("model")
    best = run.paths.job / "best"
    for source, name in NAMES.items():
        shutil.copyfile(best / source, directory / name)
    Twin.of(load(best), directory / "model.onnx", load_preprocessing(best), threads=1)
    return directory


def evaluated(run: Run) -> Evaluation:
    return files.read_json(run.paths.job / EVALUATION, Evaluation)


def split_off(run: Run, photos: Path, root: Path) -> Path:
    """Copy the photos of the validation split into folders of their own."""
    packed = files.read_json(run.paths.job / PACKED, Packed)
    for file in read_lock(Path(packed.directory)).files:
        if file.split == "validation":
            target = root / file.path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(photos / file.path, target)
    return root


@pytest.mark.parametrize("kind", ["mxnet", "onnx"])
def test_the_same_photos_give_the_evaluation_of_the_job(
    kind: str,
    run: Run,
    model: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    data = split_off(run, photos, tmp_path / "data")
    assert main(["evaluate", str(model), "--data", str(data), "--format", kind, "--json"]) == 0
    ours = msgspec.json.decode(capsys.readouterr().out, type=Evaluation)
    theirs = evaluated(run)
    assert ours.confusion == theirs.confusion
    assert ours.cross_entropy == pytest.approx(theirs.cross_entropy, abs=1e-4)
    assert ours.calibration_error == pytest.approx(theirs.calibration_error, abs=1e-4)
    assert [m.path for m in ours.worst] == [m.path for m in theirs.worst]
    for one, other in zip(ours.worst, theirs.worst, strict=True):
        assert one.confidence == pytest.approx(other.confidence, abs=1e-4)


def test_pictures_are_stored_as_the_job_has_stored_its_photos(photos: Path, tmp_path: Path) -> None:
    image = {"resizeShort": 32, "jpegQuality": 30}
    run = prepare_photos(tmp_path, photos, image=image).run
    leave_built(run.paths.job, classes=len(CLASSES))
    leave_fitted(run)
    directory = tmp_path / "model"
    directory.mkdir()
    for source, name in NAMES.items():
        shutil.copyfile(run.paths.job / "best" / source, directory / name)
    packed = Path(files.read_json(run.paths.job / PACKED, Packed).directory)
    offset = read_offsets(packed / "val.idx")[0]
    file = next(each for each in read_lock(packed).files if each.split == "validation")
    picture = open_classifier(directory, kind="mxnet", threads=1).read((photos / file.path, None))
    assert picture.jpeg == read_image(packed / "val.rec", offset)


def test_both_formats_give_the_same_predictions(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    outputs = []
    for kind in ("mxnet", "onnx"):
        assert (
            main(["predict", str(model), str(photos), "--top", "3", "--format", kind, "--json"])
            == 0
        )
        outputs.append(json.loads(capsys.readouterr().out))
    assert len(outputs[0]) == sum(CLASSES.values()) + 2
    for one, other in zip(*outputs, strict=True):
        assert one["image"] == other["image"]
        assert [g["label"] for g in one["guesses"]] == [g["label"] for g in other["guesses"]]
        for ours, theirs in zip(one["guesses"], other["guesses"], strict=True):
            assert ours["probability"] == pytest.approx(theirs["probability"], abs=1e-5)
        assert sum(guess["probability"] for guess in one["guesses"]) == pytest.approx(1, abs=1e-5)


def test_onnx_predicts_where_mxnet_is_not_installed(model: Path, photos: Path) -> None:
    program = f"""
import sys
sys.modules["mxnet"] = None
from finetune_trainer.cli.main import main
code = main(["predict", {str(model)!r}, {str(photos / "cat/0.jpg")!r}])
sys.exit(code)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "cat/0.jpg" in done.stdout
    assert "%" in done.stdout


def test_a_picture_that_cannot_be_read_is_named_and_the_others_are_predicted(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = tmp_path / "bad.jpg"
    bad.write_text("no picture")
    good = str(photos / "cat/0.jpg")
    code = main(["predict", str(model), str(bad), good, "--json"])
    assert code == ExitCode.InvalidData
    out, err = capsys.readouterr()
    first, second = json.loads(out)
    assert "not a picture" in first["error"]
    assert second["image"] == good
    assert len(second["guesses"]) == 1
    assert f"{bad}: not a picture" in err


def test_a_picture_whose_name_is_not_utf_8_is_predicted_and_evaluated(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "data/cat"
    folder.mkdir(parents=True)
    shutil.copyfile(photos / "cat/0.jpg", folder / "0.jpg")
    shutil.copyfile(photos / "cat/1.jpg", os.fsdecode(os.fsencode(folder) + b"/n\xe9.jpg"))
    data = str(tmp_path / "data")
    assert main(["predict", str(model), data, "--json"]) == 0
    named = json.loads(capsys.readouterr().out)
    assert [Path(each["image"]).name for each in named] == ["0.jpg", "n\\xe9.jpg"]
    assert main(["predict", str(model), data]) == 0
    report = tmp_path / "report.html"
    assert main(["evaluate", str(model), "--data", data, "--json", "--report", str(report)]) == 0
    assert report.exists()


def test_a_folders_hidden_and_system_files_are_no_pictures(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("0.jpg", "sub/1.jpg", "._0.jpg", ".thumbnails/0.jpg", "sub/@eaDir/0.jpg"):
        (tmp_path / ".data" / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(photos / "cat/0.jpg", tmp_path / ".data" / name)
    assert main(["predict", str(model), str(tmp_path / ".data"), "--json"]) == 0
    named = json.loads(capsys.readouterr().out)
    assert [Path(each["image"]).name for each in named] == ["0.jpg", "1.jpg"]


def test_files_of_a_folder_that_are_passed_over_are_counted_with_the_reason(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    (data / "sub").mkdir(parents=True)
    for name in ("0.jpg", "sub/IMG_1", "._0.jpg"):
        shutil.copyfile(photos / "cat/0.jpg", data / name)
    (data / "notes.txt").touch()
    (data / "gone.jpg").symlink_to("/nowhere/gone.jpg")
    (data / "more").symlink_to(photos)
    assert main(["predict", str(model), str(data), "--json"]) == 0
    out, err = capsys.readouterr()
    assert len(json.loads(out)) == 2
    for words in (
        "2 pictures; passed over:",
        "1 hidden or of the system (._0.jpg)",
        "1 links to folders (more)",
        "1 neither a file nor a link to one (gone.jpg)",
        "1 no picture (notes.txt)",
    ):
        assert words in err


def test_a_folder_of_other_files_says_what_is_there(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "data").mkdir()
    for number in range(7):
        (tmp_path / "data" / f"{number}.cr2").touch()
    assert main(["predict", str(model), str(tmp_path / "data")]) == ExitCode.InputNotFound
    words = "7 a camera raw file (CR2): export it as JPEG (0.cr2, 1.cr2, 2.cr2, 3.cr2, 4.cr2, ...)"
    assert words in capsys.readouterr().err


@pytest.mark.parametrize("top", ["0", "-3", "x"])
def test_top_is_a_whole_number_from_1(top: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["predict", "model", "a.jpg", "--top", top])
    assert f"argument --top: {top!r} is not a whole number from 1" in capsys.readouterr().err


def test_more_classes_than_there_are_is_all_of_them(
    model: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", str(model), str(photos / "cat/0.jpg"), "--top", "99", "--json"]) == 0
    (one,) = json.loads(capsys.readouterr().out)
    assert len(one["guesses"]) == len(CLASSES)


def renamed(model: Path, target: Path, names: list[str]) -> Path:
    """Copy a model and give its classes other names."""
    shutil.copytree(model, target)
    (target / "labels.txt").write_text("".join(f"{name}\n" for name in names))
    return target


def test_names_of_classes_and_files_are_no_markup(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = ["[/b] :dog:", "[red]ox", "a|b `c`"]
    own = renamed(model, tmp_path / "model", names)
    for name, original in zip(names, CLASSES, strict=True):
        shutil.copytree(photos / original, tmp_path / "data" / name)
    shutil.copyfile(photos / "cat/0.jpg", tmp_path / "x\x1b[2J\n:dog:.jpg")
    assert main(["evaluate", str(own), "--data", str(tmp_path / "data")]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in names)
    assert main(["predict", str(own), str(tmp_path / "x\x1b[2J\n:dog:.jpg"), "--top", "3"]) == 0
    out = capsys.readouterr().out
    assert all(name in out for name in names)
    assert "\x1b" not in out
    assert "x\\x1b[2J\\n:dog:.jpg" in "".join(out.split())


def listed(photos: Path, target: Path) -> Path:
    """Write photos of one folder and a list with columns of other names, and one list beside it."""
    target.mkdir()
    rows = ["where;what;note"]
    for path in sorted(photos.rglob("*.jpg")):
        name = f"{path.parent.name}-{path.name}"
        shutil.copyfile(path, target / name)
        rows.append(f"{name};{path.parent.name};x")
    (target / "mine.csv").write_text("\n".join(rows))
    (target / "other.csv").write_text("a;b\n")
    return target


def accuracy_of(out: str) -> str:
    return next(line for line in out.splitlines() if line.startswith("accuracy"))


def test_photos_are_laid_out_for_evaluate_as_for_training(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = listed(photos, tmp_path / "data")
    columns = {"file": "mine.csv", "pathColumn": "where", "labelColumn": "what"}
    manifest = tmp_path / "job.yaml"
    source = {"uri": "pvc://photos"}
    spec = {"dataset": {"source": source, "layout": "Csv", "csv": columns}}
    job = {"apiVersion": "finetune-operator.dev/v1alpha1", "kind": "FineTuneJob"}
    manifest.write_text(json.dumps(job | {"metadata": {"name": "a"}, "spec": spec}))
    options = ["--csv-file", "mine.csv", "--path-column", "where", "--label-column", "what"]
    (photos / "dog/palette.png").rename(tmp_path / "palette.png")
    assert main(["evaluate", str(model), "--data", str(photos)]) == 0
    (tmp_path / "palette.png").rename(photos / "dog/palette.png")
    wanted = accuracy_of(capsys.readouterr().out)
    assert "of 31 (" in wanted
    for how in (options, ["--manifest", str(manifest)], ["--layout", "Csv", *options]):
        assert main(["evaluate", str(model), "--data", str(data), *how]) == 0
        out = capsys.readouterr().out
        assert accuracy_of(out) == wanted
        assert "31 photos used, 0 rejected, " in out


def test_an_archive_is_evaluated_and_nothing_of_it_is_left(
    model: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    archive = make_tar(tmp_path / "photos.tar.gz", photos)
    assert main(["evaluate", str(model), "--data", str(archive)]) == 0
    assert "of 32 (" in capsys.readouterr().out
    assert not any((tmp_path / "tmp").iterdir())


@pytest.mark.parametrize("forms", [("NFC", "NFD"), ("NFD", "NFC"), ("NFD", "NFD")])
def test_a_class_is_the_same_in_each_form_of_unicode(
    forms: tuple[Form, Form],
    model: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    ours, theirs = (unicodedata.normalize(form, "ch\u00e8vre") for form in forms)
    own = renamed(model, tmp_path / "model", [ours, "dog", "ox"])
    for name, original in zip((theirs, "dog", "ox"), CLASSES, strict=True):
        shutil.copytree(photos / original, tmp_path / "data" / name)
    assert main(["evaluate", str(own), "--data", str(tmp_path / "data")]) == 0
    assert "of 32 (" in capsys.readouterr().out


def test_evaluate_says_what_it_did_not_use(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = tmp_path / "data"
    shutil.copytree(photos, data)
    (data / "cat/notes.txt").touch()
    (data / "cat/bad.jpg").touch()
    (data / "ox/old").mkdir()
    shutil.copyfile(photos / "ox/0.jpg", data / "ox/old/0.jpg")
    code = main(["evaluate", str(model), "--data", str(data), "--json"])
    out, err = capsys.readouterr()
    assert code == ExitCode.InvalidData
    assert json.loads(out)["images"] == 32
    assert "32 photos used, 2 rejected, 1 ignored" in err
    assert "ox/old/0.jpg: in a folder below its class folder" in err
    assert "cat/bad.jpg: empty file" in err


def test_evaluate_says_that_training_photos_are_not_used(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "val"):
        shutil.copytree(photos, tmp_path / "data" / split)
    assert main(["evaluate", str(model), "--data", str(tmp_path / "data")]) == 0
    assert "the 32 training photos are not used" in capsys.readouterr().out


def test_evaluate_prints_the_warnings_about_lists_and_counts_hidden_files(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(photos, tmp_path / "data")
    rows = [f"{name}/{n}.jpg,{name},{s}" for name in CLASSES for n, s in enumerate(("train", "?"))]
    (tmp_path / "data/labels.csv").write_text("\n".join(["path,label,split", *rows, ""]))
    (tmp_path / "data/cat/._0.jpg").touch()
    report = tmp_path / "report.html"
    arguments = ["evaluate", str(model), "--data", str(tmp_path / "data"), "--report", str(report)]
    assert main(arguments) == 0
    out, err = capsys.readouterr()
    warning = "the column split of labels.csv is not used as the split"
    assert f"warning: {warning}" in err
    assert warning in report.read_text()
    assert "6 photos used" in out
    assert "1 hidden ones are not counted" in out


@pytest.mark.parametrize(
    ("options", "code", "words"),
    [
        ([], ExitCode.InvalidSpec, "Give --data, or --manifest."),
        (["--data", ".", "--layout", "Folder", "--csv-file", "a.csv"], 64, "give --layout Csv"),
    ],
)
def test_a_choice_of_photos_that_cannot_be_is_refused(
    options: list[str], code: int, words: str, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["evaluate", str(model), *options]) == code
    assert words in capsys.readouterr().err


def test_listed_photos_that_are_not_there_are_named_by_evaluate(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(photos, tmp_path / "data")
    rows = ["path,label", "cat/0.jpg,cat", "dog/0.jpg,dog", "dog/absent.jpg,dog", "ox/0.jpg,ox"]
    (tmp_path / "data/labels.csv").write_text("\n".join(rows) + "\n")
    code = main(["evaluate", str(model), "--data", str(tmp_path / "data")])
    out, err = capsys.readouterr()
    assert code == ExitCode.InvalidData
    assert "of 3 (" in out
    assert "dog/absent.jpg: " in err


@pytest.mark.parametrize(
    ("arguments", "code", "words"),
    [
        (["predict", "{model}", "absent.jpg"], ExitCode.InputNotFound, "absent.jpg does not exist"),
        (
            ["predict", "{empty}", "{photo}"],
            ExitCode.InputNotFound,
            "holds no model.onnx or model-",
        ),
        (["predict", "{model}", "{empty}"], ExitCode.InputNotFound, "holds no picture"),
        (["predict", "{unlabelled}", "{photo}"], ExitCode.InputNotFound, "labels.txt is missing"),
        (["predict", "{broken}", "{photo}"], ExitCode.InvalidData, "cannot be read"),
        (["evaluate", "{model}", "--data", "absent"], ExitCode.InputNotFound, "--data absent"),
        (
            ["evaluate", "{model}", "--data", "{other}"],
            ExitCode.InvalidData,
            "does not know: horse",
        ),
    ],
)
def test_an_unusable_input_is_refused_with_the_reason(
    arguments: list[str],
    code: ExitCode,
    words: str,
    model: Path,
    photos: Path,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    places = {
        "model": model,
        "photo": photos / "cat/0.jpg",
        "empty": tmp_path / "empty",
        "unlabelled": tmp_path / "unlabelled",
        "broken": tmp_path / "broken",
        "other": make_photos(tmp_path / "other", {"horse": 2, "cat": 2}),
    }
    places["empty"].mkdir()
    shutil.copytree(model, places["unlabelled"])
    (places["unlabelled"] / "labels.txt").unlink()
    shutil.copytree(model, places["broken"])
    (places["broken"] / "model.onnx").write_text("cut off")
    assert main([argument.format(**places) for argument in arguments]) == code
    error = capsys.readouterr().err
    assert words in error
    assert code.name in error


def test_a_truncated_mxnet_file_is_named(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = tmp_path / "broken"
    shutil.copytree(model, broken)
    params = broken / "model-0000.params"
    params.write_bytes(params.read_bytes()[:100])
    code = main(["predict", str(broken), str(photos / "cat/0.jpg"), "--format", "mxnet"])
    assert code == ExitCode.InvalidData
    assert str(broken) in capsys.readouterr().err


def test_evaluate_prints_a_table_and_writes_a_report(
    model: Path, photos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report = tmp_path / "report.html"
    assert main(["evaluate", str(model), "--data", str(photos), "--report", str(report)]) == 0
    out = capsys.readouterr().out
    assert "accuracy" in out
    assert all(name in out for name in CLASSES)
    text = report.read_text()
    assert "of 32 validation images" in text
    assert 0 < text.count("<img") == text.count('<div class="photo">') <= 24
