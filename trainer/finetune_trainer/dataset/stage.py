"""The stage `prepare`: list, decode, split and pack the photos, or find them packed already."""

import contextlib
import hashlib
import itertools
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

import msgspec

from finetune_trainer.contract import Job
from finetune_trainer.dataset.check import (
    bad_photo_error,
    check_bad_images,
    check_found,
    check_groups,
    check_validation,
    rejections,
)
from finetune_trainer.dataset.compose import Photos, compose
from finetune_trainer.dataset.layouts.detect import find_photos
from finetune_trainer.dataset.layouts.found import Found
from finetune_trainer.dataset.lock import (
    FORMAT,
    LOCK,
    Settings,
    SplitName,
    Tally,
    open_lock,
    write_lock,
)
from finetune_trainer.dataset.pack import encode_photos, write_records
from finetune_trainer.dataset.photo import Packing
from finetune_trainer.dataset.split import check_class_sizes, check_split, train_fraction
from finetune_trainer.dataset.spool import Spool
from finetune_trainer.dataset.stored_size import choose_size
from finetune_trainer.run.context import Run
from finetune_trainer.run.files import (
    exclusive,
    mark_used,
    read_json,
    scratch_directory,
    sync_directory,
    sync_files,
    write_atomic,
)
from finetune_trainer.run.handoff import FETCHED, PACKED, Fetched, Packed
from finetune_trainer.run.printable import printable
from finetune_trainer.run.reporter import Pace

SHOWN_REJECTIONS = 20
Record = tuple[int, bytes]
"""A label and an image."""
RECORDS: dict[str, SplitName] = {"train": "train", "val": "validation"}
WAITING = "waiting for another job that packs the same photos"


def prepare(run: Run, *, exact: bool = False) -> None:
    """Pack the photos, unless the workspace has them packed already."""
    spec = run.job.dataset
    fetched = read_json(run.paths.job / FETCHED, Fetched)
    validation = None if fetched.validation is None else Path(fetched.validation)
    for warning in fetched.warnings:
        _say(warning)
    found = find_photos(Path(fetched.train), validation, spec)
    check_split(spec.split, has_validation_source=len(found.splits) > 1)
    check_found(found, spec)
    check_groups(found, spec)
    settings = _settings(run.job, found, fetched, exact=exact)
    key, hidden = _key(found, settings, fetched), found.hidden
    keys = run.paths.packed / "keys"
    with exclusive(keys / f"{key}.lock", waiting=run.reporter.waiting(WAITING)):
        directory = _find(run.paths.packed, keys / key)
        if directory:
            mark_used(directory)
            _say(f"{found.layout}: {found.described}")
            _say(f"found packed in the workspace: {directory.name}")
        else:
            _say(f"{found.layout}: reading {found.described}")
            photos = Photos(found, spec.split.group_by)
            del found  # it takes much more memory
            directory = _pack(run, photos=photos, settings=settings, key=key)
            write_atomic(keys / key, directory.name.encode())
    _hand_on(directory, run, hidden=hidden)


def _settings(job: Job, found: Found, fetched: Fetched, *, exact: bool) -> Settings:
    spec, split, given = job.dataset, job.dataset.split, len(found.splits) > 1
    is_cut = job.training.recipe == "tutorial" or found.layout == "RecordIO"
    return Settings(
        format=FORMAT,
        layout=found.layout,
        framing="Crop" if exact else spec.image.framing or ("Crop" if is_cut else "Whole"),
        resize_short=choose_size(spec.image, found, fetched.input_size),
        jpeg_quality=spec.image.jpeg_quality,
        seed=split.seed,
        train_per_class=split.train_per_class,
        train_fraction=None if given else train_fraction(split),
        group_by=split.group_by,
        near_duplicates=split.near_duplicates,
        validation_given=given,
        exact=exact,
    )


def _key(found: Found, settings: Settings, fetched: Fetched) -> str:
    """Return a key for these files as they are now and for how they are read; opens no photo.

    If the source has a version, it stands for the contents: the times are those of the download.
    """
    key = hashlib.sha256(msgspec.json.encode(settings))
    key.update(f"{found.described!r} {found.passed_over} {found.warnings}\n".encode())
    versions = {"train": fetched.train_version, "validation": fetched.validation_version}
    for split, scan in found.splits.items():
        version = versions[split] or (fetched.train_version if not fetched.validation else None)
        key.update(f"{split} {version} {scan.classes} {scan.empty} {scan.left_out}\n".encode())
        for photo in scan.photos:
            line = f"{photo.path}\0{photo.class_name}\0{photo.size}\0{photo.group}"
            time_of = "" if version else f"\0{photo.mtime_ns}"
            key.update(f"{line}{time_of}\n".encode(errors="surrogateescape"))
    return key.hexdigest()[:24]


def _find(packed: Path, key_file: Path) -> Path | None:
    if not key_file.exists():
        return None
    directory = packed / key_file.read_text()
    return directory if directory.is_dir() else None


def _hand_on(directory: Path, run: Run, *, hidden: int) -> None:
    with open_lock(directory) as (header, files):
        tally = Tally.of(files)
    check_bad_images(tally, run.job.dataset)
    status = tally.status(header, directory.name)
    if header.passed_over:
        _say(f"not used: {'; '.join(header.passed_over)}")
    for warning in header.warnings:
        _say(warning)
    shown = sorted(tally.rejected, key=lambda file: not file.is_unreadable)[:SHOWN_REJECTIONS]
    for file in shown:
        _say(f"rejected {file.path}: {file.reason}")
    if (count := len(tally.rejected)) > len(shown):
        _say(f"all {count} rejected files are in {directory / LOCK}")
    _say(
        f"{status.classes} classes, {status.train_images} training and"
        f" {status.validation_images} validation images, {status.rejected_images} rejected;"
        f" {_others(tally, hidden)}"
    )
    run.reporter.dataset(status)
    run.reporter.progress(fraction=1.0)
    packed = Packed(
        directory=str(directory),
        classes=header.classes,
        framing=header.settings.framing,
        resize_short=header.settings.resize_short,
        status=status,
    )
    run.hand_on(PACKED, packed)


def _say(text: str) -> None:
    """Print a line about the data set; names of users as they are, without control characters."""
    print(printable(f"Data set: {text}"), flush=True)


def _others(tally: Tally, hidden: int) -> str:
    """Return the number of files, and of those that are no images."""
    return (
        f"of {tally.files} files {tally.others.total()} are no images; {hidden} hidden ones"
        " are not counted"
    )


def _pack(run: Run, *, photos: Photos, settings: Settings, key: str) -> Path:
    """Write the packed directory; it appears whole, under its digest."""
    spec, packed = run.job.dataset, run.paths.packed
    with scratch_directory(packed / f".{key}.tmp") as temporary:
        records = temporary / "records"
        records.mkdir()
        with Spool(temporary / "spool") as spool:
            _decode(run, photos, settings, spool)
            composed = compose(photos, spool, spec.split)
            tally = Tally.of(composed.files())
            check_bad_images(tally, spec)
            classes = photos.found.splits["train"].classes
            counts = {name: tally.readable[n] for n, name in enumerate(classes)}
            check_class_sizes(counts, spec.split, reasons=rejections(tally, classes))
            check_validation(tally, settings)
            header = composed.header(tally, settings=settings, split=spec.split)
            directory = packed / write_lock(records, header, composed.files())
            if directory.is_dir():
                mark_used(directory)
                return directory
            reported = _reporting(run, photos=len(photos))
            for name, split in RECORDS.items():
                write_records(records / name, reported(composed.records(split, seed=settings.seed)))
        # After the spool is deleted: its photos need not be written to the disk.
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
        mark_used(directory)
    sync_directory(directory.parent)


def _decode(run: Run, photos: Photos, settings: Settings, spool: Spool) -> None:
    """Decode every photo once; the reports show that the stage is alive."""
    policy = run.job.dataset.bad_images.policy
    packing = Packing(
        settings.framing, settings.resize_short, settings.jpeg_quality, settings.exact
    )
    encoded = encode_photos(photos.tasks(), packing, spool=spool.directory, threads=run.threads)
    started, pace = time.monotonic(), Pace()
    with contextlib.closing(encoded):  # its processes end here, not at garbage collection
        for few in encoded:
            spool.add(few)
            if spool.reasons and policy == "Fail":
                number, reason = next(iter(spool.reasons.items()))
                raise bad_photo_error(photos.path(number), reason)
            done = len(spool)
            if pace.is_due() or done == len(photos):
                note = _speed(done, len(photos), time.monotonic() - started)
                run.reporter.progress(step=done, fraction=0.9 * done / len(photos), note=note)


def _reporting(run: Run, *, photos: int) -> Callable[[Iterable[Record]], Iterator[Record]]:
    """Return a function that passes records on and reports their number, over both splits."""
    numbers, pace = itertools.count(1), Pace()

    def reported(records: Iterable[Record]) -> Iterator[Record]:
        for record, number in zip(records, numbers, strict=False):
            yield record
            if pace.is_due():
                note = f"packed {number} of {photos} photos"
                fraction = 0.9 + 0.1 * number / photos
                run.reporter.progress(step=photos + number, fraction=fraction, note=note)

    return reported


def _speed(done: int, photos: int, seconds: float) -> str:
    rate = done / max(seconds, 0.001)
    left = f", {rate:.0f}/s, {(photos - done) / rate:.0f} s left" if done < photos else ""
    return f"decoded {done} of {photos} photos{left}"
