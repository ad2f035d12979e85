"""Chooses the lists or record files of a source, one for each split."""

import posixpath
from collections.abc import Sequence
from typing import NamedTuple

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.layouts.names import (
    TRAIN,
    VALIDATION,
    first_of_splits,
    split_of,
)
from finetune_trainer.dataset.layouts.tree import Tree
from finetune_trainer.dataset.lock import LayoutName, SplitName


class Chosen(NamedTuple):
    """The files of the splits, and those that are not used."""

    files: dict[SplitName, str]
    passed_over: tuple[str, ...] = ()
    """Each file with the reason."""


def files_with(tree: Tree, *suffixes: str) -> list[str]:
    """Return the files of the source's own folder with these endings."""
    return [name for name in tree.files[""] if name.lower().endswith(suffixes)]


def choose(files: Sequence[str], *, layout: LayoutName) -> Chosen:
    """Return the only file, or the two that are named after the splits.

    Of several validation splits the first validates, in the order val, valid, ..., test.
    """
    if len(files) == 1:
        return Chosen({"train": files[0]})
    chosen = first_of_splits(files, named_after=_named_after)
    others = [file for file in files if file not in chosen.values()]
    if len(chosen) < 2 or any(split_of(_named_after(file)) == "train" for file in others):
        raise _unclear(files, layout)
    reason = f"{chosen['validation']} validates"
    return Chosen(chosen, tuple(f"{file} ({reason})" for file in others))


def _named_after(file: str) -> str:
    """Return the name that tells the split: the folder's, or the file's without its ending."""
    folder = file.partition("/")[0] if "/" in file else ""
    return folder or posixpath.splitext(file)[0]


def _unclear(files: Sequence[str], layout: LayoutName) -> TrainerError:
    kind = {"RecordIO": ".rec file", "Lst": ".lst file"}.get(layout, "list")
    remedy = ", or name the list in dataset.csv.file" if layout == "Csv" else ""
    return TrainerError(
        ExitCode.InvalidData,
        f"The layout {layout} needs one {kind}, or one whose name ends in train and one in val;"
        f" there are {', '.join(sorted(files)[:8]) or 'none'}",
        f"Join those of one split, rename or remove files{remedy}. The words for splits are"
        f" {', '.join(TRAIN)}; {', '.join(VALIDATION)}.",
    )
