"""The stage `prepare`: scan, decode, split, pack, and find all of it again the next time."""

import contextlib
import hashlib
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import msgspec

from finetune_trainer.contract import Dataset
from finetune_trainer.dataset.check import (
    bad_photo_error,
    check_bad_images,
    check_scans,
    check_validation,
)
from finetune_trainer.dataset.compose import Outcomes, compose, training_order, validation_order
from finetune_trainer.dataset.lock import FORMAT, LOCK, Lock, Part, Settings, read_lock
from finetune_trainer.dataset.pack import Spool, encode_photos, open_spool, write_records
from finetune_trainer.dataset.scan import Scan, printable, scan
from finetune_trainer.dataset.split import check_class_sizes, check_split, train_fraction
from finetune_trainer.files import (
    exclusive,
    read_json,
    scratch_directory,
    sync_directory,
    sync_files,
    write_atomic,
)
from finetune_trainer.handoff import FETCHED, PACKED, Fetched, Packed
from finetune_trainer.stage import Reporter, Run

REPORT_SECONDS = 0.5
SHOWN_REJECTIONS = 20


def prepare(run: Run) -> None:
    """Pack the photos, unless the workspace has them packed already."""
    spec = run.job.dataset
    check_split(spec.split, has_validation_source=spec.validation_source is not None)
    scans = _scan_all(read_json(run.paths.job / FETCHED, Fetched))
    check_scans(scans, spec)
    settings = _settings(spec)
    key = _key(scans, settings)
    keys = run.paths.packed / "keys"
    with exclusive(keys / f"{key}.lock", waiting=_waiting(run.reporter)):
        directory = _find(run.paths.packed, keys / key)
        if directory is None:
            directory = _pack(run, scans=scans, settings=settings, key=key)
            write_atomic(keys / key, directory.name.encode())
        else:
            print(f"Data set: found packed in the workspace: {directory.name}", flush=True)
    _hand_on(directory, run)


def _scan_all(fetched: Fetched) -> dict[Part, Scan]:
    scans: dict[Part, Scan] = {"train": scan(Path(fetched.train))}
    if fetched.validation is not None:
        scans["validation"] = scan(Path(fetched.validation))
    return scans


def _settings(spec: Dataset) -> Settings:
    split, validated = spec.split, spec.validation_source is not None
    return Settings(
        format=FORMAT,
        resize_short=spec.image.resize_short,
        jpeg_quality=spec.image.jpeg_quality,
        seed=split.seed,
        train_per_class=split.train_per_class,
        train_fraction=None if validated else train_fraction(split),
        validation_source=validated,
    )


def _key(scans: dict[Part, Scan], settings: Settings) -> str:
    """Return a name for these files as they are now, without opening one."""
    key = hashlib.sha256(msgspec.json.encode(settings))
    for part, found in scans.items():
        key.update(f"{part} {found.empty} {found.left_out}\n".encode())
        for photo in found.photos:
            line = f"{photo.path}\0{photo.size}\0{photo.mtime_ns}\n"
            key.update(line.encode(errors="surrogateescape"))
    return key.hexdigest()[:24]


def _find(packed: Path, key_file: Path) -> Path | None:
    if not key_file.exists():
        return None
    directory = packed / key_file.read_text()
    return directory if directory.is_dir() else None


def _waiting(reporter: Reporter) -> Callable[[int], None]:
    note = "waiting for another job that packs the same photos"
    return lambda seconds: reporter.progress(step=seconds, note=note)


def _hand_on(directory: Path, run: Run) -> None:
    lock = read_lock(directory)
    check_bad_images(lock, run.job.dataset)
    status = lock.status()
    for warning in lock.warnings:
        print(f"Data set: {warning}", flush=True)
    rejected = lock.rejected()
    for file in rejected[:SHOWN_REJECTIONS]:
        print(f"Data set: rejected {file.path}: {file.reason}", flush=True)
    if len(rejected) > SHOWN_REJECTIONS:
        print(f"Data set: all {len(rejected)} rejected files are in {directory / LOCK}", flush=True)
    print(
        f"Data set: {status.classes} classes, {status.train_images} training and"
        f" {status.validation_images} validation images, {status.rejected_images} rejected",
        flush=True,
    )
    run.reporter.dataset(status)
    run.reporter.progress(fraction=1.0)
    packed = Packed(directory=str(directory), classes=lock.classes, status=status)
    run.hand_on(PACKED, packed)


def _pack(run: Run, *, scans: dict[Part, Scan], settings: Settings, key: str) -> Path:
    """Make the packed directory; it appears whole, under its digest."""
    packed = run.paths.packed
    with (
        scratch_directory(packed / f".{key}.tmp") as temporary,
        open_spool(temporary / "spool") as spool,
    ):
        outcomes = _decode(run, scans, spool)
        lock = compose(scans, outcomes, settings=settings, split=run.job.dataset.split)
        check_bad_images(lock, run.job.dataset)
        check_class_sizes(_readable(lock), run.job.dataset.split)
        check_validation(lock)
        directory = packed / lock.digest()
        if not directory.is_dir():
            records = temporary / "records"
            records.mkdir()
            write_records(records / "train", training_order(lock, outcomes), spool=spool)
            write_records(records / "val", validation_order(lock, outcomes), spool=spool)
            (records / LOCK).write_bytes(lock.encode())
            sync_files(records)
            _publish(records, directory)
    return directory


def _publish(records: Path, directory: Path) -> None:
    try:
        records.rename(directory)
    except OSError:
        # Another job may have packed a copy of the same photos meanwhile, under another key.
        if not directory.is_dir():
            raise
    sync_directory(directory.parent)


def _decode(run: Run, scans: dict[Part, Scan], spool: Spool) -> Outcomes:
    """Read every photo once; the reports show that the stage is alive."""
    image, policy = run.job.dataset.image, run.job.dataset.bad_images.policy
    photos = [(part, photo) for part, found in scans.items() for photo in found.photos]
    encoded = encode_photos(
        (str(scans[part].root / photo.path) for part, photo in photos),
        resize_short=image.resize_short,
        quality=image.jpeg_quality,
        threads=run.threads,
    )
    outcomes: Outcomes = {}
    reported = 0.0
    with contextlib.closing(encoded):  # its processes end here, not when it is collected
        for number, ((part, photo), outcome) in enumerate(zip(photos, encoded, strict=True), 1):
            if outcome.reason and policy == "Fail":
                raise bad_photo_error(printable(photo.path), outcome.reason)
            outcomes[part, photo.path] = spool.add(outcome)
            if number == len(photos) or time.monotonic() - reported > REPORT_SECONDS:
                reported = time.monotonic()
                note = f"decoded {number} of {len(photos)} photos"
                run.reporter.progress(step=number, fraction=0.9 * number / len(photos), note=note)
    return outcomes


def _readable(lock: Lock) -> dict[str, int]:
    train = (file for file in lock.files if file.source == "train")
    counts = Counter(file.label for file in train if file.fate == "packed")
    return {name: counts[label] for label, name in enumerate(lock.classes)}
