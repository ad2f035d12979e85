"""The layout Auto: it uses what is clearly meant, and refuses what it may misread."""

import gzip
import io
import json
import shutil
import unicodedata
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from finetune_trainer.dataset.layouts.names import may_be_one
from finetune_trainer.dataset.recordio import open_records
from PIL import Image

from tests.trainer.support.datasets import Prepared, draw, make_photos, prepare_photos, refusal

Rows = list[tuple[str, str]]


def batches(root: Path) -> tuple[Path, Rows]:
    """Write photos into folders that are no classes; return their paths with their classes."""
    make_photos(root, {"batch1": 8, "batch2": 8})
    paths = sorted(path.relative_to(root).as_posix() for path in root.rglob("*.jpg"))
    return root, [(path, ("kitten", "puppy")[n % 2]) for n, path in enumerate(paths)]


def classes_of(prepared: Prepared) -> dict[str, str]:
    classes = prepared.packed.classes
    files = prepared.lock.files
    return {file.path: classes[file.label] for file in files if file.label is not None}


def csv(rows: Rows, header: str = "path,label", end: str = "\n") -> str:
    return end.join([header, *(f"{path},{label}" for path, label in rows), ""])


def semicolons(rows: Rows) -> str:
    return csv(rows, "path,label", "\r\n").replace(",", ";")


LISTS: dict[str, Callable[[Rows, Path], tuple[str, bytes]]] = {
    "with backslashes": lambda rows, _: (
        "labels.csv",
        csv([(p.replace("/", "\\"), c) for p, c in rows], end="\r\n").encode(),
    ),
    "with the paths of another machine": lambda rows, _: (
        "labels.csv",
        csv([(f"C:\\Users\\me\\photos\\{p}", c) for p, c in rows]).encode(),
    ),
    "with absolute paths": lambda rows, root: (
        "labels.csv",
        csv([(f"{root}/{p}", c) for p, c in rows]).encode(),
    ),
    "with addresses of a bucket": lambda rows, _: (
        "labels.csv",
        csv([(f"gs://bucket/animals/{p}", c) for p, c in rows]).encode(),
    ),
    "with names in capitals": lambda rows, _: (
        "labels.csv",
        csv([(p.upper(), c) for p, c in rows]).encode(),
    ),
    "with other endings": lambda rows, _: (
        "labels.csv",
        csv([(p.replace(".jpg", ".png"), c) for p, c in rows]).encode(),
    ),
    "in UTF-16": lambda rows, _: ("labels.csv", csv(rows).encode("utf-16")),
    "of Excel, with its separator": lambda rows, _: (
        "labels.csv",
        ("sep=;\r\n" + semicolons(rows)).encode("utf-8-sig"),
    ),
    "with tabs": lambda rows, _: ("labels.tsv", csv(rows).replace(",", "\t").encode()),
    "without endings of names": lambda rows, _: (
        "metadata.csv",
        csv([(p.removesuffix(".jpg"), c) for p, c in rows], "image_id,dx").encode(),
    ),
    "as JSON Lines": lambda rows, _: (
        "metadata.jsonl",
        "\n".join(json.dumps({"file_name": p, "label": c}) for p, c in rows).encode(),
    ),
    "as JSON": lambda rows, _: ("labels.json", json.dumps(dict(rows)).encode()),
    "with a column for each class": lambda rows, _: (
        "_classes.csv",
        csv(
            [(p, " 1, 0" if c == "kitten" else " 0, 1") for p, c in rows],
            "filename, kitten, puppy",
        ).encode(),
    ),
    "with encoded addresses": lambda rows, _: (
        "labels.csv",
        csv(
            [(f"https://host/a%20b/{p.replace('/', '%2F')}?w=640", c) for p, c in rows], "url,label"
        ).encode(),
    ),
    "below a title": lambda rows, _: (
        "labels.csv",
        ("Fotos 2021\n\n" + semicolons(rows).replace("path;label", "Datei;Label")).encode(),
    ),
    "below a comment": lambda rows, _: (
        "labels.csv",
        ("# exported 2021-01-01\n" + csv(rows)).encode(),
    ),
    "with spaces as separators": lambda rows, _: (
        "labels.csv",
        csv(rows).replace(",", " ").encode(),
    ),
    "with the number of the row": lambda rows, _: (
        "labels.csv",
        csv(
            [(f"{n},{p}", c) for n, (p, c) in enumerate(rows)],
            ",filename,species",
        ).encode(),
    ),
}


@pytest.mark.parametrize("form", LISTS)
def test_a_list_is_used(tmp_path: Path, form: str) -> None:
    photos, rows = batches(tmp_path / "photos")
    name, content = LISTS[form](rows, photos)
    (photos / name).write_bytes(content)
    assert classes_of(prepare_photos(tmp_path, photos)) == dict(rows)


def test_a_list_of_names_alone_finds_the_photos_in_any_folder(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    for path, _ in rows:
        (photos / path).rename(photos / path.replace("/", "/" + path[5:6]))
    names = [(path.replace("/", "/" + path[5:6]), label) for path, label in rows]
    (photos / "labels.csv").write_text(csv([(p.rpartition("/")[2], c) for p, c in names]))
    assert classes_of(prepare_photos(tmp_path, photos)) == dict(names)


@pytest.mark.parametrize(("column", "end"), [("id", ""), ("image_id", ".0")])
def test_numbers_that_lost_their_zeros_find_the_photos(
    tmp_path: Path, column: str, end: str
) -> None:
    photos, rows = batches(tmp_path / "photos")
    for n, (path, _) in enumerate(rows):
        (photos / path).rename(photos / path.replace(path[7:], f"{n:05}.jpg"))
    lines = [(f"{n}{end}", label) for n, (_, label) in enumerate(rows)]
    (photos / "labels.csv").write_text(csv(lines, f"{column},label"))
    assert len(classes_of(prepare_photos(tmp_path, photos))) == 16


def test_numbers_of_other_columns_find_no_photos(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    for n, (path, _) in enumerate(rows):
        (photos / path).rename(photos / path.replace(path[7:], f"{n:05}.jpg"))
    lines = [(str(n), label) for n, (_, label) in enumerate(rows)]
    (photos / "labels.csv").write_text(csv(lines, "age,label"))
    assert "has no column path" in refusal(tmp_path, photos).message


def test_a_name_that_two_folders_have_is_refused(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    (photos / "labels.csv").write_text(csv([(p.rpartition("/")[2], c) for p, c in rows]))
    assert "may be batch1/0.jpg or batch2/0.jpg" in refusal(tmp_path, photos).message


@pytest.mark.parametrize(
    ("file", "folder"), [("test.csv", "test"), ("test.lst", "test"), ("labels.csv", "batch_2")]
)
def test_a_list_of_other_photos_does_not_label_those_of_the_same_names(
    tmp_path: Path, file: str, folder: str
) -> None:
    there = "train" if folder == "test" else "batch_1"
    photos = make_photos(tmp_path / "photos", {there: 12})
    rows = [(f"{folder}/{n}.jpg", str(n % 2)) for n in range(12)]
    lines = [f"{n}\t{label}\t{path}\n" for n, (path, label) in enumerate(rows)]
    (photos / file).write_text("".join(lines) if file.endswith(".lst") else csv(rows))
    error = refusal(tmp_path, photos)
    assert f"{folder}/0.jpg is not there, and {there}/0.jpg is in another folder" in error.message


@pytest.mark.parametrize(
    ("listed", "there"), [("val", "valid"), ("2021/05", "2021/5"), ("test", "test_images")]
)
def test_folders_that_are_written_differently_have_the_same_photos(
    tmp_path: Path, listed: str, there: str
) -> None:
    photos = make_photos(tmp_path / "photos", {there: 12})
    rows = [(f"{listed}/{n}.jpg", "ab"[n % 2]) for n in range(12)]
    (photos / "labels.csv").write_text(csv(rows))
    assert len(classes_of(prepare_photos(tmp_path, photos))) == 12


def test_a_list_of_more_folders_than_there_are_labels_only_its_own(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"batch1": 8})
    paths = [f"batch{batch}/{n}.jpg" for batch in (1, 2, 3) for n in range(8)]
    (photos / "labels.csv").write_text(csv([(p, "ab"[n // 3 % 2]) for n, p in enumerate(paths)]))
    error = refusal(tmp_path, photos)
    assert "16 of 24 photos cannot be read" in error.message
    prepared = prepare_photos(tmp_path, photos, badImages={"maxFraction": "0.9"})
    assert prepared.status.missing_images == 16


def test_names_of_a_test_list_are_not_sought_among_the_photos_of_train(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"train": 12})
    rows = [(f"{n}.jpg", "ab"[n % 2]) for n in range(12)]
    (photos / "train.csv").write_text(csv(rows))
    (photos / "test.csv").write_text(
        csv([(name, "ab"[n // 4 % 2]) for n, (name, _) in enumerate(rows[:8])])
    )
    error = refusal(tmp_path, photos)
    assert "test.csv names 0.jpg, which is only in train" in error.message
    (photos / "train.csv").unlink()
    assert "test.csv names 0.jpg, which is only in train" in refusal(tmp_path, photos).message


def test_lists_of_both_splits_may_name_photos_of_one_folder(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"train": 12})
    rows = [(f"{n}.jpg", "ab"[n % 2]) for n in range(12)]
    (photos / "train.csv").write_text(csv(rows[:8]))
    (photos / "val.csv").write_text(csv(rows[8:]))
    status = prepare_photos(tmp_path, photos).status
    assert (status.train_images, status.validation_images) == (8, 4)


def test_photos_that_two_lists_put_into_other_classes_are_in_neither_split(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"images": 12})
    rows = [(f"{n}.jpg", "ab"[n % 2]) for n in range(12)]
    (photos / "train.csv").write_text(csv(rows))
    (photos / "val.csv").write_text(csv([("0.jpg", "b"), ("1.jpg", "a"), *rows[2:6]]))
    prepared = prepare_photos(tmp_path, photos)
    status = prepared.status
    assert (status.train_images, status.validation_images, status.rejected_images) == (6, 4, 2)
    rejected = {file.path: file.reason for file in prepared.lock.rejected()}
    assert set(rejected) == {"images/0.jpg", "images/1.jpg"}
    (photos / "val.csv").write_text(csv([(path, "ba"["ab".index(c)]) for path, c in rows[:4]]))
    assert "number the classes alike in both" in refusal(tmp_path, photos).hint


@pytest.mark.parametrize("outer", ["/content/data/", "C:\\users\\", "old/", "2021/", "train/"])
def test_paths_of_another_place_are_found_by_name(tmp_path: Path, outer: str) -> None:
    photos = make_photos(tmp_path / "photos", {"train_images": 12})
    rows = [(f"{outer}{n}.jpg", "ab"[n % 2]) for n in range(12)]
    (photos / "labels.csv").write_text(csv(rows))
    assert len(classes_of(prepare_photos(tmp_path, photos))) == 12


def test_a_missing_photo_is_not_replaced_by_one_of_the_same_name(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    (photos / "labels.csv").write_text(csv(rows))
    (photos / "batch1/0.jpg").unlink()
    prepared = prepare_photos(tmp_path, photos, badImages={"maxFraction": "0.1"})
    assert prepared.status.missing_images == 1
    assert classes_of(prepared) == dict(rows[1:])


def test_a_list_that_is_not_unicode_is_refused_if_it_names_the_photos(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    (photos / "labels.csv").write_bytes(csv([(p, f"K\xe4{c}") for p, c in rows]).encode("cp1252"))
    error = refusal(tmp_path, photos)
    assert "labels.csv names these photos, but it is not used" in error.message
    assert "byte 0xe4 in line 2" in error.message
    assert "dataset.layout: Folder" in error.hint
    prepared = prepare_photos(tmp_path, photos, layout="Folder")
    assert prepared.packed.classes == ("batch1", "batch2")


@pytest.mark.parametrize(
    "header", ["lesion,befund,ort", "bild,klasse,ort"], ids=["lesions", "pictures"]
)
def test_columns_that_are_not_understood_are_refused_if_they_may_have_the_classes(
    tmp_path: Path, header: str
) -> None:
    photos, rows = batches(tmp_path / "photos")
    (photos / "liste.csv").write_text(csv([(p, f"{c},Bonn") for p, c in rows], header))
    error = refusal(tmp_path, photos)
    assert header.replace(",", ", ") in error.message
    assert error.hint == (
        "Name the column in dataset.csv.labelColumn. If the folders batch1, batch2 are the"
        " classes: set dataset.layout: Folder."
    )
    (photos / "all").mkdir()
    for folder in ("batch1", "batch2"):
        (photos / folder).rename(photos / "all" / folder)
    assert refusal(tmp_path, photos).hint == "Name the column in dataset.csv.labelColumn."


def test_a_list_of_names_without_endings_needs_no_header(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    for n, (path, _) in enumerate(rows):
        (photos / path).rename(photos / path.replace(path[7:], f"img{n:04}.jpg"))
    (photos / "labels.csv").write_text("\n".join(f"img{n:04},{c}" for n, (_, c) in enumerate(rows)))
    prepared = prepare_photos(tmp_path, photos, csv={"file": "labels.csv"})
    assert (len(classes_of(prepared)), prepared.status.rejected_images) == (16, 0)


def test_a_list_without_a_header_and_with_more_columns_is_refused(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    lines = [f"{path},{label},{('a', 'b')[n % 3 > 0]}" for n, (path, label) in enumerate(rows)]
    (photos / "labels.csv").write_text("\n".join(lines))
    assert "labels.csv names these photos" in refusal(tmp_path, photos).message


def test_files_of_which_each_photo_has_one_are_no_lists(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 12, "dog": 12})
    for path in list(photos.rglob("*.jpg")):
        path.with_suffix(".txt").write_text(f"{path.name} 0")
    prepared = prepare_photos(tmp_path, photos)
    assert prepared.lock.settings.layout == "Folder"
    assert prepared.status.other_files == 24


def test_links_that_lead_nowhere_are_no_lists(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 4, "dog": 4})
    for name in ("labels.csv", "labels.xlsx", "cat/lost.jpg"):
        (photos / name).symlink_to("/nowhere/at/all")
    prepared = prepare_photos(tmp_path, photos)
    assert prepared.lock.settings.layout == "Folder"
    assert prepared.file("cat/lost.jpg").reason == "neither a file nor a link to one"


def test_a_table_that_says_what_the_folders_say_is_no_reason_to_stop(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 6, "dog": 6})
    rows = [(f"{c}/{n}.jpg", f"{c},{n * 7}") for c in ("cat", "dog") for n in range(6)]
    (photos / "birds.csv").write_text(csv(rows, "bild,art,gewicht"))
    prepared = prepare_photos(tmp_path, photos)
    assert prepared.lock.settings.layout == "Folder"
    assert "birds.csv" in prepared.lock.passed_over[0]


def test_predictions_beside_class_folders_do_not_become_the_labels(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 8, "dog": 8})
    rows = [(f"{c}/{n}.jpg", "dog" if n == 3 else c) for c in ("cat", "dog") for n in range(8)]
    (photos / "predictions.csv").write_text(csv(rows, "image,label"))
    error = refusal(tmp_path, photos)
    assert "predictions.csv puts 1 photos into another class" in error.message
    assert "dataset.csv.file: predictions.csv" in error.hint
    prepared = prepare_photos(tmp_path, photos, layout="Folder")
    assert classes_of(prepared)["cat/3.jpg"] == "cat"
    listed = prepare_photos(tmp_path, photos, csv={"file": "predictions.csv"})
    assert classes_of(listed)["cat/3.jpg"] == "dog"


@pytest.mark.parametrize(
    ("file", "labels"), [("predictions.csv", ("cat", "dog", "dog")), ("labels.csv", ("dog", "cat"))]
)
def test_a_list_that_contradicts_deeper_class_folders_is_refused(
    tmp_path: Path, file: str, labels: tuple[str, ...]
) -> None:
    photos = make_photos(tmp_path / "photos/images", {"cat": 6, "dog": 6}).parent
    paths = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.jpg"))
    rows = [(p, labels["dog" in p] if n % 4 else labels[-1]) for n, p in enumerate(paths)]
    (photos / file).write_text(csv(rows, "image,label"))
    assert f"{file} puts " in refusal(tmp_path, photos).message


def test_names_of_classes_that_contradict_the_folders_of_a_list_are_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos/images", {"cat": 4, "dog": 4}).parent
    paths = sorted(path.relative_to(photos) for path in photos.rglob("*.jpg"))
    lines = [f"{n}\t{int(p.parent.name == 'dog')}\t{p}\n" for n, p in enumerate(paths)]
    (photos / "pets.lst").write_text("".join(lines))
    (photos / "classes.txt").write_text("dog\ncat\n")
    assert "pets.lst puts 8 photos into another class" in refusal(tmp_path, photos).message


@pytest.mark.parametrize(
    ("folders", "header"),
    [(("Cats", "Dogs"), "image,label"), (("Katzen", "Hunde"), "image,label,score")],
)
def test_predictions_that_are_often_wrong_do_not_become_the_labels(
    tmp_path: Path, folders: tuple[str, str], header: str
) -> None:
    photos = make_photos(tmp_path / "photos", dict.fromkeys(folders, 10))
    rows = [
        (f"{folder}/{n}.jpg", ("cat", "dog")[(k + (n < 3)) % 2] + ",0.8" * ("score" in header))
        for k, folder in enumerate(folders)
        for n in range(10)
    ]
    (photos / "predictions.csv").write_text(csv(rows, header))
    assert "predictions.csv puts 6 photos" in refusal(tmp_path, photos).message


def test_folders_of_hashes_that_are_labels_by_chance_are_no_classes(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos/images", {"0": 8, "1": 8, "a": 8}).parent
    paths = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.jpg"))
    rows = [(path, "01"[n % 2]) for n, path in enumerate(paths)]
    (photos / "train.csv").write_text(csv(rows, "path,label"))
    assert classes_of(prepare_photos(tmp_path, photos)) == dict(rows)


def test_numbers_that_nearly_follow_the_folders_are_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 8, "dog": 8})
    rows = [
        (f"{c}/{n}.jpg", str(int((c == "dog") != (n == 3))))
        for c in ("cat", "dog")
        for n in range(8)
    ]
    (photos / "predictions.csv").write_text(csv(rows, "image,label"))
    assert "puts 2 photos into another class" in refusal(tmp_path, photos).message


def test_photos_that_no_list_names_are_counted(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    (photos / "labels.csv").write_text(csv(rows[:6]))
    prepared = prepare_photos(tmp_path, photos)
    assert prepared.status.rejected_images == 10
    assert any("10 photos are not used (no list names it)" in w for w in prepared.lock.warnings)


@pytest.mark.parametrize(
    ("column", "train", "validation"),
    [
        ("split", "train", "test"),
        ("Set", "Training", "Valid"),
        ("is_valid", "False", "True"),
        ("is_training_image", "1", "0"),
        ("mode", "TRAIN", "TEST"),
        ("isTest", "False", "True"),
    ],
)
def test_a_column_of_a_list_gives_the_splits(
    tmp_path: Path, column: str, train: str, validation: str
) -> None:
    photos, rows = batches(tmp_path / "photos")
    sides = [validation if n in (3, 6) else train for n in range(len(rows))]
    text = csv(
        [(p, f"{c},{s}") for (p, c), s in zip(rows, sides, strict=True)], f"path,label,{column}"
    )
    (photos / "labels.csv").write_text(text)
    prepared = prepare_photos(tmp_path, photos)
    validating = {file.path for file in prepared.lock.files if file.split == "validation"}
    assert validating == {rows[3][0], rows[6][0]}


def test_a_column_of_splits_is_not_one_of_the_classes(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    sides = [("train", "test")[n in (3, 6)] for n in range(len(rows))]
    pairs = list(zip(rows, sides, strict=True))
    (photos / "a.csv").write_text(csv([(p, f"{c},{s}") for (p, c), s in pairs], "bild,art,seite"))
    prepared = prepare_photos(tmp_path, photos, csv={"file": "a.csv"})
    assert (prepared.packed.classes, prepared.status.validation_images) == (("kitten", "puppy"), 2)
    (photos / "a.csv").write_text(csv([(p, s) for (p, _), s in pairs], "path,split"))
    assert "a.csv has no column label" in refusal(tmp_path, photos).message


def test_a_flag_of_the_split_is_no_column_of_a_class(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    flags = [
        f"{int(c == 'kitten')},{int(c == 'puppy')},{int(n in (3, 6))}"
        for n, (_, c) in enumerate(rows)
    ]
    lines = [(path, flag) for (path, _), flag in zip(rows, flags, strict=True)]
    (photos / "labels.csv").write_text(csv(lines, "filename,kitten,puppy,is_valid"))
    prepared = prepare_photos(tmp_path, photos)
    assert (prepared.packed.classes, prepared.status.validation_images) == (("kitten", "puppy"), 2)


def test_a_column_of_splits_that_two_lists_make_void_is_named(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    train = [(p, f"{c},{n < 2}") for n, (p, c) in enumerate(rows[:12])]
    (photos / "train.csv").write_text(csv(train, "path,label,is_valid"))
    (photos / "test.csv").write_text(csv(rows[12:]))
    warnings = prepare_photos(tmp_path, photos).lock.warnings
    assert any("the column of splits of train.csv is not used" in text for text in warnings)


@pytest.mark.parametrize(
    ("header", "fields"),
    [
        ("path,label,category", ("indoor,cat", "indoor,dog", "outdoor,cat", "outdoor,dog")),
        ("path,class,order,genus,name", ("Aves,a,b,c", "Aves,a,e,f")),
        ("path,x,y,art", ("1,2,kitten", "1,5,puppy")),
        ("path,width", ("640", "800")),
    ],
)
def test_a_column_that_may_not_be_the_class_is_refused(
    tmp_path: Path, header: str, fields: tuple[str, ...]
) -> None:
    photos, rows = batches(tmp_path / "photos")
    lines = [(path, fields[n % len(fields)]) for n, (path, _) in enumerate(rows)]
    (photos / "labels.csv").write_text(csv(lines, header))
    error = refusal(tmp_path, photos)
    assert "labels.csv" in error.message
    assert "dataset.csv.labelColumn" in error.hint


@pytest.mark.parametrize(
    ("header", "fields", "warnings"),
    [
        ("x,y", ("kitten", "puppy"), 0),
        ("path,stage", ("I", "II"), 0),
        ("path,label", ("train", "test"), 0),
        ("path,class_id,class", ("0,kitten", "1,puppy"), 0),
        ("path,label,tag", ("kitten,a", "kitten,b", "puppy,a", "puppy,b"), 1),
        ("path,species,breed", ("cat,manx", "cat,korat", "dog,boxer", "dog,pug"), 1),
        ("path,level", ("0", "1", "2"), 0),
        ("path,art,,", ("kitten,,", "puppy,,"), 0),
    ],
)
def test_the_column_of_the_class_is_found_among_others(
    tmp_path: Path, header: str, fields: tuple[str, ...], warnings: int
) -> None:
    photos, rows = batches(tmp_path / "photos")
    lines = [(path, fields[n % len(fields)]) for n, (path, _) in enumerate(rows)]
    (photos / "labels.csv").write_text(csv(lines, header))
    prepared = prepare_photos(tmp_path, photos, csv={"file": "labels.csv"})
    assert sum("divide" in text for text in prepared.lock.warnings) == warnings


def test_of_val_and_test_in_a_column_val_validates(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    sides = ["train"] * 12 + ["val"] * 2 + ["test"] * 2
    text = csv([(p, f"{c},{s}") for (p, c), s in zip(rows, sides, strict=True)], "path,label,split")
    (photos / "labels.csv").write_text(text)
    status = prepare_photos(tmp_path, photos).status
    assert (status.train_images, status.validation_images, status.rejected_images) == (12, 2, 2)


def test_a_column_of_splits_with_other_values_is_named(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    (photos / "labels.csv").write_text(csv([(p, f"{c},a") for p, c in rows], "path,label,split"))
    assert any(
        "the column split" in text for text in prepare_photos(tmp_path, photos).lock.warnings
    )


@pytest.mark.parametrize("column", ["patient_id", "Patient ID"])
def test_photos_of_one_group_of_a_list_stay_together(tmp_path: Path, column: str) -> None:
    photos, rows = batches(tmp_path / "photos")
    groups = {path: f"p{n // 4}" for n, (path, _) in enumerate(rows)}
    text = csv([(p, f"{c},{groups[p]}") for p, c in rows], f"path,label,{column}")
    (photos / "labels.csv").write_text(text)
    split = {"groupBy": {"column": column}}
    prepared = prepare_photos(tmp_path, photos, split=split)
    sides = {(groups[file.path], file.split) for file in prepared.lock.files if file.split}
    assert len(sides) == 4


def test_photos_whose_group_is_a_missing_value_are_each_their_own(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    text = csv(
        [(p, f"{c},{'nan' if n > 3 else 'p1'}") for n, (p, c) in enumerate(rows)], "path,label,who"
    )
    (photos / "labels.csv").write_text(text)
    prepared = prepare_photos(tmp_path, photos, split={"groupBy": {"column": "who"}})
    assert any("12 photos have no group" in text for text in prepared.lock.warnings)


def test_two_columns_of_one_name_that_say_different_things_are_refused(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    lines = [(path, f"{label},{n % 3}") for n, (path, label) in enumerate(rows)]
    (photos / "labels.csv").write_text(csv(lines, "path,label,label"))
    assert "labels.csv has 2 columns named label" in refusal(tmp_path, photos).message
    (photos / "labels.csv").write_text(csv([(p, f"{c},{c}") for p, c in rows], "path,label,label"))
    assert prepare_photos(tmp_path, photos).packed.classes == ("kitten", "puppy")


def test_a_column_of_groups_that_is_not_there_is_named(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    (photos / "labels.csv").write_text(csv(rows))
    error = refusal(tmp_path, photos, layout="Csv", split={"groupBy": {"column": "patient"}})
    assert "labels.csv has no column patient" in error.message
    assert "dataset.split.groupBy.column" in error.hint


@pytest.mark.parametrize(
    ("labels", "warning"),
    [
        (("Cat", "cat"), "these classes differ in capitals or spaces only: 'Cat' and 'cat'"),
        (("cat", "dog", "cat|dog"), "1 labels join others"),
        (("cat", "dog", "cat + dog"), "1 labels join others"),
        (("cat", "dog", "dog/cat"), "1 labels join others"),
        (("scab", "rust", "scab rust"), "1 labels join others"),
        (("['cat']", "['dog']", "['cat'; 'dog']"), "1 labels join others"),
        (("0", "1", "0.0"), "the same number, written differently: '0' and '0.0'"),
        (("1", "01", "2"), "the same number, written differently: '01' and '1'"),
        (("cat", "dog", "NaN"), "may be missing values, not names: NaN"),
        (("cat", "dog", "#N/A"), "may be missing values, not names: #N/A"),
        (("cat", "dog", "?"), "may be missing values, not names: ?"),
        (("0", "1", "-1"), "may be missing values, not names: -1"),
        (("{'is': 'cat'}", "dog"), "1 labels are lists or objects"),
        (("cat", "dogs", "dog"), "may be one, written differently: 'dog' and 'dogs'"),
        (("cat", "dog (1)", "dog"), "may be one, written differently: 'dog' and 'dog (1)'"),
        (("cat", "dog - Copy", "dog"), "may be one, written differently: 'dog' and 'dog - Copy'"),
        (("red_fox", "red-fox"), "may be one, written differently: 'red-fox' and 'red_fox'"),
    ],
)
def test_labels_that_are_hardly_meant_are_named(
    tmp_path: Path, labels: tuple[str, ...], warning: str
) -> None:
    photos, rows = batches(tmp_path / "photos")
    rows = [(path, labels[n % len(labels)]) for n, (path, _) in enumerate(rows)]
    (photos / "labels.csv").write_text(csv(rows))
    assert any(warning in text for text in prepare_photos(tmp_path, photos).lock.warnings)


def test_names_that_differ_in_numbers_are_not_taken_for_one() -> None:
    for names in (("type (1)", "type (2)"), ("-1", "1"), ("set 1", "set 11"), ("bus", "bis")):
        assert may_be_one(names) == []


def test_names_that_look_the_same_are_one_class(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    forms = ("cat", "dog", "cat\u200b", "do\u00adg", "\ufeffcat", "['dog']")
    rows = [(path, forms[n % len(forms)]) for n, (path, _) in enumerate(rows)]
    (photos / "labels.csv").write_text(csv(rows))
    assert prepare_photos(tmp_path, photos).packed.classes == ("cat", "dog")


def test_a_json_list_of_one_label_is_the_label(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    lines = [json.dumps({"file_name": path, "labels": [label]}) for path, label in rows]
    (photos / "metadata.jsonl").write_text("\n".join(lines))
    assert prepare_photos(tmp_path, photos).packed.classes == ("kitten", "puppy")


def test_names_of_two_words_do_not_join_others(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"bear": 8, "polar bear": 8})
    assert not prepare_photos(tmp_path, photos).lock.warnings


def test_folders_that_are_all_named_like_splits_are_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"train": 6, "valid": 3, "test": 3})
    error = refusal(tmp_path, photos)
    assert "named like splits, not like classes: test, train, valid" in error.message
    assert "dataset.layout: Folder" in error.hint


@pytest.mark.parametrize("name", ["metadata.csv", "_classes.csv"])
def test_lists_within_the_folders_of_splits_are_used(tmp_path: Path, name: str) -> None:
    photos = make_photos(tmp_path / "photos", {"train": 8, "valid": 4, "test": 4})
    for folder in ("train", "valid", "test"):
        paths = sorted(path.name for path in (photos / folder).iterdir())
        rows = [(path, ("cat", "dog")[n % 2]) for n, path in enumerate(paths)]
        (photos / folder / name).write_text(csv(rows, "file_name,label"))
    prepared = prepare_photos(tmp_path, photos)
    status = prepared.status
    assert (status.classes, status.train_images, status.validation_images) == (2, 8, 4)
    (passed_over,) = prepared.lock.passed_over
    assert passed_over.startswith(f"test/{name} (")


def test_a_folder_named_like_a_split_beside_classes_is_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 6, "dog": 6, "test": 4})
    assert "test beside the class folders cat, dog" in refusal(tmp_path, photos).message
    shutil.rmtree(photos / "test")
    make_photos(photos / "test", {"cat": 2, "dog": 2}, seed=500)
    error = refusal(tmp_path, photos)
    assert "test has folders of the classes cat, dog" in error.message
    assert "dataset.validationSource" in error.hint


@pytest.mark.parametrize(
    "folders",
    [
        ("train", "test1"),
        ("train2017", "val2017"),
        ("train_images", "test_images"),
        ("TrainData", "TestData"),
        ("training set", "testing set"),
        ("entrenamiento", "validaci\xf3n"),
        ("fold0", "fold1", "fold2"),
        ("train_cat", "train_dog", "test_cat", "test_dog"),
        ("dev-cat", "training-cat"),
    ],
)
def test_folders_that_hint_at_splits_are_no_classes(
    tmp_path: Path, folders: tuple[str, ...]
) -> None:
    photos = make_photos(tmp_path / "photos", dict.fromkeys(folders, 2))
    assert "all folders with photos are named like splits" in refusal(tmp_path, photos).message


@pytest.mark.parametrize(
    "name",
    ["test_images", "TestData", "prueba", "unlabeled_photos", "evaluation", "heldout", "to_sort"],
)
def test_a_folder_that_hints_at_a_split_beside_classes_is_refused(
    tmp_path: Path, name: str
) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 2, "dog": 2, name: 2})
    assert f"{name} beside the class folders cat, dog" in refusal(tmp_path, photos).message


def test_classes_that_have_the_name_of_a_split_in_theirs_are_classes(tmp_path: Path) -> None:
    names = ("bullet_train", "test tube", "train_station", "fold", "valid id", "image", "set 1")
    photos = make_photos(tmp_path / "photos", dict.fromkeys(names, 4))
    assert prepare_photos(tmp_path, photos).packed.classes == tuple(sorted(names))


@pytest.mark.parametrize(
    "names", [("batch1", "batch2"), ("images_001", "images_002"), ("2021-05-01", "2021-05-02")]
)
def test_folders_that_are_named_like_parts_are_a_warning(
    tmp_path: Path, names: tuple[str, ...]
) -> None:
    photos = make_photos(tmp_path / "photos", dict.fromkeys(names, 4))
    warnings = prepare_photos(tmp_path, photos).lock.warnings
    assert any("named like parts of a collection" in text for text in warnings)
    make_photos(photos / "cat", {".": 4}, seed=900)
    warnings = prepare_photos(tmp_path, photos).lock.warnings
    assert not any("named like parts of a collection" in text for text in warnings)


def test_the_folder_with_the_very_name_of_a_split_is_preferred(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    make_photos(photos / "train", {"cat": 4, "dog": 4})
    make_photos(photos / "val", {"cat": 2, "dog": 2}, seed=50)
    make_photos(photos / "old-train", {"cat": 2, "dog": 2}, seed=90)
    assert "train and old-train are both named" in refusal(tmp_path, photos).message
    assert prepare_photos(tmp_path, photos, layout="Split").status.train_images == 8


def test_a_column_that_is_named_does_not_switch_the_checks_off(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 8, "dog": 8})
    rows = [(f"{c}/{n}.jpg", "dog" if n == 3 else c) for c in ("cat", "dog") for n in range(8)]
    (photos / "predictions.csv").write_text(csv(rows, "image,label"))
    error = refusal(tmp_path, photos, csv={"pathColumn": "image"})
    assert "predictions.csv puts 1 photos into another class" in error.message


def test_photos_without_a_class_are_no_class(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 4, "dog": 4, "unlabeled": 4})
    error = refusal(tmp_path, photos)
    assert "unlabeled beside the class folders cat, dog is named" in error.message


def test_a_train_may_be_a_vehicle(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"bus": 4, "car": 4, "train": 4})
    prepared = prepare_photos(tmp_path, photos)
    assert prepared.packed.classes == ("bus", "car", "train")
    assert any("the folder train is a class" in text for text in prepared.lock.warnings)


def test_photos_beside_the_folders_of_splits_are_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"extra": 3})
    make_photos(photos / "Train", {"cat": 3, "dog": 3}, seed=10)
    make_photos(photos / "Validation", {"cat": 2, "dog": 2}, seed=50)
    assert "other photos beside them in extra" in refusal(tmp_path, photos).message
    status = prepare_photos(tmp_path, photos, layout="Split").status
    assert (status.train_images, status.validation_images, status.rejected_images) == (6, 4, 3)


def test_classes_mostly_in_deeper_folders_are_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 2, "dog": 2})
    make_photos(photos / "cat", {"kittens": 9}, seed=90)
    assert "9 photos lie in folders below class folders" in refusal(tmp_path, photos).message


def test_an_archive_with_other_photos_is_refused_and_one_of_the_same_is_not(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 6, "dog": 6})
    with zipfile.ZipFile(photos / "all.zip", "w") as archive:
        for path in photos.rglob("*.jpg"):
            archive.write(path, path.relative_to(photos))
    assert prepare_photos(tmp_path, photos).status.classes == 2
    with zipfile.ZipFile(photos / "fox.zip", "w") as archive:
        archive.write(photos / "cat/0.jpg", "fox/fox.jpg")
    error = refusal(tmp_path, photos)
    assert "fox.zip is not unpacked, and has 1 photos that are not in the source" in error.message


@pytest.mark.parametrize(
    ("archive", "kind"),
    [
        ("fox.zip", "is not unpacked, and has 6 photos"),
        ("raw/2021/fox.zip", "is not unpacked, and has 6 photos"),
        ("fox.tbz2", "is not unpacked, and has 6 photos"),
        ("fox.zip.crdownload", "is not downloaded completely"),
    ],
)
def test_a_class_in_an_archive_is_not_lost(tmp_path: Path, archive: str, kind: str) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 6, "dog": 6, "fox": 6})
    made = shutil.make_archive(
        str(tmp_path / "fox"), "bztar" if "tbz2" in archive else "zip", photos, "fox"
    )
    shutil.rmtree(photos / "fox")
    (photos / archive).parent.mkdir(parents=True, exist_ok=True)
    shutil.move(made, photos / archive)
    assert f"{archive} {kind}" in refusal(tmp_path, photos).message


@pytest.mark.parametrize("name", ["fox.zip", "fox.tar.gz"])
def test_an_archive_that_is_cut_off_is_refused(tmp_path: Path, name: str) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 4, "dog": 4})
    kind = "zip" if name == "fox.zip" else "gztar"
    made = Path(shutil.make_archive(str(tmp_path / "fox"), kind, photos, "cat"))
    (photos / name).write_bytes(made.read_bytes()[: made.stat().st_size // 2])
    error = refusal(tmp_path, photos)
    assert f"{name} may have photos that are not in the source, and cannot be" in error.message
    assert "Download it again" in error.hint
    assert prepare_photos(tmp_path, photos, layout="Folder").status.classes == 2


def test_an_archive_of_one_class_that_is_unpacked_is_no_reason_to_stop(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 4, "dog": 4})
    shutil.make_archive(str(photos / "cat"), "zip", photos, "cat")
    shutil.make_archive(str(photos / "dog"), "zip", photos / "dog")  # without its folder
    assert prepare_photos(tmp_path, photos).status.classes == 2


def test_the_sample_of_a_submission_is_no_list_of_classes(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"train_images": 12})
    make_photos(photos / "test_images", {".": 2}, seed=40)
    rows = [(f"train_images/{n}.jpg", "ab"[n % 2]) for n in range(12)]
    (photos / "train.csv").write_text(csv(rows))
    (photos / "sample_submission.csv").write_text(
        csv([(f"test_images/{n}.jpg", "a") for n in (0, 1)])
    )
    prepared = prepare_photos(tmp_path, photos)
    assert prepared.status.train_images + prepared.status.validation_images == 12
    assert prepared.lock.passed_over == ("sample_submission.csv (the layout Csv is used)",)


def test_an_archive_that_is_not_read_is_named(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 4, "dog": 4})
    (photos / "fox.7z").write_bytes(b"7z")
    prepared = prepare_photos(tmp_path, photos)
    assert prepared.lock.passed_over == ("fox.7z (an archive of a kind that is not read)",)
    assert any("cannot be looked into: fox.7z" in text for text in prepared.lock.warnings)


def test_a_sheet_that_names_the_photos_is_refused(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    for path, _ in rows:
        (photos / path).rename(photos / path.replace("/", "/photo_"))
    with zipfile.ZipFile(photos / "labels.xlsx", "w") as sheet:
        names = "".join(f"<t>photo_{p.rpartition('/')[2]}</t><t>{c}</t>" for p, c in rows)
        sheet.writestr("xl/sharedStrings.xml", f"<sst>{names}</sst>")
    assert "labels.xlsx names these photos" in refusal(tmp_path, photos).message


def test_a_list_in_another_folder_is_refused_with_its_setting(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    (photos / "annotations").mkdir()
    (photos / "annotations/labels.csv").write_text(csv(rows))
    error = refusal(tmp_path, photos)
    assert "annotations/labels.csv gives these photos other classes" in error.message
    prepared = prepare_photos(tmp_path, photos, csv={"file": "annotations/labels.csv"})
    assert classes_of(prepared) == dict(rows)


def test_annotations_in_a_form_that_is_not_read_are_refused(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    images = [{"id": n, "file_name": path} for n, (path, _) in enumerate(rows)]
    (photos / "coco.json").write_text(json.dumps({"images": images, "annotations": []}))
    assert "coco.json names these photos" in refusal(tmp_path, photos).message


def _text(rows: Rows) -> str:
    return "".join(f"{path} {label}\n" for path, label in rows)


UNREAD: dict[str, Callable[[Rows], tuple[str, bytes]]] = {
    "packed": lambda rows: ("labels.csv.gz", gzip.compress(csv(rows).encode())),
    "without an ending": lambda rows: ("labels", _text(rows).encode()),
    "a backup": lambda rows: ("labels.csv.bak", csv(rows).encode()),
    "a table in the README": lambda rows: (
        "README.md",
        ("My photos\n\n" + "".join(f"| {p} | {c} |\n" for p, c in rows)).encode(),
    ),
    "a web page in one line": lambda rows: (
        "labels.html",
        "".join(f"<tr><td>{p}</td><td>{c}</td></tr>" for p, c in rows).encode(),
    ),
    "nested objects": lambda rows: (
        "labels.jsonl",
        "\n".join(json.dumps({"image": {"path": p}, "note": {"is": c}}) for p, c in rows).encode(),
    ),
    "im2rec's list further below": lambda rows: (
        "lists/all.lst",
        "".join(f"{n}\t{int(c == 'puppy')}\t{p}\n" for n, (p, c) in enumerate(rows)).encode(),
    ),
}


@pytest.mark.parametrize("form", UNREAD)
def test_labels_in_a_file_that_is_not_read_are_refused(tmp_path: Path, form: str) -> None:
    photos, rows = batches(tmp_path / "photos")
    name, content = UNREAD[form](rows)
    (photos / name).parent.mkdir(exist_ok=True)
    (photos / name).write_bytes(content)
    error = refusal(tmp_path, photos)
    assert f"{name} names these photos" in error.message
    assert "dataset.layout: Folder" in error.hint
    assert prepare_photos(tmp_path, photos, layout="Folder").status.classes == 2


def test_eleven_lists_of_a_kind_are_lists(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    for n in range(11):
        (photos / f"labels_{n}.csv").write_text(csv(rows[n::11]))
    assert "labels_0.csv names these photos" in refusal(tmp_path, photos).message


def test_a_sheet_in_a_table_of_many_is_found_at_any_depth(tmp_path: Path) -> None:
    photos, _ = batches(tmp_path / "photos")
    (photos / "doc/2021").mkdir(parents=True)
    with zipfile.ZipFile(photos / "doc/2021/labels.xlsx", "w") as sheet:
        sheet.writestr("xl/worksheets/sheet1.xml", "<x/>")
        sheet.writestr("xl/worksheets/sheet2.xml", "".join(f"<t>{n}.jpg</t>" for n in range(8)))
    assert "doc/2021/labels.xlsx names these photos" in refusal(tmp_path, photos).message


HARMLESS: dict[str, Callable[[str, str, int], str]] = {
    "MD5SUMS": lambda path, _, n: f"{n * 7919:032x}  {path}",
    "listing": lambda path, _, n: f"-rw-r--r-- 1 me me {1000 + n} Nov {n % 3} 18:{n % 6} {path}",
    "index.html": lambda path, _, n: f"<img src='{path}' width=200> {n}",
    "README.md": lambda path, label, n: f"| {path} | {label} | {('Ann', 'Bob')[n % 2]} |",
    "files.list": lambda path, _, n: path,
    "download.log": lambda path, _, n: f"{path} {('OK', 'RETRY')[n % 2]}",
}


@pytest.mark.parametrize("name", HARMLESS)
def test_a_file_that_names_photos_and_no_other_classes_is_no_reason_to_stop(
    tmp_path: Path, name: str
) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 8, "dog": 8})
    paths = sorted(path.relative_to(photos) for path in photos.rglob("*.jpg"))
    lines = [HARMLESS[name](str(p), p.parent.name, n) for n, p in enumerate(paths)]
    (photos / name).write_text("\n".join(["<html>" + lines[0], *lines[1:]]))
    assert prepare_photos(tmp_path, photos).packed.classes == ("cat", "dog")


def test_files_beside_the_photos_that_may_have_labels_are_a_warning(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 4, "dog": 4})
    for path in list(photos.rglob("*.jpg")):
        path.with_suffix(".json").write_text(json.dumps({"shapes": [{"label": path.parent.name}]}))
    warnings = prepare_photos(tmp_path, photos).lock.warnings
    assert any("8 photos have a file of their own beside them (.json)" in w for w in warnings)


def test_a_list_of_as_many_rows_as_photos_is_refused_whatever_it_calls_them(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    numbered = [(f"DSC {n}", label) for n, (_, label) in enumerate(rows)]
    (photos / "labels.csv").write_text(csv(numbered, "id,label"))
    error = refusal(tmp_path, photos)
    assert "labels.csv has as many rows as there are photos" in error.message
    (photos / "labels.csv").write_text(csv(numbered[1:], "id,label"))
    assert prepare_photos(tmp_path, photos).status.classes == 2


def test_a_list_of_paths_for_each_class_is_refused(tmp_path: Path) -> None:
    photos, rows = batches(tmp_path / "photos")
    (photos / "lists").mkdir()
    for name in ("kitten", "puppy"):
        lines = [path for path, label in rows if label == name]
        (photos / f"lists/{name}.txt").write_text("\n".join(lines))
    error = refusal(tmp_path, photos)
    assert "lists/kitten.txt, lists/puppy.txt each name some of the photos" in error.message
    for name in ("batch1", "batch2"):
        lines = [path for path, _ in rows if name in path]
        (photos / f"lists/{name}.txt").write_text("\n".join(lines))
    for name in ("kitten", "puppy"):
        (photos / f"lists/{name}.txt").unlink()
    assert prepare_photos(tmp_path, photos).status.classes == 2


def test_a_text_in_each_class_folder_is_no_list_of_the_class(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    folders = [photos / split / name for split in ("train", "val") for name in ("cat", "dog")]
    for seed, folder in enumerate(folders):
        make_photos(folder.parent, {folder.name: 4}, seed=1000 * seed)
        for path in list(folder.iterdir()):
            path.rename(path.with_name(f"{seed}-{path.name}"))
        (folder / "index.html").write_text("\n".join(path.name for path in folder.iterdir()))
    assert prepare_photos(tmp_path, photos).packed.classes == ("cat", "dog")


@pytest.mark.parametrize("name", ["broken.npy", "labels.npy", "summary.xlsx"])
def test_a_file_that_has_nothing_to_do_with_the_photos_is_no_reason_to_stop(
    tmp_path: Path, name: str
) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 4, "dog": 4})
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a", "b")
    data = content.getvalue()
    (photos / name).write_bytes(data[:20] if name.startswith("broken") else data)
    warnings = prepare_photos(tmp_path, photos).lock.warnings
    assert ("is not read" in " ".join(warnings)) == (name == "labels.npy")


@pytest.mark.parametrize("name", ["imagelabels.mat", "y.npz", "annotations.pkl"])
def test_a_file_that_is_named_like_labels_and_not_read_is_a_warning(
    tmp_path: Path, name: str
) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 2, "dog": 2})
    (photos / name).write_bytes(bytes(100))
    warnings = prepare_photos(tmp_path, photos).lock.warnings
    assert any(f"{name} is not read" in text for text in warnings)


def test_paths_in_the_list_of_a_split_may_be_those_in_its_folder(tmp_path: Path) -> None:
    photos = tmp_path / "photos"
    for seed, split in enumerate(("train", "val")):
        make_photos(photos / split, {"a": 4, "b": 4}, seed=10_000 * seed)
        lines = [f"{c}/{n}.jpg {label}" for label, c in enumerate("ab") for n in range(4)]
        (photos / f"{split}.txt").write_text("\n".join(lines))
    status = prepare_photos(tmp_path, photos, layout="Csv").status
    assert (status.train_images, status.validation_images, status.rejected_images) == (8, 8, 0)


@pytest.mark.parametrize("layout", ["Auto", "Csv"])
def test_paths_in_the_list_of_val_are_not_those_in_the_folder_test(
    tmp_path: Path, layout: str
) -> None:
    photos = tmp_path / "photos"
    for seed, split in enumerate(("test", "train", "val")):
        make_photos(photos, {split: 8}, seed=10_000 * seed)
        if split != "test":
            rows = [(f"{n}.jpg", "ab"[n % 2]) for n in range(8)]
            (photos / f"{split}.csv").write_text(csv(rows, "filename,label"))
    used = classes_of(prepare_photos(tmp_path, photos, layout=layout))
    assert {path.partition("/")[0] for path in used} == {"train", "val"}


def test_paths_in_the_list_of_a_split_with_two_folders_are_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"annotations_train": 8, "images_train": 8})
    rows = [(f"{n}.jpg", "ab"[n % 2]) for n in range(8)]
    (photos / "train.csv").write_text(csv(rows))
    error = refusal(tmp_path, photos, layout="Csv")
    assert "annotations_train/0.jpg or images_train/0.jpg" in error.message


def numpy_file(labels: list[int]) -> bytes:
    content = io.BytesIO()
    np.save(content, np.array(labels))
    return content.getvalue()


IN_ORDER: dict[str, Callable[[list[int]], bytes]] = {
    "labels.txt": lambda labels: "\n".join(map(str, labels)).encode(),
    "meta/y": lambda labels: "\n".join(("kitten", "puppy")[n] for n in labels).encode(),
    "labels.dat": lambda labels: "\n".join(["label", *map(str, labels)]).encode(),
    "labels.json": lambda labels: json.dumps(labels).encode(),
    "notepad.txt": lambda labels: "\n".join(f"batch{n + 1}" for n in labels).encode("utf-8-sig"),
    "y_train.npy": numpy_file,
}


@pytest.mark.parametrize("name", IN_ORDER)
def test_labels_in_the_order_of_the_photos_are_refused(tmp_path: Path, name: str) -> None:
    photos, rows = batches(tmp_path / "photos")
    (photos / name).parent.mkdir(exist_ok=True)
    (photos / name).write_bytes(IN_ORDER[name]([n % 2 for n in range(len(rows))]))
    error = refusal(tmp_path, photos)
    assert f"{name} has one label for each photo" in error.message
    assert "dataset.layout: Folder" in error.hint


@pytest.mark.parametrize("name", IN_ORDER)
def test_labels_in_order_that_are_those_of_the_folders_are_no_reason_to_stop(
    tmp_path: Path, name: str
) -> None:
    photos, rows = batches(tmp_path / "photos")
    (photos / name).parent.mkdir(exist_ok=True)
    (photos / name).write_bytes(IN_ORDER[name]([int("batch2" in path) for path, _ in rows]))
    assert prepare_photos(tmp_path, photos).packed.classes == ("batch1", "batch2")


@pytest.mark.parametrize(
    ("ending", "content"),
    [(".cls", "{}"), (".txt", "{}\n"), (".jpg.json", '{{"label": "{}"}}')],
    ids=["a class", "a line", "an object"],
)
def test_a_class_in_a_file_beside_each_photo_is_refused(
    tmp_path: Path, ending: str, content: str
) -> None:
    photos, rows = batches(tmp_path / "photos")
    for path, label in rows:
        (photos / path.replace(".jpg", ending)).write_text(content.format(label))
    error = refusal(tmp_path, photos)
    assert f"such as batch1/0{ending}, seem to have their classes" in error.message
    for path, _ in rows:
        (photos / path.replace(".jpg", ending)).write_text(f"a photo of a dog {path}, asleep")
    assert prepare_photos(tmp_path, photos).status.classes == 2


def test_a_table_of_folders_and_their_classes_is_refused(tmp_path: Path) -> None:
    folders = {f"p{n:03}": 2 for n in range(6)}
    photos = make_photos(tmp_path / "photos", folders)
    rows = [(name, ("benign", "malignant")[n % 2]) for n, name in enumerate(folders)]
    (photos / "diagnoses.csv").write_text(csv(rows, "patient,diagnosis"))
    assert "diagnoses.csv has a class for each of the folders" in refusal(tmp_path, photos).message
    (photos / "diagnoses.csv").write_text(csv(rows, "class,superclass"))
    assert prepare_photos(tmp_path, photos).status.classes == 6


@pytest.mark.parametrize("name", ["labels.csv", "annotations.xml"])
def test_lists_that_are_not_understood_are_refused_beside_folders_of_splits(
    tmp_path: Path, name: str
) -> None:
    photos = tmp_path / "photos"
    make_photos(photos / "train", {"part1": 6, "part2": 6})
    make_photos(photos / "val", {"part1": 4, "part2": 4}, seed=70)
    paths = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.jpg"))
    rows = [(path, ("K\xe4tzchen", "H\xfcndchen")[n % 2]) for n, path in enumerate(paths)]
    (photos / name).write_bytes(csv(rows).encode("cp1252"))
    error = refusal(tmp_path, photos)
    assert f"{name} names these photos" in error.message
    assert "dataset.layout: Split" in error.hint
    assert prepare_photos(tmp_path, photos, layout="Split").status.validation_images == 8


@pytest.mark.parametrize("name", ["{}.txt", "{}.csv", "meta/{}_list.txt"])
def test_a_split_that_lists_of_paths_give_is_not_dropped(tmp_path: Path, name: str) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 10, "dog": 10})
    (photos / name).parent.mkdir(exist_ok=True)
    paths = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.jpg"))
    for split, part in (("train", paths[::2]), ("test", paths[1::2])):
        (photos / name.format(split)).write_text("\n".join(["path", *part]))
    error = refusal(tmp_path, photos)
    assert f"{name.format('test')} names photos and no classes" in error.message
    assert prepare_photos(tmp_path, photos, layout="Folder").status.classes == 2


@pytest.mark.parametrize("name", ["list_eval_partition.txt", "train_test_split.txt", "folds.csv"])
def test_a_list_of_splits_does_not_give_the_classes(tmp_path: Path, name: str) -> None:
    photos = make_photos(tmp_path / "photos", {"images": 12})
    separator = " " if name.endswith("txt") else ","
    (photos / name).write_text("".join(f"{n}.jpg{separator}{n % 3}\n" for n in range(12)))
    error = refusal(tmp_path, photos)
    assert f"{name} names these photos, but it is not used: it is named like" in error.message
    assert prepare_photos(tmp_path, photos, csv={"file": name}).packed.classes == ("0", "1", "2")
    (photos / name).rename(photos / "train_split.txt")
    assert prepare_photos(tmp_path, photos).packed.classes == ("0", "1", "2")


def test_the_list_of_a_test_split_does_not_train(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"Test": 8})
    make_photos(photos / "Train", {"cat": 10, "dog": 10}, seed=50)
    rows = [(f"{n}.jpg", ("cat", "dog")[n % 2]) for n in range(8)]
    (photos / "Test.csv").write_text(csv([(f"Test/{p}", c) for p, c in rows], "file,label"))
    assert (
        "the only list, Test.csv, is named like a validation" in refusal(tmp_path, photos).message
    )
    shutil.rmtree(photos / "Train")
    assert prepare_photos(tmp_path, photos).status.classes == 2


@pytest.mark.parametrize(
    ("folders", "made"),
    [
        (("images", "masks"), "masks"),
        (("Originals", "Edited"), "Edited"),
        (("cat", "annotated"), "annotated"),
        (("originals", "augmented"), "augmented"),
        (("photos", "SegmentationClass"), "SegmentationClass"),
    ],
)
def test_pictures_that_are_made_from_others_are_no_class(
    tmp_path: Path, folders: tuple[str, ...], made: str
) -> None:
    photos = make_photos(tmp_path / "photos", dict.fromkeys(folders, 6))
    assert f"{made} would be a class, and 6 of its pictures" in refusal(tmp_path, photos).message


def test_masks_beside_images_in_the_folders_of_splits_are_no_class(tmp_path: Path) -> None:
    for number, split in enumerate(("train", "val")):
        make_photos(tmp_path / "photos" / split, {"images": 4, "masks": 4}, seed=80 * number)
    assert "masks would be a class" in refusal(tmp_path, tmp_path / "photos").message


@pytest.mark.parametrize(
    "folders", [("mask", "no_mask"), ("with_mask", "without_mask"), ("labels", "Barcode Label")]
)
def test_classes_that_are_named_like_pictures_made_from_others_are_classes(
    tmp_path: Path, folders: tuple[str, ...]
) -> None:
    photos = make_photos(tmp_path / "photos", dict.fromkeys(folders, 4))
    if "Barcode Label" in folders:
        for path in list((photos / "labels").iterdir()):
            path.rename(path.with_stem(f"label{path.stem}"))
    assert prepare_photos(tmp_path, photos).status.classes == 2


def test_records_of_fewer_photos_than_the_class_folders_have_are_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 6, "dog": 6})
    packed = sorted(photos.rglob("*.jpg"))
    for count, is_refused in ((6, True), (12, False)):
        with open_records(photos / "pets.rec") as records:
            for path in packed[:: 12 // count]:
                records.write(label=int(path.parent.name == "dog"), image=path.read_bytes())
        if is_refused:
            error = refusal(tmp_path, photos)
            assert "pets.rec has 6 records, and the folders cat, dog" in error.message
        else:
            assert prepare_photos(tmp_path, photos).lock.settings.layout == "RecordIO"


def test_names_of_macos_are_the_same_names(tmp_path: Path) -> None:
    composed, decomposed = (unicodedata.normalize(form, "K\xe4fer") for form in ("NFC", "NFD"))
    photos = tmp_path / "photos"
    make_photos(photos / "train", {composed: 4, "Biene": 4})
    make_photos(photos / "val", {decomposed: 2, "Biene": 2}, seed=70)
    assert prepare_photos(tmp_path, photos).packed.classes == ("Biene", composed)
    twins = make_photos(tmp_path / "twins", {composed: 4, decomposed: 4, "Biene": 4})
    prepared = prepare_photos(tmp_path, twins)
    assert prepared.packed.classes == ("Biene", composed)
    assert any("2 folders are the class" in text for text in prepared.lock.warnings)


def test_a_list_finds_photos_in_another_unicode_form(tmp_path: Path) -> None:
    (tmp_path / "photos/images").mkdir(parents=True)
    for n in range(12):
        name = unicodedata.normalize("NFD", f"\xc9t\xe9_{n}.jpg")
        draw(n).save(tmp_path / "photos/images" / name)
    rows = [(f"images/\xc9t\xe9_{n}.jpg", ("cup", "plate")[n % 2]) for n in range(12)]
    (tmp_path / "photos/labels.csv").write_text(csv(rows))
    assert len(classes_of(prepare_photos(tmp_path, tmp_path / "photos"))) == 12


def test_a_link_to_itself_is_no_picture_and_no_folder(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 4, "dog": 4})
    for name in ("loop", ".loop", "cat/loop.jpg"):
        (photos / name).symlink_to(Path(name).name)
    status = prepare_photos(tmp_path, photos).status
    assert (status.train_images + status.validation_images, status.rejected_images) == (8, 1)


def test_joiners_are_letters_of_a_name(tmp_path: Path) -> None:
    name = "\u0633\u06af\u200c\u0647\u0627"
    photos = make_photos(tmp_path / "photos", {name: 3, "cat": 3})
    assert name in prepare_photos(tmp_path, photos).packed.classes


def test_labels_that_count_from_one_have_the_names_of_their_folders(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 4, "dog": 4})
    paths = sorted(path.relative_to(photos) for path in photos.rglob("*.jpg"))
    lines = [f"{n}\t{1 + (p.parent.name == 'dog')}\t{p}\n" for n, p in enumerate(paths)]
    (photos / "train.lst").write_text("".join(lines))
    prepared = prepare_photos(tmp_path, photos)
    assert prepared.packed.classes == ("cat", "dog")
    assert classes_of(prepared)["dog/0.jpg"] == "dog"


def test_lists_that_number_the_folders_differently_are_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 6, "dog": 6, "fox": 6})
    for name, first, numbers in (("train", 0, range(4)), ("val", 1, range(4, 6))):
        lines = [
            f"{n}\t{first + label}\t{folder}/{n}.jpg\n"
            for label, folder in enumerate(("cat", "dog", "fox"))
            for n in numbers
        ]
        (photos / f"{name}.lst").write_text("".join(lines))
    error = refusal(tmp_path, photos)
    assert "train.lst and val.lst give the folder cat other classes: 0 and 1" in error.message


def test_photos_are_found_by_their_content_whatever_their_names_end_in(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 6, "dog": 6})
    for number, name in enumerate(("a", "b.jpg_1200x800", "c.jpg@640w", "d.jpg.1", "e.jpg?w=4")):
        (photos / f"cat/{number}.jpg").rename(photos / "cat" / name)
    (photos / "cat/IMG_1.MOV").write_bytes(b"\0\0\0\x14ftypqt  ")
    prepared = prepare_photos(tmp_path, photos)
    assert list(classes_of(prepared).values()).count("cat") == 6
    assert prepared.file("cat/IMG_1.MOV").fate == "ignored"


def test_a_class_of_files_that_cannot_be_read_is_no_silent_loss(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 6, "dog": 6, "fox": 6})
    for path in (photos / "fox").iterdir():
        path.rename(path.with_suffix(".CR2"))
    error = refusal(tmp_path, photos)
    assert "a camera raw file (CR2): export it as JPEG" in error.message


def test_placeholders_of_photos_count_as_photos_that_cannot_be_read(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 6, "dog": 6})
    for path in sorted(photos.rglob("*.jpg"))[::2]:
        path.rename(path.with_name(f".{path.name}.icloud"))
    error = refusal(tmp_path, photos)
    assert "6 of 12 photos cannot be read" in error.message
    assert "only in iCloud: download it" in error.message


def warnings_of(workspace: Path, photos: Path) -> list[str]:
    return list(prepare_photos(workspace, photos).lock.warnings)


def test_a_hidden_folder_with_pictures_is_named(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"Java": 6, "Python": 6, ".NET": 6})
    make_photos(photos / ".thumbnails", {"1": 1}, seed=700)
    (photos / ".git").mkdir()
    assert warnings_of(tmp_path, photos) == [
        "hidden folders with pictures are not used: .NET; rename those that are classes"
    ]


def test_a_folder_with_as_many_other_files_as_photos_is_named(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 6, "dog": 6})
    for number in range(6):
        (photos / f"cat/other{number}.npy").touch()
        (photos / f"dog/{number}.jpg.supplemental-metadata.json").touch()
        (photos / f"dog/{number}.xmp").touch()
    assert warnings_of(tmp_path, photos) == [
        "as many other files as photos, or more, lie in cat (6 photos, 6 like other0.npy)"
    ]


def test_dark_photos_of_cameras_with_few_bits_are_named(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 6, "dog": 6})
    grey = np.asarray(draw(77).convert("L")).astype(np.uint16)
    Image.fromarray(grey * 16).save(photos / "cat/x-ray.png")
    (warning,) = prepare_photos(tmp_path, photos).lock.warnings[-1:]
    assert "nearly nothing that is brighter than 1/" in warning
    assert "cat/x-ray.png" in warning


def test_every_file_of_a_source_has_one_fate(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 6, "dog": 6})
    (photos / "cat/notes.txt").write_text("taken in May")
    (photos / "README.md").write_text("my photos")
    draw(9).save(photos / "stray.jpg")
    (photos / ".DS_Store").touch()
    prepared = prepare_photos(tmp_path, photos)
    files = {p.relative_to(photos).as_posix() for p in photos.rglob("*") if p.is_file()}
    assert {file.path for file in prepared.lock.files} == files - {".DS_Store"}
    status = prepared.status
    images = status.train_images + status.validation_images + status.rejected_images
    assert images + status.other_files == len(files) - 1
