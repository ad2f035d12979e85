import re
import shutil
from pathlib import Path
from typing import Any, get_args

import mxnet as mx
import pytest
from finetune_trainer.contract import Dataset, ExitCode
from finetune_trainer.dataset.layouts.detect import LAYOUTS
from finetune_trainer.dataset.lock import LayoutName

from tests.trainer.support.datasets import Prepared, draw, make_photos, prepare_photos, refusal


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos", {"dog": 6, "cat": 8})


def labels(prepared: Prepared) -> dict[str, int | None]:
    return {file.path: file.label for file in prepared.lock.files if file.fate == "packed"}


def write_csv(photos: Path, header: str = "image,label", *, name: str = "labels.csv") -> Path:
    rows = [f"{path.relative_to(photos)},{path.parent.name}" for path in photos.rglob("*.jpg")]
    (photos / name).write_text("\n".join([header, *rows]) + "\n")
    return photos


def flat(photos: Path, target: Path) -> Path:
    """Put all photos into one folder, with the class in a list only."""
    (target / "images").mkdir(parents=True)
    rows = []
    for path in sorted(photos.rglob("*.jpg")):
        name = f"images/{path.parent.name}-{path.name}"
        shutil.copyfile(path, target / name)
        rows.append(f"{name};{path.parent.name}")
    (target / "labels.csv").write_text("\n".join(["File Name;Species", *rows]))
    return target


def write_lst(photos: Path, target: Path, *, classes: tuple[str, ...] = ("cat", "dog")) -> None:
    paths = sorted(photos.rglob("*.jpg"))
    target.write_text(
        "".join(
            f"{number}\t{classes.index(path.parent.name):f}\t{path.relative_to(target.parent)}\n"
            for number, path in enumerate(paths)
        )
    )


@pytest.mark.parametrize("split", ["val", "valid", "validation", "test"])
def test_train_and_val_folders_are_found_and_nothing_is_split_off(
    tmp_path: Path, split: str
) -> None:
    make_photos(tmp_path / "photos/train", {"cat": 3, "dog": 3})
    make_photos(tmp_path / f"photos/{split}", {"cat": 2, "dog": 1}, seed=500)
    prepared = prepare_photos(tmp_path, tmp_path / "photos")
    assert prepared.lock.settings.layout == "Split"
    assert (prepared.status.train_images, prepared.status.validation_images) == (6, 3)


def test_folders_named_like_splits_are_classes_if_the_layout_says_so(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"train": 5, "tram": 5, "test": 5})
    prepared = prepare_photos(tmp_path, photos, layout="Folder")
    assert prepared.packed.classes == ("test", "train", "tram")


@pytest.mark.parametrize("settings", [{"split": {"trainPerClass": 2}}, {"validationSource": {}}])
def test_a_layout_with_splits_leaves_nothing_to_choose(
    tmp_path: Path, photos: Path, settings: dict[str, Any]
) -> None:
    make_photos(tmp_path / "splits/train", {"cat": 3, "dog": 3})
    make_photos(tmp_path / "splits/val", {"cat": 2, "dog": 1}, seed=500)
    if "validationSource" in settings:
        settings = {"validationSource": {"uri": f"file://{photos}"}}
    refusal(tmp_path, tmp_path / "splits", code=ExitCode.InvalidSpec, **settings)


@pytest.mark.parametrize(
    "header", ["path,label", "Image,Class", "filename,category", "file,target"]
)
def test_a_csv_is_found_by_its_usual_headers(tmp_path: Path, photos: Path, header: str) -> None:
    prepared = prepare_photos(tmp_path, write_csv(photos, header))
    assert prepared.lock.settings.layout == "Csv"
    assert prepared.packed.classes == ("cat", "dog")
    assert labels(prepared)["dog/0.jpg"] == 1


def test_a_csv_with_semicolons_names_photos_of_one_folder(tmp_path: Path, photos: Path) -> None:
    prepared = prepare_photos(tmp_path, flat(photos, tmp_path / "flat"))
    assert prepared.status.train_images + prepared.status.validation_images == 14
    assert labels(prepared)["images/dog-0.jpg"] == 1


def test_a_csv_without_a_header_is_read_from_its_first_line(tmp_path: Path, photos: Path) -> None:
    write_csv(photos)
    rows = (photos / "labels.csv").read_text().splitlines()[1:]
    (photos / "labels.csv").write_text("\n".join(rows))
    prepared = prepare_photos(tmp_path, photos, layout="Csv")
    assert len(labels(prepared)) == 14


def test_columns_of_other_names_can_be_named(tmp_path: Path, photos: Path) -> None:
    write_csv(photos, "where,what")
    text = (photos / "labels.csv").read_text()
    (photos / "labels.csv").write_text(
        text.replace("\n", ",may\n").replace("what,may", "what,when")
    )
    error = refusal(tmp_path, photos, layout="Csv")
    assert "its header is 'where, what, when'" in error.message
    assert "dataset.csv.labelColumn" in error.hint
    columns = {"pathColumn": "where", "labelColumn": "what"}
    assert prepare_photos(tmp_path, photos, csv=columns).packed.classes == ("cat", "dog")


def test_train_csv_and_val_csv_give_the_splits(tmp_path: Path, photos: Path) -> None:
    write_csv(photos)
    header, *rows = (photos / "labels.csv").read_text().splitlines()
    (photos / "labels.csv").unlink()
    (photos / "train.csv").write_text("\n".join([header, *rows[::2]]))
    (photos / "val.csv").write_text("\n".join([header, *rows[1::2]]))
    status = prepare_photos(tmp_path, photos).status
    assert (status.train_images, status.validation_images) == (7, 7)


def test_a_csv_that_is_missing_is_named_with_those_there_are(tmp_path: Path, photos: Path) -> None:
    error = refusal(
        tmp_path, write_csv(photos), csv={"file": "truth.csv"}, code=ExitCode.InputNotFound
    )
    assert "labels.csv" in error.hint


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("../secret.jpg", "leads out of the data set"),
        ("/etc/passwd", "leads out of the data set"),
        ("cat/none.jpg", "no such file"),
        ("cat", "no such file"),
    ],
)
def test_a_listed_path_that_is_no_photo_here_is_rejected(
    tmp_path: Path, photos: Path, path: str, reason: str
) -> None:
    draw(1).save(tmp_path / "secret.jpg")
    write_csv(photos)
    with open(photos / "labels.csv", "a") as file:
        file.write(f"{path},cat\n")
    prepared = prepare_photos(tmp_path, photos, badImages={"maxFraction": "0.1"})
    file_ = prepared.file(path)
    assert (file_.fate, file_.reason) == ("rejected", reason)
    assert f"1 photos in the list are not there: {path}" in prepared.lock.warnings
    assert not [warning for warning in prepared.lock.warnings if "below class folders" in warning]


@pytest.mark.parametrize("policy", ["Skip", "Fail"])
def test_listed_photos_that_are_not_there_count_as_bad_images(
    tmp_path: Path, photos: Path, policy: str
) -> None:
    write_csv(photos)
    (photos / "cat/0.jpg").unlink()
    error = refusal(tmp_path, photos, badImages={"policy": policy})
    assert "cat/0.jpg" in error.message
    assert "no such file" in error.message


@pytest.mark.parametrize("row", [2, 4, 15])
def test_a_quotation_mark_that_is_not_closed_is_named_with_its_row(
    tmp_path: Path, photos: Path, row: int
) -> None:
    write_csv(photos)
    rows = (photos / "labels.csv").read_text().splitlines()
    rows[row - 1] = rows[row - 1].replace(",", ',"')
    (photos / "labels.csv").write_text("\n".join(rows))
    error = refusal(tmp_path, photos)
    assert f"labels.csv, row {row} has a quotation mark that is not closed" in error.message


def test_quotation_marks_that_no_rule_foresees_are_read_as_they_are_meant(
    tmp_path: Path, photos: Path
) -> None:
    write_csv(photos, "path,label,caption")
    lines = (photos / "labels.csv").read_text().splitlines()
    path, label = lines[1].split(",")
    lines[1] = f'"{path}" ,"{label}"  ,"The "best" one"'
    (photos / "labels.csv").write_text("\n".join(lines))
    prepared = prepare_photos(tmp_path, photos)
    assert prepared.lock.settings.layout == "Csv"
    assert labels(prepared)[path] == prepared.packed.classes.index(label)


def test_a_table_with_fields_too_long_for_a_list_is_none(tmp_path: Path, photos: Path) -> None:
    (photos / "outlines.csv").write_text(f"path,label\n{'1' * 200_000},cat\n")
    assert prepare_photos(tmp_path, photos).lock.settings.layout == "Folder"


def test_a_metadata_file_of_macos_is_no_list(tmp_path: Path, photos: Path) -> None:
    write_csv(photos)
    (photos / "._labels.csv").write_bytes(b"\0\5\x16\7")
    assert prepare_photos(tmp_path, photos).lock.settings.layout == "Csv"


def test_a_photo_listed_in_two_classes_is_left_out(tmp_path: Path, photos: Path) -> None:
    write_csv(photos)
    with open(photos / "labels.csv", "a") as file:
        file.write("cat/0.jpg,dog\n")
    prepared = prepare_photos(tmp_path, photos)
    assert prepared.status.label_conflicts == 1
    assert "cat/0.jpg" not in labels(prepared)


def test_a_row_without_a_label_is_named(tmp_path: Path, photos: Path) -> None:
    write_csv(photos)
    with open(photos / "labels.csv", "a") as file:
        file.write("cat/0.jpg\n")
    assert "row 16 lacks a path or a label" in refusal(tmp_path, photos, layout="Csv").message


@pytest.mark.parametrize(
    ("header", "row"),
    [
        ("path,label", "images/0.jpg,cat, black"),
        ("path,label", "images/0, a.jpg,cat"),
        ("path,label,split", "images/0.jpg,cat, black,train"),
    ],
)
def test_a_row_that_is_wider_than_the_header_is_refused(
    tmp_path: Path, photos: Path, header: str, row: str
) -> None:
    width = header.count(",") + 1
    rows = [
        f"{cls}/{n}.jpg,{cls}{',train' * (width - 2)}" for cls in ("cat", "dog") for n in range(4)
    ]
    (photos / "labels.csv").write_text("\n".join([header, *rows, row]))
    error = refusal(tmp_path, photos)
    assert f"row 10 has {width + 1} fields, the header {width}" in error.message
    assert "quotation marks" in error.hint


def test_quotation_marks_that_swallow_rows_are_named(tmp_path: Path, photos: Path) -> None:
    write_csv(photos)
    lines = (photos / "labels.csv").read_text().splitlines()
    lines[3] = lines[3].replace(",", ',"')
    lines[6] += '"'
    (photos / "labels.csv").write_text("\n".join(lines))
    error = refusal(tmp_path, photos)
    assert "row 4 has a quotation mark that makes one field of several lines" in error.message


def test_labels_of_two_words_follow_the_name_of_a_picture(tmp_path: Path, photos: Path) -> None:
    lines = [f"{path.relative_to(photos)} big {path.parent.name}" for path in photos.rglob("*.jpg")]
    (photos / "labels.txt").write_text("\n".join(lines))
    assert prepare_photos(tmp_path, photos).packed.classes == ("big cat", "big dog")


def test_a_list_of_photos_that_are_not_there_says_so(tmp_path: Path, photos: Path) -> None:
    write_csv(photos)
    for path in (photos / "dog").iterdir():
        path.unlink()
    error = refusal(tmp_path, photos)
    assert "Add the photos that the list names" in error.hint
    for path in list((photos / "cat").iterdir())[::2]:
        path.unlink()
    assert "Add the photos that the list names" in refusal(tmp_path, photos).hint


def test_photos_in_two_classes_of_a_list_are_not_said_to_be_elsewhere(
    tmp_path: Path, photos: Path
) -> None:
    write_csv(photos)
    with (photos / "labels.csv").open("a") as file:
        file.writelines(f"dog/{path.name},cat\n" for path in (photos / "dog").iterdir())
    message = refusal(tmp_path, photos, csv={}).message
    assert "photos not used (a list names it in several classes)" in message
    assert "outside class folders" not in message


def test_a_header_of_a_list_of_im2rec_is_named(tmp_path: Path, photos: Path) -> None:
    write_lst(photos, photos / "pets.lst")
    text = (photos / "pets.lst").read_text()
    (photos / "pets.lst").write_text("index\tlabel\tpath\n" + text)
    assert "remove it if it is a header" in refusal(tmp_path, photos).hint


def test_lists_whose_names_are_no_splits_are_refused_with_the_words(
    tmp_path: Path, photos: Path
) -> None:
    for name in ("labels_train.csv", "labels_holdout.csv"):
        write_csv(photos, name=name)
    hint = refusal(tmp_path, photos, layout="Csv").hint
    assert "Join those of one split" in hint
    assert "val, valid, validation" in hint


def test_rows_may_end_in_empty_fields_or_in_longer_notes(tmp_path: Path, photos: Path) -> None:
    paths = sorted(path.relative_to(photos) for path in photos.rglob("*.jpg"))
    rows = [f"{path},{path.parent},,," for path in paths]
    (photos / "labels.csv").write_text("\n".join(["path,label", *rows]))
    assert not prepare_photos(tmp_path, photos).lock.warnings
    notes = [row.replace(",,,", ",old, grey") for row in rows]
    (photos / "labels.csv").write_text("\n".join(["path,label,notes", *notes]))
    (warning,) = prepare_photos(tmp_path / "other", photos).lock.warnings
    assert f"{len(rows)} rows of labels.csv have more fields than its header" in warning


def test_labels_that_are_numbers_are_ordered_by_value(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {str(label): 2 for label in (10, 9, 2, 0)})
    prepared = prepare_photos(tmp_path, write_csv(photos))
    assert prepared.packed.classes == ("0", "2", "9", "10")


def test_a_list_of_im2rec_keeps_its_labels_and_finds_the_names_in_the_folders(
    tmp_path: Path, photos: Path
) -> None:
    write_lst(photos, photos / "photos.lst", classes=("dog", "cat"))
    prepared = prepare_photos(tmp_path, photos)
    assert prepared.lock.settings.layout == "Lst"
    assert prepared.packed.classes == ("dog", "cat")
    assert labels(prepared)["dog/0.jpg"] == 0


def test_a_list_with_several_labels_is_refused(tmp_path: Path, photos: Path) -> None:
    (photos / "photos.lst").write_text("0\t1.0\t2.0\tcat/0.jpg\n")
    error = refusal(tmp_path, photos)
    assert "photos.lst, line 1" in error.message
    assert "one label for each photo" in error.hint


def test_classes_txt_gives_the_order_of_the_labels(tmp_path: Path, photos: Path) -> None:
    (photos / "classes.txt").write_text("dog\ncat\n")
    prepared = prepare_photos(tmp_path, photos)
    assert prepared.packed.classes == ("dog", "cat")
    assert labels(prepared)["dog/0.jpg"] == 0


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ("dog\n", "does not name the classes cat"),
        ("dog\ncat\nbird\n", "no photo to train: bird"),
        ("dog\ncat\ndog\n", "names dog twice"),
        ("\n", "is empty"),
    ],
)
def test_classes_txt_must_fit_the_photos(
    tmp_path: Path, photos: Path, names: str, message: str
) -> None:
    (photos / "classes.txt").write_text(names)
    error = refusal(tmp_path, photos)
    assert message in error.message


def packed_records(tmp_path: Path, photos: Path) -> Path:
    """Return a folder with train.rec and val.rec of an earlier job."""
    prepared = prepare_photos(tmp_path / "earlier", photos, image={"resizeShort": 64})
    records = tmp_path / "records"
    shutil.copytree(prepared.directory, records)
    (records / "dataset.lock.json").unlink()
    (records / "classes.txt").write_text("cat\ndog\n")
    return records


def test_records_pass_through_byte_for_byte(tmp_path: Path, photos: Path) -> None:
    records = packed_records(tmp_path, photos)
    prepared = prepare_photos(tmp_path, records, image={"resizeShort": 64})
    assert prepared.lock.settings.layout == "RecordIO"
    assert prepared.packed.classes == ("cat", "dog")
    for name in ("train", "val"):
        ours, theirs = (
            sorted(read_images(directory / f"{name}.rec"))
            for directory in (prepared.directory, records)
        )
        assert ours == theirs


def read_images(path: Path) -> list[tuple[float, bytes]]:
    reader = mx.recordio.MXRecordIO(str(path), "r")
    images = []
    while record := reader.read():
        header, image = mx.recordio.unpack(record)
        images.append((header.label, image))
    return images


def test_records_of_another_size_are_made_to_fit(tmp_path: Path, photos: Path) -> None:
    records = packed_records(tmp_path, photos)
    prepared = prepare_photos(tmp_path, records, image={"resizeShort": 32})
    assert prepared.status.train_images == 11
    assert prepared.file("train.rec#0").sha256 != ""


def test_one_record_file_is_split(tmp_path: Path, photos: Path) -> None:
    records = packed_records(tmp_path, photos)
    for name in ("val.rec", "val.idx", "train.idx"):
        (records / name).unlink()
    status = prepare_photos(tmp_path, records).status
    assert status.train_images + status.validation_images == 11
    assert status.validation_images > 0


def test_a_label_beyond_the_classes_is_refused(tmp_path: Path, photos: Path) -> None:
    records = packed_records(tmp_path, photos)
    (records / "classes.txt").write_text("cat\n")
    error = refusal(tmp_path, records)
    assert "label 1, but classes.txt has only 1 names" in error.message


def test_labels_with_a_gap_are_refused(tmp_path: Path) -> None:
    writer = mx.recordio.MXRecordIO(str(tmp_path / "photos.rec"), "w")
    for number in range(6):
        header = mx.recordio.IRHeader(0, float(number % 2 * 2), number, 0)
        draw(number).save(tmp_path / "one.jpg")
        writer.write(mx.recordio.pack(header, (tmp_path / "one.jpg").read_bytes()))
    writer.close()
    (tmp_path / "records").mkdir()
    (tmp_path / "photos.rec").rename(tmp_path / "records/photos.rec")
    assert "no photo to train: 1" in refusal(tmp_path, tmp_path / "records").message


def write_records(folder: Path, labels: list[Any]) -> Path:
    """Write one photo for each label, with a header as mx.recordio.pack makes it."""
    folder.mkdir()
    writer = mx.recordio.MXRecordIO(str(folder / "photos.rec"), "w")
    for number, label in enumerate(labels):
        draw(number).save(folder / "photo.jpg")
        header = mx.recordio.IRHeader(0, label, number, 0)
        writer.write(mx.recordio.pack(header, (folder / "photo.jpg").read_bytes()))
    writer.close()
    (folder / "photo.jpg").unlink()
    return folder


def test_a_label_packed_as_an_array_is_the_label(tmp_path: Path) -> None:
    records = write_records(tmp_path / "records", [[float(number % 2)] for number in range(10)])
    prepared = prepare_photos(tmp_path, records)
    assert labels(prepared) == {f"photos.rec#{number}": number % 2 for number in range(10)}
    assert prepared.status.rejected_images == 0


@pytest.mark.parametrize(
    ("label", "words"),
    [
        ([1.0, 0.0], "record 1 has 2 labels; a classifier needs one"),
        ([0.5], "record 1 has the label 0.5"),
        ([float("nan")], "record 1 has the label nan"),
        (-1.0, "record 1 has the label -1"),
        (1e9, r"record 1 has the label 1e\+09"),
    ],
)
def test_a_record_that_has_not_one_whole_label_is_refused(
    tmp_path: Path, label: Any, words: str
) -> None:
    error = refusal(tmp_path, write_records(tmp_path / "records", [0.0, label]))
    assert re.search(words, error.message)
    assert "one whole label from 0" in error.hint


def test_an_index_that_does_not_fit_is_not_needed(tmp_path: Path, photos: Path) -> None:
    records = packed_records(tmp_path, photos)
    (records / "train.idx").write_text("0 0\n")
    assert "delete train.idx" in refusal(tmp_path, records).hint
    (records / "train.idx").unlink()
    assert len(labels(prepare_photos(tmp_path, records))) == 14


def cut(records: Path) -> None:
    whole = (records / "train.rec").read_bytes()
    (records / "train.rec").write_bytes(whole[:-100])


def damage(records: Path) -> None:
    whole = bytearray((records / "train.rec").read_bytes())
    whole[0:4] = b"JUNK"
    (records / "train.rec").write_bytes(whole)


def swap_index(records: Path) -> None:
    shutil.copyfile(records / "val.idx", records / "train.idx")


@pytest.mark.parametrize(
    ("harm", "message"),
    [(cut, "cut off"), (damage, "no record begins there"), (swap_index, "does not fit")],
)
def test_records_that_are_not_whole_are_refused(
    tmp_path: Path, photos: Path, harm: Any, message: str
) -> None:
    records = packed_records(tmp_path, photos)
    harm(records)
    error = refusal(tmp_path, records)
    assert message in error.message


def test_a_record_that_is_no_picture_is_rejected(tmp_path: Path, photos: Path) -> None:
    records = packed_records(tmp_path, photos)
    whole = (records / "train.rec").read_bytes()
    place = whole.index(b"\xff\xd8\xff")
    (records / "train.rec").write_bytes(whole[:place] + bytes(64) + whole[place + 64 :])
    prepared = prepare_photos(tmp_path, records, badImages={"maxFraction": "0.5"})
    assert [file.path for file in prepared.lock.rejected()] == ["train.rec#0"]


def test_a_set_layout_overrides_what_would_be_found(tmp_path: Path, photos: Path) -> None:
    prepared = prepare_photos(tmp_path, write_csv(photos), layout="Folder")
    assert prepared.lock.settings.layout == "Folder"
    assert prepared.file("labels.csv").fate == "ignored"


def test_a_table_about_the_photos_is_not_taken_for_a_list(tmp_path: Path, photos: Path) -> None:
    (photos / "cameras.csv").write_text("image,label\nnot/here.jpg,Nikon\n")
    assert prepare_photos(tmp_path, photos).lock.settings.layout == "Folder"


def test_every_layout_of_the_spec_is_in_the_table() -> None:
    assert {"Auto", *LAYOUTS} == set(get_args(Dataset.__annotations__["layout"]))
    assert set(LAYOUTS) == set(get_args(LayoutName))


def test_another_version_of_a_list_makes_another_data_set(tmp_path: Path, photos: Path) -> None:
    write_csv(photos)
    before = prepare_photos(tmp_path, photos, layout="Csv").status
    text = (photos / "labels.csv").read_text()
    (photos / "labels.csv").write_text(text.replace("cat/0.jpg,cat", "cat/0.jpg,dog"))
    after = prepare_photos(tmp_path, photos, layout="Csv").status
    assert after.digest != before.digest
