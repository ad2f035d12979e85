"""Puts together what was found and what was decoded: labels, split, and the order of records."""

from collections.abc import Iterator, Mapping

from finetune_trainer.contract import Split
from finetune_trainer.dataset.check import warnings_of
from finetune_trainer.dataset.lock import File, Lock, Part, Settings
from finetune_trainer.dataset.pack import Spooled
from finetune_trainer.dataset.scan import Photo, Scan, printable
from finetune_trainer.dataset.split import rank, training_paths

Outcomes = dict[tuple[Part, str], Spooled]
"""By source and path."""


def compose(
    scans: dict[Part, Scan], outcomes: Outcomes, *, settings: Settings, split: Split
) -> Lock:
    """Build the lock: the labels are the train source's, for both sources."""
    classes = scans["train"].classes
    labels = {name: label for label, name in enumerate(classes)}
    training = _training(scans["train"], outcomes, split) if len(scans) == 1 else None
    files: list[File] = []
    for part, found in scans.items():
        for photo in found.photos:
            outcome = outcomes[part, photo.path]
            side: Part = part
            if training is not None and photo.path not in training:
                side = "validation"
            files.append(_file(photo, outcome, source=part, side=side, labels=labels))
        for left in found.left_out:
            files.append(File(path=left.path, fate=left.fate, source=part, reason=left.reason))
    files.sort(key=lambda file: (file.source, file.path))
    warnings = warnings_of(scans, files)
    return Lock(settings=settings, classes=classes, warnings=warnings, files=tuple(files))


def _training(scan: Scan, outcomes: Outcomes, split: Split) -> set[str]:
    by_class: dict[str, list[tuple[str, str]]] = {}
    for photo in scan.photos:
        outcome = outcomes["train", photo.path]
        if not outcome.reason:
            by_class.setdefault(photo.class_name, []).append((photo.path, outcome.sha256))
    return set().union(*(training_paths(photos, split) for photos in by_class.values()))


def _file(
    photo: Photo, outcome: Spooled, *, source: Part, side: Part, labels: Mapping[str, int]
) -> File:
    return File(
        path=printable(photo.path),
        fate="rejected" if outcome.reason else "packed",
        source=source,
        reason=outcome.reason,
        note=outcome.note,
        sha256=outcome.sha256,
        size=photo.size,
        label=labels[photo.class_name],
        split=None if outcome.reason else side,
    )


def training_order(lock: Lock, outcomes: Outcomes) -> Iterator[tuple[int, Spooled]]:
    """Yield label and photo in the seeded order of train.rec.

    Shuffled here, not only when read: a reader shuffles within a part of a large file.
    """
    seed = lock.settings.seed
    files = [file for file in lock.files if file.split == "train"]
    files.sort(key=lambda file: rank(seed, "order", file.sha256, file.path))
    return _in_order(files, outcomes)


def validation_order(lock: Lock, outcomes: Outcomes) -> Iterator[tuple[int, Spooled]]:
    """Yield label and photo in the order of val.rec: by path."""
    return _in_order([file for file in lock.files if file.split == "validation"], outcomes)


def _in_order(files: list[File], outcomes: Outcomes) -> Iterator[tuple[int, Spooled]]:
    by_name = {(part, printable(path)): spooled for (part, path), spooled in outcomes.items()}
    for file in files:
        assert file.label is not None
        yield file.label, by_name[file.source, file.path]
