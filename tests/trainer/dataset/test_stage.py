import dataclasses
import io
import multiprocessing
import os
import shutil
import time
from pathlib import Path
from typing import Any

import msgspec
import mxnet as mx
import numpy as np
import pytest
from finetune_trainer.contract import ExitCode, Training
from finetune_trainer.dataset.lock import LOCK, Lock, open_lock
from finetune_trainer.dataset.stage import prepare
from finetune_trainer.fetch import fetch
from finetune_trainer.run.files import sha256_of
from finetune_trainer.run.handoff import FETCHED, Fetched
from finetune_trainer.run.reporter import Pace
from PIL import Image

from tests.trainer.support.datasets import (
    Prepared,
    copy_with_other_times,
    draw,
    make_hostile_photos,
    make_photos,
    make_run,
    prepare_photos,
    prepare_together,
    refusal,
)

LENIENT: dict[str, Any] = {"badImages": {"maxFraction": "0.5"}}


@dataclasses.dataclass(frozen=True)
class Record:
    """One record as MXNet reads it."""

    label: float
    id: int
    image: Image.Image


def read_records(directory: Path, name: str) -> list[Record]:
    """Read a packed file with MXNet's reader, through the index."""
    reader = mx.recordio.MXIndexedRecordIO(
        str(directory / f"{name}.idx"), str(directory / f"{name}.rec"), "r"
    )
    records = []
    for key in reader.keys:
        header, content = mx.recordio.unpack(reader.read_idx(key))
        records.append(Record(header.label, header.id, Image.open(io.BytesIO(content))))
    reader.close()
    return records


def difference(one: Image.Image, other: Image.Image) -> float:
    left, right = (np.asarray(image.convert("RGB")).astype(float) for image in (one, other))
    return float(np.abs(left - right).mean()) if left.shape == right.shape else 255.0


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_photos(tmp_path / "photos", {"cat": 10, "bird": 6, "dog": 8})


def test_each_record_holds_the_photo_and_label_that_the_lock_says(
    tmp_path: Path, photos: Path
) -> None:
    image = {"framing": "Crop", "resizeShort": 40, "jpegQuality": 95}
    prepared = prepare_photos(tmp_path, photos, image=image)
    assert prepared.packed.classes == ("bird", "cat", "dog")
    for name, split in (("train", "train"), ("val", "validation")):
        expected = [file for file in prepared.lock.files if file.split == split]
        records = read_records(prepared.directory, name)
        assert [record.id for record in records] == list(range(len(expected)))
        for record in records:
            matches = [
                file
                for file in expected
                if difference(Image.open(photos / file.path), record.image) < 5
            ]
            assert [file.label for file in matches] == [record.label]
            expected.remove(matches[0])
        assert expected == []


def test_mxnets_iterator_reads_every_image_once(tmp_path: Path, photos: Path) -> None:
    prepared = prepare_photos(tmp_path, photos)
    labels = []
    iterator = mx.io.ImageRecordIter(
        path_imgrec=str(prepared.directory / "train.rec"),
        path_imgidx=str(prepared.directory / "train.idx"),
        data_shape=(3, 224, 224),
        batch_size=4,
        shuffle=True,
        rand_crop=True,
    )
    for batch in iterator:
        labels += batch.label[0].asnumpy()[: 4 - batch.pad].astype(int).tolist()
    assert sorted(labels) == [0] * 5 + [1] * 8 + [2] * 6


def test_every_class_is_split_alike_and_the_counts_are_reported(
    tmp_path: Path, photos: Path
) -> None:
    prepared = prepare_photos(tmp_path, photos, split={"trainPerClass": 5})
    split = [(file.label, file.split) for file in prepared.lock.files]
    assert [split.count((label, "train")) for label in range(3)] == [5, 5, 5]
    assert [split.count((label, "validation")) for label in range(3)] == [1, 5, 3]
    status = prepared.status
    assert (status.classes, status.train_images, status.validation_images) == (3, 15, 9)
    reported = next(report["dataset"] for report in prepared.reports if "dataset" in report)
    assert reported["trainImages"] == 15
    steps = [report["step"] for report in prepared.reports if report.get("step")]
    assert steps[-1] == 24


def test_training_records_are_mixed_and_validation_records_in_order(
    tmp_path: Path, photos: Path
) -> None:
    prepared = prepare_photos(tmp_path, photos)
    train, validation = (
        [record.label for record in read_records(prepared.directory, name)]
        for name in ("train", "val")
    )
    assert train != sorted(train)
    assert validation == sorted(validation)


def test_a_hostile_folder_is_packed_and_every_other_file_reported(tmp_path: Path) -> None:
    photos = make_hostile_photos(tmp_path / "photos")
    prepared = prepare_photos(tmp_path, photos, image={"resizeShort": 40}, **LENIENT)
    fates = {file.path: (file.fate, file.reason) for file in prepared.lock.files}
    rejected = {
        "cat/truncated.jpg": "damaged or cut off (premature end of data segment)",
        "cat/text.jpg": "not a picture: it begins with b'This is not a ph'",
        "cat/empty.jpg": "empty file",
        "cat/older/2019/0.jpg": "in a folder below its class folder",
        "cat/older/2019/1.jpg": "in a folder below its class folder",
        "stray.jpg": "not in a class folder",
    }
    for path, reason in rejected.items():
        assert fates[path][0] == "rejected"
        assert fates[path][1].startswith(reason)
    assert prepared.status.rejected_images == len(rejected)
    ignored = {path for path, (fate, _) in fates.items() if fate == "ignored"}
    assert ignored == {"cat/notes.txt", "readme.md"}
    assert {file.path: file.note for file in prepared.lock.files if file.note} == {
        "dog/moving.gif": "first of 3 frames",
        "dog/transparent.png": "transparency on white",
        "dog/turned.jpg": "turned upright",
    }
    assert prepared.packed.classes == ("cat", "dog")
    assert prepared.lock.warnings[:2] == (
        "the folder 'bird' holds no photos of its own and is no class",
        "2 photos in folders below class folders are not used: cat/older/2019",
    )
    labels = [file.label for file in prepared.lock.files if file.fate == "packed"]
    assert (labels.count(0), labels.count(1)) == (10, 16)


def test_mxnets_iterator_survives_the_hostile_folder(tmp_path: Path) -> None:
    photos = make_hostile_photos(tmp_path / "photos")
    prepared = prepare_photos(tmp_path, photos, **LENIENT)
    iterator = mx.io.ImageRecordIter(
        path_imgrec=str(prepared.directory / "train.rec"),
        data_shape=(3, 64, 64),
        resize=80,  # with this, MXNet dies of SIGFPE on a record that is no picture
        batch_size=1,
    )
    assert sum(1 for _ in iterator) == prepared.status.train_images


def test_a_photo_of_a_phone_is_packed_upright(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 2, "dog": 2})
    exif = Image.Exif()
    exif[0x0112] = 6
    for seed, name in enumerate(("0.jpg", "1.jpg")):
        draw(seed, size=(80, 40)).save(photos / "cat" / name, exif=exif)
    prepared = prepare_photos(tmp_path, photos, image={"framing": "Crop", "resizeShort": 40})
    cats = [record for record in read_records(prepared.directory, "train") if record.label == 0]
    assert [cat.image.size for cat in cats] == [(40, 80)]


def test_the_digest_depends_on_contents_and_names_alone(tmp_path: Path, photos: Path) -> None:
    copied = copy_with_other_times(photos, tmp_path / "copied")
    first = prepare_photos(tmp_path / "first", photos, threads=1)
    second = prepare_photos(tmp_path / "second", copied, threads=3)
    assert first.status == second.status
    for name in ("train.rec", "train.idx", "val.rec", "val.idx", "dataset.lock.json"):
        assert (first.directory / name).read_bytes() == (second.directory / name).read_bytes()


def change_a_pixel(photos: Path) -> None:
    image = Image.open(photos / "cat/0.jpg")
    image.putpixel((0, 0), (1, 2, 3))
    image.save(photos / "cat/0.jpg", quality=95)


def change_a_label(photos: Path) -> None:
    (photos / "cat/0.jpg").rename(photos / "dog/new.jpg")


@pytest.mark.parametrize("change", [change_a_pixel, change_a_label])
def test_a_pixel_or_a_label_changes_the_digest(tmp_path: Path, photos: Path, change: Any) -> None:
    before = prepare_photos(tmp_path, photos).status
    change(photos)
    assert prepare_photos(tmp_path, photos).status.digest != before.digest


@pytest.mark.parametrize(
    "settings",
    [
        {"split": {"seed": 1}},
        {"split": {"trainPerClass": 3}},
        {"split": {"trainFraction": "0.5"}},
        {"image": {"resizeShort": 64}},
        {"image": {"jpegQuality": 80}},
        {"image": {"framing": "Crop"}},
    ],
)
def test_each_setting_changes_the_digest(tmp_path: Path, photos: Path, settings: Any) -> None:
    plain = prepare_photos(tmp_path, photos).status
    assert prepare_photos(tmp_path, photos, **settings).status.digest != plain.digest


@pytest.mark.parametrize(
    ("recipe", "asked", "framing"),
    [
        ("auto", None, "Whole"),
        ("full", None, "Whole"),
        ("tutorial", None, "Crop"),
        ("tutorial", "Whole", "Whole"),
        ("auto", "Crop", "Crop"),
    ],
)
def test_a_network_sees_whole_photos_but_in_the_tutorial(
    tmp_path: Path, photos: Path, recipe: Any, asked: str | None, framing: str
) -> None:
    prepared = make_run(tmp_path, source={"uri": f"file://{photos}"}, image={"framing": asked})
    job = msgspec.structs.replace(prepared.run.job, training=Training(recipe=recipe))
    prepared.run = dataclasses.replace(prepared.run, job=job)
    fetch(prepared.run)
    prepare(prepared.run)
    assert prepared.packed.framing == prepared.lock.settings.framing == framing


def test_the_default_fraction_is_written_down(tmp_path: Path, photos: Path) -> None:
    prepared = prepare_photos(tmp_path, photos)
    assert prepared.lock.settings.train_fraction == "0.8"
    stated = prepare_photos(tmp_path, photos, split={"trainFraction": "0.8"})
    assert stated.status == prepared.status


def test_the_next_attempt_finds_the_packed_set_without_reading_a_photo(
    tmp_path: Path, photos: Path
) -> None:
    first = prepare_photos(tmp_path, photos)
    for path in photos.rglob("*.jpg"):
        state = path.stat()
        path.write_bytes(bytes(state.st_size))
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    second = prepare_photos(tmp_path, photos, uid="uid-2")
    assert second.status == first.status
    assert second.directory == first.directory


def test_a_list_that_is_read_in_another_way_is_not_found_packed(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"batch1": 5, "batch2": 5})
    paths = sorted(path.relative_to(photos).as_posix() for path in photos.rglob("*.jpg"))

    def warned(name: str, header: str, end: str) -> bool:
        for old in photos.glob("*.csv"):
            old.unlink()
        rows = [f"{path},{'ab'[n % 2]}{end}" for n, path in enumerate(paths)]
        (photos / name).write_text("\n".join([header, *rows, ""]))
        lock = prepare_photos(tmp_path, photos).lock
        assert name in lock.described
        return any("is not used as the split" in warning for warning in lock.warnings)

    assert not warned("labels.csv", "path,label", "")
    assert warned("labels.csv", "path,label,split", ",holdout")
    assert not warned("labels.csv", "path,label", "")
    assert not warned("labels.csv", "path,class", "")
    assert not warned("list.csv", "path,class", "")


def test_a_version_of_the_source_stands_for_the_times_of_its_files(
    tmp_path: Path, photos: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    digests = []
    for version in ("etag-1", "etag-1", "etag-2"):
        prepared = make_run(tmp_path, source={"uri": f"file://{photos}"})
        prepared.run.hand_on(FETCHED, Fetched(train=str(photos), train_version=version))
        for path in photos.rglob("*.jpg"):
            os.utime(path)
        prepare(prepared.run)
        digests.append(prepared.status.digest)
        assert ("found packed" in capsys.readouterr().out) == (len(digests) == 2)
    assert len(set(digests)) == 1


def test_copied_photos_are_read_again_but_not_packed_again(tmp_path: Path, photos: Path) -> None:
    first = prepare_photos(tmp_path, photos)
    written = (first.directory / "train.rec").stat()
    copied = copy_with_other_times(photos, tmp_path / "copied")
    second = prepare_photos(tmp_path, copied)
    assert second.directory == first.directory
    assert (second.directory / "train.rec").stat() == written


def test_leftovers_of_a_killed_attempt_are_deleted(tmp_path: Path, photos: Path) -> None:
    first = prepare_photos(tmp_path, photos)
    key = next(path.name for path in (tmp_path / "packed/keys").iterdir() if not path.suffix)
    first.directory.rename(tmp_path / "packed" / f".{key}.tmp")
    second = prepare_photos(tmp_path, photos)
    assert second.status == first.status
    assert [path.name for path in (tmp_path / "packed").glob(".*")] == []


def test_nothing_is_left_behind_when_the_data_is_refused(tmp_path: Path, photos: Path) -> None:
    refusal(tmp_path, photos, split={"trainPerClass": 6})
    assert [path.name for path in (tmp_path / "packed").iterdir()] == ["keys"]


@pytest.fixture
def large_photos(tmp_path: Path) -> Path:
    """Return 60 photos of 7 megapixels: packing them takes a second or more."""
    for seed, name in enumerate(("cat", "dog")):
        (tmp_path / "large" / name).mkdir(parents=True)
        draw(seed, size=(3000, 2400)).save(tmp_path / f"large/{name}/0.jpg", quality=95)
        for number in range(1, 30):
            # Copies are one picture in one split, so each class needs another one.
            path = tmp_path / f"large/{name}/{number}.jpg"
            shutil.copyfile(tmp_path / f"large/{name}/0.jpg", path)
        draw(seed + 2, size=(3000, 2400)).save(tmp_path / f"large/{name}/30.jpg", quality=95)
    return tmp_path / "large"


def test_of_two_jobs_on_one_workspace_one_packs_and_the_other_waits(
    tmp_path: Path, large_photos: Path
) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(2), context.Queue()
    processes = [
        context.Process(
            target=prepare_together, args=(tmp_path, large_photos, f"uid-{n}", barrier, results)
        )
        for n in range(2)
    ]
    for process in processes:
        process.start()
    (digest, notes), (other_digest, other_notes) = results.get(timeout=60), results.get(timeout=60)
    for process in processes:
        process.join()
    assert digest == other_digest
    assert sorted([notes, other_notes]) == [["decoded"], ["waiting"]]


def test_workers_end_when_the_stage_is_killed(tmp_path: Path, large_photos: Path) -> None:
    context = multiprocessing.get_context("spawn")
    barrier, results = context.Barrier(1), context.Queue()
    process = context.Process(
        target=prepare_together, args=(tmp_path, large_photos, "uid-1", barrier, results)
    )
    process.start()
    assert process.pid
    packed = tmp_path / "packed"
    wait_for(lambda: any(path.stat().st_size for path in packed.glob(".*.tmp/spool/*")))
    workers = descendants(process.pid)
    assert len(workers) >= 2
    process.kill()
    process.join()
    wait_for(lambda: not any(is_running(worker) for worker in workers))
    assert [path.name for path in packed.iterdir() if path.name[0] != "."] == ["keys"]
    assert prepare_photos(tmp_path, large_photos).status.train_images > 0
    assert [path.name for path in packed.glob(".*")] == []


def wait_for(condition: Any) -> None:
    deadline = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def descendants(parent: int) -> list[int]:
    children = Path(f"/proc/{parent}/task/{parent}/children").read_text().split()
    found = [int(child) for child in children]
    return found + [below for child in found for below in descendants(child)]


def test_a_folder_with_one_class_is_refused_with_what_was_found(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 3})
    (photos / "dog").mkdir()
    error = refusal(tmp_path, photos)
    assert error.message == (
        f"dataset.source file://{photos} has 1 class folder(s) with photos (cat: 3), 1 without"
        " photos of their own (dog); at least 2 classes with photos are needed"
    )
    assert "a folder of its own" in error.hint


def test_a_folder_of_photos_without_classes_is_refused(tmp_path: Path) -> None:
    make_photos(tmp_path, {"photos": 3})
    error = refusal(tmp_path, tmp_path / "photos")
    assert "0 class folder(s) with photos, 3 photos outside class folders" in error.message


def test_a_validation_source_validates_with_the_labels_of_the_train_source(tmp_path: Path) -> None:
    train = make_photos(tmp_path / "train", {"bird": 2, "cat": 3, "dog": 3})
    validation = make_photos(tmp_path / "validation", {"cat": 2, "dog": 4}, seed=500)
    prepared = prepare_photos(tmp_path, train, validationSource={"uri": f"file://{validation}"})
    assert (prepared.status.train_images, prepared.status.validation_images) == (8, 6)
    labels = [record.label for record in read_records(prepared.directory, "val")]
    assert labels == [1, 1, 2, 2, 2, 2]
    assert prepared.lock.warnings[0] == "no photo validates these classes: bird"


def test_a_validation_source_with_splits_validates_by_its_validation_split(tmp_path: Path) -> None:
    train = make_photos(tmp_path / "train", {"cat": 3, "dog": 3})
    other = tmp_path / "other"
    make_photos(other / "train", {"cat": 5, "dog": 5}, seed=200)
    make_photos(other / "val", {"cat": 2, "dog": 2}, seed=500)
    make_photos(other / "test", {"cat": 1, "dog": 1}, seed=700)
    prepared = prepare_photos(tmp_path, train, validationSource={"uri": f"file://{other}"})
    status = prepared.status
    assert (status.train_images, status.validation_images, status.rejected_images) == (6, 4, 12)
    assert "to validate: the validation split of class folders in train and val" in (
        prepared.lock.described
    )
    assert any(
        text.startswith("10 photos are not used (in the train split of dataset.validationSource)")
        for text in prepared.lock.warnings
    )


def test_a_list_with_splits_validates_by_its_validation_split(tmp_path: Path) -> None:
    train = make_photos(tmp_path / "train", {"cat": 3, "dog": 3})
    other = make_photos(tmp_path / "other", {"cat": 4, "dog": 4}, seed=500)
    rows = [
        f"{c}/{n}.jpg,{c},{'val' if n == 3 else 'train'}" for c in ("cat", "dog") for n in range(4)
    ]
    (other / "labels.csv").write_text("\n".join(["path,label,split", *rows, ""]))
    status = prepare_photos(tmp_path, train, validationSource={"uri": f"file://{other}"}).status
    assert (status.train_images, status.validation_images, status.rejected_images) == (6, 2, 6)


def test_an_error_in_the_validation_source_names_it(tmp_path: Path) -> None:
    train = make_photos(tmp_path / "train", {"cat": 3, "dog": 3})
    rows = [f"{c}/{n}.jpg,{c}" for c in ("cat", "dog") for n in range(3)]
    (train / "labels.csv").write_text("\n".join(["path,label", *rows, ""]))
    other = make_photos(tmp_path / "other", {"cat": 2, "dog": 2}, seed=500)
    source: dict[str, Any] = {"validationSource": {"uri": f"file://{other}"}}
    code = ExitCode.InputNotFound
    error = refusal(tmp_path, train, code=code, csv={"file": "labels.csv"}, **source)
    assert error.message.startswith("dataset.validationSource: dataset.csv.file labels.csv is not")
    assert "both sources" in error.hint
    make_photos(other / "test", {"cat": 2})
    error = refusal(tmp_path, train, **source)
    assert error.message.startswith("dataset.validationSource: test has folders of the classes")
    source = {"validationSource": {"uri": f"file://{tmp_path / 'outer'}"}}
    shutil.rmtree(other / "test")
    (tmp_path / "outer").mkdir()
    other.rename(tmp_path / "outer/photos")
    assert refusal(tmp_path, train, **source).hint == (
        "If the class folders lie in photos: name that folder at the end of"
        " dataset.validationSource.uri."
    )


def test_the_innermost_folder_that_holds_the_class_folders_is_named(tmp_path: Path) -> None:
    make_photos(tmp_path / "source/seg_train/seg_train", {"cat": 2, "dog": 2})
    assert "lie in seg_train/seg_train: name that" in refusal(tmp_path, tmp_path / "source").hint


def test_a_photo_in_both_splits_is_named(tmp_path: Path) -> None:
    train = make_photos(tmp_path / "train", {"cat": 3, "dog": 3})
    prepared = prepare_photos(tmp_path, train, validationSource={"uri": f"file://{train}"})
    assert prepared.lock.warnings[-1].startswith("6 photos that validate are copies")


def test_the_same_picture_in_another_file_is_a_copy_too(tmp_path: Path) -> None:
    train = make_photos(tmp_path / "train", {"cat": 3, "dog": 3})
    validation = make_photos(tmp_path / "validation", {"cat": 2, "dog": 2}, seed=500)
    with open(train / "cat/0.jpg", "rb") as file:
        jpeg = file.read()
    (validation / "cat/comment.jpg").write_bytes(jpeg[:2] + b"\xff\xfe\x00\x04hi" + jpeg[2:])
    prepared = prepare_photos(tmp_path, train, validationSource={"uri": f"file://{validation}"})
    (warning,) = [w for w in prepared.lock.warnings if "copies" in w]
    assert warning.startswith("1 photos that validate are copies")
    assert "cat/comment.jpg" in warning


def test_records_are_reported_while_they_are_written(
    tmp_path: Path, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Pace, "is_due", lambda pace: True)
    prepared = make_run(tmp_path, source={"uri": f"file://{photos}"})
    fetch(prepared.run)
    prepare(prepared.run)
    notes = [line["note"] for line in prepared.reports if "packed" in line.get("note", "")]
    count = prepared.status.train_images + prepared.status.validation_images
    assert len(notes) == count
    steps = [line["step"] for line in prepared.reports if line.get("step")]
    assert steps == sorted(set(steps))


def test_a_class_that_only_validates_is_refused(tmp_path: Path) -> None:
    train = make_photos(tmp_path / "train", {"cat": 3, "dog": 3})
    validation = make_photos(tmp_path / "validation", {"cat": 2, "wolf": 4})
    error = refusal(tmp_path, train, validationSource={"uri": f"file://{validation}"})
    assert "no photos of: wolf" in error.message


def test_a_class_too_small_for_train_per_class_is_named(tmp_path: Path, photos: Path) -> None:
    error = refusal(tmp_path, photos, split={"trainPerClass": 6})
    assert "needs 7 readable photos" in error.message
    assert "bird (6)" in error.message


def test_unreadable_photos_do_not_count_for_train_per_class(tmp_path: Path, photos: Path) -> None:
    (photos / "bird/0.jpg").write_text("not a photo")
    error = refusal(tmp_path, photos, split={"trainPerClass": 5}, **LENIENT)
    assert "bird (5)" in error.message


def test_more_bad_photos_than_allowed_end_the_job(tmp_path: Path, photos: Path) -> None:
    for name in ("0.jpg", "1.jpg"):
        (photos / "cat" / name).write_text("not a photo")
    error = refusal(tmp_path, photos)
    assert "2 of 24 photos cannot be read" in error.message
    assert "cat/0.jpg (not a picture" in error.message
    allowed = prepare_photos(tmp_path, photos, badImages={"maxFraction": "0.1"})
    assert allowed.status.rejected_images == 2


def test_a_stricter_policy_holds_for_a_set_that_is_packed_already(
    tmp_path: Path, photos: Path
) -> None:
    (photos / "cat/0.jpg").write_text("not a photo")
    prepare_photos(tmp_path, photos, **LENIENT)
    assert "policy is Fail" in refusal(tmp_path, photos, badImages={"policy": "Fail"}).message


def test_the_policy_fail_ends_the_job_at_the_first_bad_photo(tmp_path: Path, photos: Path) -> None:
    (photos / "cat/5.jpg").write_text("not a photo")
    error = refusal(tmp_path, photos, badImages={"policy": "Fail"})
    assert error.message.startswith("cat/5.jpg cannot be read")


def test_names_that_are_not_utf8_are_packed_and_shown_escaped(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 2, "dog": 2})
    os.rename(photos / "cat/0.jpg", os.fsencode(photos / "cat") + b"/\xe4.jpg")
    assert prepare_photos(tmp_path, photos).file("cat/\\xe4.jpg").fate == "packed"


def test_a_class_folder_whose_name_cannot_be_printed_is_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 2, "dog\nwolf": 2})
    assert "cannot be printed" in refusal(tmp_path, photos).message


def test_links_to_photos_and_class_folders_are_followed(tmp_path: Path) -> None:
    elsewhere = make_photos(tmp_path / "elsewhere", {"cat": 3, "dog": 3})
    photos = tmp_path / "photos"
    (photos / "dog").mkdir(parents=True)
    (photos / "cat").symlink_to(elsewhere / "cat")
    for path in (elsewhere / "dog").iterdir():
        (photos / "dog" / path.name).symlink_to(path)
    (photos / "dog/dangling.jpg").symlink_to("/nowhere.jpg")
    prepared = prepare_photos(tmp_path, photos)
    assert prepared.packed.classes == ("cat", "dog")
    assert prepared.file("dog/dangling.jpg").reason == "neither a file nor a link to one"


def test_a_single_photo_of_a_class_trains_and_a_warning_says_so(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 4, "dog": 1})
    prepared = prepare_photos(tmp_path, photos)
    assert prepared.lock.warnings[0].startswith(
        "no photo validates these classes: dog (too few photos"
    )
    assert prepared.lock.warnings[1].startswith("fewer than 5 photos train these classes")


def test_without_a_photo_to_validate_the_data_is_refused(tmp_path: Path) -> None:
    error = refusal(tmp_path, make_photos(tmp_path / "photos", {"cat": 1, "dog": 1}))
    assert "each class has only one" in error.message


def test_a_class_with_readable_photos_only_to_validate_is_named(tmp_path: Path) -> None:
    train = make_photos(tmp_path / "train", {"cat": 3, "dog": 1})
    (train / "dog/0.jpg").write_text("not a photo")
    validation = make_photos(tmp_path / "validation", {"cat": 2, "dog": 4}, seed=500)
    error = refusal(tmp_path, train, validationSource={"uri": f"file://{validation}"}, **LENIENT)
    assert "No photo that can be used is left in 1 class(es): dog (0)" in error.message


def test_the_lock_file_hashes_to_the_directory_name(tmp_path: Path, photos: Path) -> None:
    prepared: Prepared = prepare_photos(tmp_path, photos)
    digest = sha256_of(prepared.directory / LOCK)
    assert prepared.directory.name == prepared.status.digest == digest


def test_a_lock_is_the_same_file_by_file_and_as_a_whole(tmp_path: Path) -> None:
    photos = make_hostile_photos(tmp_path / "photos")
    prepared = prepare_photos(tmp_path, photos, **LENIENT)
    with open_lock(prepared.directory) as (header, files):
        assert Lock(**msgspec.structs.asdict(header), files=tuple(files)) == prepared.lock


def test_both_stages_run_again_from_the_top(tmp_path: Path, photos: Path) -> None:
    prepared = make_run(tmp_path, source={"uri": f"file://{photos}"})
    for _ in range(2):
        fetch(prepared.run)
        prepare(prepared.run)
    assert prepared.status.classes == 3
