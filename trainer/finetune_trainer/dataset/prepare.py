"""The stage `prepare`: scan, decode, split, pack, and find all of it again the next time."""

import contextlib
import hashlib
import time
from collections import Counter
from pathlib import Path

import msgspec

from finetune_trainer.contract import Dataset
from finetune_trainer.dataset.check import (
    bad_photo_error,
    check_bad_images,
    check_found,
    check_validation,
)
from finetune_trainer.dataset.compose import (
    Outcome,
    compose,
    in_order,
    training_order,
    validation_order,
)
from finetune_trainer.dataset.found import Found, printable
from finetune_trainer.dataset.layout import find_photos
from finetune_trainer.dataset.lock import FORMAT, LOCK, Lock, Settings, read_lock
from finetune_trainer.dataset.pack import Packing, Spool, encode_photos, open_spool, write_records
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
from finetune_trainer.stage import Run

REPORT_SECONDS = 0.5
SHOWN_REJECTIONS = 20
WAITING = "waiting for another job that packs the same photos"


def prepare(run: Run, *, exact: bool = False) -> None:
    """Pack the photos, unless the workspace has them packed already."""
    spec = run.job.dataset
    fetched = read_json(run.paths.job / FETCHED, Fetched)
    validation = None if fetched.validation is None else Path(fetched.validation)
    found = find_photos(Path(fetched.train), validation, spec)
    check_split(spec.split, has_validation_source=len(found.sides) > 1)
    check_found(found, spec)
    settings = _settings(spec, found, exact=exact)
    key = _key(found, settings, fetched)
    keys = run.paths.packed / "keys"
    with exclusive(keys / f"{key}.lock", waiting=run.reporter.waiting(WAITING)):
        directory = _find(run.paths.packed, keys / key)
        if directory is None:
            directory = _pack(run, found=found, settings=settings, key=key)
            write_atomic(keys / key, directory.name.encode())
        else:
            print(f"Data set: found packed in the workspace: {directory.name}", flush=True)
    _hand_on(directory, run)


def _settings(spec: Dataset, found: Found, *, exact: bool) -> Settings:
    split, given = spec.split, len(found.sides) > 1
    return Settings(
        format=FORMAT,
        layout=found.layout,
        resize_short=spec.image.resize_short,
        jpeg_quality=spec.image.jpeg_quality,
        seed=split.seed,
        train_per_class=split.train_per_class,
        train_fraction=None if given else train_fraction(split),
        validation_given=given,
        exact=exact,
    )


def _key(found: Found, settings: Settings, fetched: Fetched) -> str:
    """Return a name for these files as they are now, without opening one.

    A version of the source stands for the contents; times are of the download then.
    """
    key = hashlib.sha256(msgspec.json.encode(settings))
    versions = {"train": fetched.train_version, "validation": fetched.validation_version}
    for part, scan in found.sides.items():
        version = versions[part] or (fetched.train_version if not fetched.validation else None)
        key.update(f"{part} {version} {scan.classes} {scan.empty} {scan.left_out}\n".encode())
        for photo in scan.photos:
            line = f"{photo.path}\0{photo.class_name}\0{photo.size}"
            time_of = "" if version else f"\0{photo.mtime_ns}"
            key.update(f"{line}{time_of}\n".encode(errors="surrogateescape"))
    return key.hexdigest()[:24]


def _find(packed: Path, key_file: Path) -> Path | None:
    if not key_file.exists():
        return None
    directory = packed / key_file.read_text()
    return directory if directory.is_dir() else None


def _hand_on(directory: Path, run: Run) -> None:
    lock = read_lock(directory)
    check_bad_images(lock, run.job.dataset)
    status = lock.status(directory.name)
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


def _pack(run: Run, *, found: Found, settings: Settings, key: str) -> Path:
    """Make the packed directory; it appears whole, under its digest."""
    print(f"Data set: reading {found.described}", flush=True)
    packed = run.paths.packed
    with (
        scratch_directory(packed / f".{key}.tmp") as temporary,
        open_spool(temporary / "spool") as spool,
    ):
        packing = Packing(settings.resize_short, settings.jpeg_quality, settings.exact)
        outcomes = _decode(run, found, packing, spool)
        lock, spooled = compose(found, outcomes, settings=settings, split=run.job.dataset.split)
        del outcomes  # the lock has what is still needed: memory stays low
        check_bad_images(lock, run.job.dataset)
        check_class_sizes(_readable(lock), run.job.dataset.split)
        check_validation(lock)
        directory = packed / lock.digest()
        if not directory.is_dir():
            records = temporary / "records"
            records.mkdir()
            for name, numbers in (
                ("train", training_order(lock)),
                ("val", validation_order(lock)),
            ):
                write_records(records / name, in_order(numbers, lock, spooled), spool=spool)
            with open(records / LOCK, "wb") as file:
                file.writelines(lock.lines())
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


def _decode(run: Run, found: Found, packing: Packing, spool: Spool) -> list[Outcome]:
    """Read every photo once; the reports show that the stage is alive."""
    policy = run.job.dataset.bad_images.policy
    photos = [(part, photo) for part, scan in found.sides.items() for photo in scan.photos]
    encoded = encode_photos(
        ((f"{found.sides[part].root}/{photo.file}", photo.offset) for part, photo in photos),
        packing,
        threads=run.threads,
    )
    outcomes: list[Outcome] = []
    started = reported = time.monotonic()
    with contextlib.closing(encoded):  # its processes end here, not when it is collected
        for (part, photo), outcome in zip(photos, encoded, strict=True):
            if outcome.reason and policy == "Fail":
                raise bad_photo_error(printable(photo.path), outcome.reason)
            outcomes.append((part, photo, spool.add(outcome)))
            now, done = time.monotonic(), len(outcomes)
            if done == len(photos) or now - reported > REPORT_SECONDS:
                reported = now
                note = _pace(done, len(photos), now - started)
                run.reporter.progress(step=done, fraction=0.9 * done / len(photos), note=note)
    return outcomes


def _pace(done: int, photos: int, seconds: float) -> str:
    rate = done / max(seconds, 0.001)
    left = f", {rate:.0f}/s, {(photos - done) / rate:.0f} s left" if done < photos else ""
    return f"decoded {done} of {photos} photos{left}"


def _readable(lock: Lock) -> dict[str, int]:
    train = (file for file in lock.files if file.source == "train" and file.fate == "packed")
    counts = Counter(file.label for file in train)
    return {name: counts[label] for label, name in enumerate(lock.classes)}
