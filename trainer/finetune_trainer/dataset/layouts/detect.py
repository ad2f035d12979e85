"""The table of layouts: finds which one a source has, and lists its photos."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from finetune_trainer.contract import Dataset, ExitCode, TrainerError
from finetune_trainer.dataset.layouts import auto
from finetune_trainer.dataset.layouts.archives import closed_archives
from finetune_trainer.dataset.layouts.folders import has_splits, scan_folders, scan_splits
from finetune_trainer.dataset.layouts.found import Found, LeftOut, accounted
from finetune_trainer.dataset.layouts.inspect_list import usable_lists
from finetune_trainer.dataset.layouts.lists import scan_csv
from finetune_trainer.dataset.layouts.lst import has_lst, scan_lst
from finetune_trainer.dataset.layouts.records import has_records, scan_records
from finetune_trainer.dataset.layouts.source import Source
from finetune_trainer.dataset.layouts.tree import Tree
from finetune_trainer.dataset.layouts.unused import unused_warnings
from finetune_trainer.dataset.lock import LayoutName

VALIDATION = "dataset.validationSource"
NOT_TO_VALIDATE = f"in the train split of {VALIDATION}"
"""The reason for photos that neither train nor validate."""


class Layout(NamedTuple):
    """A way in which photos and their classes are laid out."""

    is_used: Callable[[Source], bool]
    """Returns True if the files suggest the layout."""
    scan: Callable[[Source], Found]
    others: str
    """The reason why photos elsewhere in the source are not used."""


LAYOUTS: dict[LayoutName, Layout] = {
    "RecordIO": Layout(has_records, scan_records, "not in a record"),
    "Lst": Layout(has_lst, scan_lst, "no list names it"),
    "Split": Layout(has_splits, scan_splits, "not below the folders of the splits"),
    "Csv": Layout(lambda source: bool(usable_lists(source)), scan_csv, "no list names it"),
    "Folder": Layout(lambda source: True, scan_folders, "not in a class folder"),
}
"""The layouts in the order in which they are tried, by their names in `dataset.layout`."""


def find_photos(train: Path, validation: Path | None, spec: Dataset) -> Found:
    """List both sources; the labels are those of the train split."""
    found = find_in(train, spec)
    if validation is None:
        return found
    if len(found.splits) > 1:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"dataset.source has a validation split of its own ({found.described}), and"
            " dataset.validationSource is set",
            "Remove validationSource, or name only the train split in dataset.source.",
        )
    other = _find_to_validate(validation, spec)
    return Found(
        found.layout,
        {"train": found.splits["train"], "validation": other.splits["train"]},
        f"{found.described}; to validate: {other.described}",
        passed_over=found.passed_over + other.passed_over,
        warnings=found.warnings + other.warnings,
        hidden=found.hidden + other.hidden,
    )


def _find_to_validate(root: Path, spec: Dataset) -> Found:
    """List a source as one split; if it has splits of its own, its validation split."""
    try:
        other = find_in(root, spec)
    except TrainerError as error:
        raise _in_validation_source(error) from error
    if "validation" not in other.splits:
        return other
    train, validation = other.splits["train"], other.splits["validation"]
    unused = tuple(LeftOut(photo.path, "rejected", NOT_TO_VALIDATE) for photo in train.photos)
    scan = dataclasses.replace(validation, left_out=validation.left_out + train.left_out + unused)
    described = f"the validation split of {other.described}"
    return dataclasses.replace(other, splits={"train": scan}, described=described)


def _in_validation_source(error: TrainerError) -> TrainerError:
    """Return the same error with the name of the source that it is about."""
    message, hint = (
        text.replace("dataset.source", VALIDATION) for text in (str(error), error.hint)
    )
    if VALIDATION not in message:
        message = f"{VALIDATION}: {message}"
    return TrainerError(error.code, message, hint)


def find_in(root: Path, spec: Dataset) -> Found:
    """List one source; every file of it has a fate."""
    source = Source(Tree.of(root), spec)
    layout = detect(source)
    found = LAYOUTS[layout].scan(source)
    if spec.layout == "Auto" and source.csv.file is None:
        warnings = auto.check(found, source)
        found = dataclasses.replace(found, warnings=found.warnings + warnings)
    closed = (f"{file} (an archive of a kind that is not read)" for file in closed_archives(source))
    unused = (*_unused_lists(found, source), *closed)
    found = dataclasses.replace(found, passed_over=found.passed_over + unused)
    found = accounted(found, source.tree, LAYOUTS[layout].others)
    warnings = (*found.warnings, *unused_warnings(found, source.tree))
    return dataclasses.replace(found, warnings=warnings)


def _unused_lists(found: Found, source: Source) -> Iterator[str]:
    named = {each.partition(" (")[0] for each in found.passed_over}
    for file, inspected in source.inspected.items():
        if file not in found.read and file not in named and inspected.is_list:
            reason = inspected.reason.removeprefix(f"{file} ")
            yield f"{file} ({reason or f'the layout {found.layout} is used'})"


def detect(source: Source) -> LayoutName:
    """Return the layout that is set, or the first that the files suggest."""
    if source.spec.layout != "Auto":
        return source.spec.layout
    if source.spec.csv is not None:
        return "Csv"
    return next(name for name, layout in LAYOUTS.items() if layout.is_used(source))
