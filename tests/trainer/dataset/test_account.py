"""For any tree of folders, files and lists: each file has a fate, and no label is lost."""

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from finetune_trainer.contract import Dataset, ExitCode, Source, TrainerError
from finetune_trainer.dataset.check import check_found
from finetune_trainer.dataset.layouts.detect import find_in
from finetune_trainer.dataset.layouts.found import Found, escaped
from finetune_trainer.run.hidden_files import is_skipped
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

FOLDERS = ("", "cat", "dog", "Cat", "train", "val", "test", "train/cat", "train/dog", "val/cat")
DEEPER = ("val/dog", "cat/old", "images", "images/a", "batch1", "batch2", ".cache", "#recycle")
NAMES = ("1.jpg", "2.jpg", "IMG_3.JPG", "4.png", "5", "6.txt", "7.jpg.1", ".8.jpg", "\xe9.jpg")
LISTS = ("labels.csv", "train.csv", "val.csv", "train.lst", "train/labels.csv", "notes.csv")
HEADERS = ("path,label", "image;class", "file,species,split", "a,b,c", "id,target")
LABELS = ("cat", "dog", "0", "1", "old|new")
paths = st.builds(
    lambda folder, name: f"{folder}/{name}".lstrip("/"),
    st.sampled_from(FOLDERS + DEEPER),
    st.sampled_from(NAMES),
)


@st.composite
def lists(draw: st.DrawFn, files: list[str]) -> dict[str, str]:
    """Return texts of lists that name some of the files, and some that are not there."""
    texts = {}
    for name in draw(st.sets(st.sampled_from(LISTS), max_size=2)):
        header = draw(st.sampled_from(HEADERS))
        named = draw(st.lists(st.sampled_from([*files, "cat/gone.jpg"]), max_size=12, unique=True))
        shorter = draw(st.booleans())
        lines = [header]
        for number, path in enumerate(named):
            shown = path.rpartition("/")[2] if shorter else path
            fields = [shown, draw(st.sampled_from(LABELS)), draw(st.sampled_from(("train", "val")))]
            separator = ";" if ";" in header else ","
            lines.append(separator.join(fields[: header.count(separator) + 1]))
            if name.endswith(".lst"):
                lines[-1] = f"{number}\t{draw(st.integers(0, 2))}\t{path}"
        texts[name] = "\n".join(lines[name.endswith(".lst") :])
    return texts


@st.composite
def sources(draw: st.DrawFn) -> dict[str, str]:
    """Return the files of a source by path; photos are empty, as none is opened."""
    files = draw(st.lists(paths, min_size=1, max_size=24, unique=True))
    folders = {
        "/".join(path.split("/")[:n]) for path in files for n in range(1, path.count("/") + 1)
    }
    files = [path for path in files if path not in folders]
    return dict.fromkeys(files, "") | draw(lists(files or ["cat/1.jpg"]))


@pytest.fixture(scope="module")
def root() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as directory:
        yield Path(directory) / "photos"


def write(root: Path, files: dict[str, str]) -> None:
    shutil.rmtree(root, ignore_errors=True)
    root.mkdir()
    for path, text in files.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(text)


def find(root: Path) -> Found | TrainerError:
    spec = Dataset(source=Source(uri=root.as_uri()))
    try:
        found = find_in(root, spec)
        check_found(found, spec)
    except TrainerError as error:
        return error
    return found


thoroughly = settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


@thoroughly
@given(files=sources())
def test_each_visible_file_has_one_fate_and_each_label_its_photo(
    root: Path, files: dict[str, str]
) -> None:
    write(root, files)
    found = find(root)
    if isinstance(found, TrainerError):
        assert found.code == ExitCode.InvalidData
        assert found.hint
        return
    scans = found.splits.values()
    fates = [photo.path for scan in scans for photo in scan.photos]
    fates += [left.path for scan in scans for left in scan.left_out if not left.listed]
    visible = [path for path in files if not is_hidden(path)]
    assert sorted(map(escaped, fates)) == sorted(map(escaped, visible))
    said = " ".join((found.described, *found.passed_over, *found.warnings))
    for name, text in files.items():
        if is_list_with_labels(name, text) and not is_hidden(name):
            assert name in said or name in found.read, f"{name} is not mentioned: {said}"


@thoroughly
@given(files=sources())
def test_a_photo_has_the_class_that_the_list_in_use_gives_it(
    root: Path, files: dict[str, str]
) -> None:
    write(root, files)
    found = find(root)
    if isinstance(found, TrainerError) or found.layout != "Csv":
        return
    labels: dict[str, set[str]] = {}
    for name in found.read:
        for row in files[name].replace(";", ",").split("\n")[1:]:
            path, label = row.split(",")[:2]
            labels.setdefault(path.rpartition("/")[2], set()).add(label)
    for scan in found.splits.values():
        for photo in scan.photos:
            assert photo.class_name in labels[photo.path.rpartition("/")[2]]


def is_hidden(path: str) -> bool:
    return any(map(is_skipped, path.split("/")))


def is_list_with_labels(name: str, text: str) -> bool:
    return name.endswith(".csv") and "/" not in name and text.startswith("path,label\n")
