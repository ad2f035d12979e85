"""Finds the lists or record files of a folder, one for each split."""

from pathlib import Path

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.layouts.found import split_of
from finetune_trainer.dataset.lock import SplitName


def splits_of(
    root: Path, suffix: str, *, layout: str, named: str | None = None
) -> dict[SplitName, Path]:
    """Return the only file with this suffix, or the two that are named after the splits."""
    if named is not None:
        if not (root / named).is_file():
            raise TrainerError(
                ExitCode.InputNotFound,
                f"dataset.csv.file {named} is not in the source",
                f"Found there: {_listed(root.glob(f'[!.]*{suffix}'))}.",
            )
        return {"train": root / named}
    files = sorted(path for path in root.glob(f"[!.]*{suffix}") if path.is_file())
    if len(files) == 1:
        return {"train": files[0]}
    splits: dict[SplitName, Path] = {}
    for path in files:
        split = split_of(path.stem)
        if split is None or split in splits:
            break
        splits[split] = path
    else:
        if "train" in splits:
            return splits
    raise TrainerError(
        ExitCode.InvalidData,
        f"The layout {layout} needs one {suffix} file, or one whose name ends in train and one in"
        f" val; there are {_listed(files)}",
        "Rename or remove files" + (", or set dataset.csv.file." if layout == "Csv" else "."),
    )


def _listed(paths: object) -> str:
    names = [path.name for path in paths]  # type: ignore[attr-defined]
    return ", ".join(sorted(names)[:8]) or "none"
