"""The table of layouts: finds which one a source has, and lists its photos."""

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from finetune_trainer.contract import Dataset, ExitCode, TrainerError
from finetune_trainer.dataset.layouts.folders import has_only_splits, scan_folders, scan_splits
from finetune_trainer.dataset.layouts.found import Found, Scan
from finetune_trainer.dataset.layouts.lists import has_labels, has_lst, scan_csv, scan_lst
from finetune_trainer.dataset.layouts.records import has_records, scan_records
from finetune_trainer.dataset.lock import LayoutName, SplitName


class Layout(NamedTuple):
    """A way in which photos and their classes are laid out."""

    is_used: Callable[[Path], bool]
    """Returns True if the names in the folder suggest the layout."""
    scan: Callable[[Path, Dataset], Found]


LAYOUTS: dict[LayoutName, Layout] = {
    "RecordIO": Layout(has_records, scan_records),
    "Lst": Layout(has_lst, scan_lst),
    "Split": Layout(has_only_splits, scan_splits),
    "Csv": Layout(has_labels, scan_csv),
    "Folder": Layout(lambda root: True, scan_folders),
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
    other = find_in(validation, spec)
    splits: dict[SplitName, Scan] = {"train": found.splits["train"]}
    splits["validation"] = other.splits["train"]
    return Found(found.layout, splits, f"{found.described}; to validate: {other.described}")


def find_in(root: Path, spec: Dataset) -> Found:
    """List one source."""
    return LAYOUTS[detect(root, spec)].scan(root, spec)


def detect(root: Path, spec: Dataset) -> LayoutName:
    """Return the layout that is set, or the first that the names of files suggest."""
    if spec.layout != "Auto":
        return spec.layout
    if spec.csv is not None:
        return "Csv"
    return next(name for name, layout in LAYOUTS.items() if layout.is_used(root))
