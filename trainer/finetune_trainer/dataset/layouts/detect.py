"""Finds out how a source is laid out, or follows `dataset.layout`, and lists what it holds."""

from pathlib import Path

from finetune_trainer.contract import Csv, Dataset, ExitCode, TrainerError
from finetune_trainer.dataset.layouts.folders import has_only_splits, scan_folders, scan_splits
from finetune_trainer.dataset.layouts.found import Found, Scan
from finetune_trainer.dataset.layouts.lists import has_labels, scan_csv, scan_lst
from finetune_trainer.dataset.layouts.records import scan_records
from finetune_trainer.dataset.lock import Layout, SplitName


def find_photos(train: Path, validation: Path | None, spec: Dataset) -> Found:
    """List both sources; the labels are those of the train split."""
    found = find_in(train, spec)
    if validation is None:
        return found
    if len(found.splits) > 1:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"dataset.source has photos to validate of its own ({found.described}), and"
            " dataset.validationSource is set",
            "Remove validationSource, or name only the train split in dataset.source.",
        )
    other = find_in(validation, spec)
    splits: dict[SplitName, Scan] = {"train": found.splits["train"]}
    splits["validation"] = other.splits["train"]
    return Found(found.layout, splits, f"{found.described}; to validate: {other.described}")


def find_in(root: Path, spec: Dataset) -> Found:
    """List one source."""
    csv = spec.csv or Csv()
    match detect(root, spec):
        case "Folder":
            return scan_folders(root)
        case "Split":
            return scan_splits(root)
        case "Csv":
            return scan_csv(root, csv)
        case "Lst":
            return scan_lst(root)
        case "RecordIO":
            return scan_records(root)


def detect(root: Path, spec: Dataset) -> Layout:
    """Return the layout that is set, or the one that the names of files suggest.

    A CSV counts only if its photos are there: a table beside class folders is often about them.
    """
    if spec.layout != "Auto":
        return spec.layout
    if spec.csv is not None:
        return "Csv"
    if any(root.glob("[!.]*.rec")):
        return "RecordIO"
    if any(root.glob("[!.]*.lst")):
        return "Lst"
    if has_only_splits(root):
        return "Split"
    return "Csv" if has_labels(root) else "Folder"
