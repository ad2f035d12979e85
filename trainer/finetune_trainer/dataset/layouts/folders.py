"""The layouts Folder and Split: lists class folders, and all files that are left out."""

import re
from collections.abc import Iterable, Iterator

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.layouts.classes import read_classes
from finetune_trainer.dataset.layouts.found import (
    BELOW,
    CLASSES_FILE,
    Found,
    LeftOut,
    Photo,
    Scan,
    fate_of,
    is_photo,
)
from finetune_trainer.dataset.layouts.names import (
    class_of,
    first_of_splits,
    listed,
    split_named,
)
from finetune_trainer.dataset.layouts.source import Source
from finetune_trainer.dataset.layouts.tree import Tree, join
from finetune_trainer.dataset.lock import SplitName

PART = re.compile(
    r"(?i:part|batch|shard|chunk|session|folder|archive|album|import|upload|export|download|subset"
    r"|images?|imgs?|photos?|pictures?|pics|data|dataset)[ _-]*\d+"
    r"|\d{4}[-_.]\d\d([-_.]\d\d)?|(19|20)\d{6}"
)
"""Names of folders that divide photos by place or time, not by class."""
OUTSIDE = "not in a class folder"


def scan_folders(source: Source) -> Found:
    """List the photos of each class folder; a folder below it is no class."""
    tree = source.tree
    warnings = (*_merged(tree, ""), *_named_train(source), *_parts(source))
    return Found("Folder", {"train": _scan(tree, "")}, "class folders", warnings=warnings)


def _merged(tree: Tree, base: str) -> Iterator[str]:
    """Yield a warning for folders whose names are the same for people."""
    folders: dict[str, list[str]] = {}
    for name in tree.folders[base]:
        folders.setdefault(class_of(name, where="The class folder"), []).append(name)
    for class_name, names in folders.items():
        if len(names) > 1:
            yield (
                f"{len(names)} folders are the class {class_name!r}: their names differ in their"
                f" Unicode form or in spaces around them only: {listed(map(ascii, names))}"
            )


def _named_train(source: Source) -> Iterator[str]:
    """Yield a warning for a class that is named like a split: a train is a vehicle, too."""
    for folder in source.class_folders:
        if split_named(folder) == "train":
            yield f"the folder {folder} is a class, though it is named like a split"


def _parts(source: Source) -> Iterator[str]:
    """Yield a warning if all class folders are named like parts: batch1 and batch2, or dates."""
    folders = source.class_folders
    if len(folders) > 1 and all(map(PART.fullmatch, folders)):
        yield (
            f"the class folders are named like parts of a collection: {listed(folders)}; if the"
            " classes are elsewhere, name them in labels.csv, with the columns path and label"
        )


def scan_splits(source: Source) -> Found:
    """List the class folders in train and in the first of val, valid, ... and test."""
    tree = source.tree
    folders = split_folders(tree)
    if len(folders) < 2:
        there = f"in {next(iter(folders.values()))} only" if folders else "in none of them"
        raise TrainerError(
            ExitCode.InvalidData,
            f"dataset.layout is Split: of train, val, valid, validation and test, class folders are"
            f" {there}",
            "Add the other split, or remove dataset.layout.",
        )
    splits = {split: _scan(tree, folder) for split, folder in folders.items()}
    described = f"class folders in {folders['train']} and {folders['validation']}"
    others = tuple(f"{name} (beside the splits)" for name in other_folders(tree, folders))
    warnings = tuple(text for folder in folders.values() for text in _merged(tree, folder))
    return Found("Split", splits, described, passed_over=others, warnings=warnings)


def split_folders(tree: Tree) -> dict[SplitName, str]:
    """Return the folders that are named after a split and have class folders in them."""
    return first_of_splits([name for name in tree.folders[""] if tree.folders[name]])


def other_folders(tree: Tree, splits: dict[SplitName, str]) -> list[str]:
    """Return the folders beside those of the splits."""
    return [name for name in tree.folders[""] if name not in splits.values()]


def has_splits(source: Source) -> bool:
    """Return True if there are class folders below a train and a validation folder."""
    return len(split_folders(source.tree)) == 2


def _scan(tree: Tree, base: str) -> Scan:
    photos: list[Photo] = []
    left_out = [
        _left_out(tree, join(base, name), OUTSIDE)
        for name in tree.files[base]
        if join(base, name) != CLASSES_FILE
    ]
    empty = []
    for name in tree.folders[base]:
        folder = join(base, name)
        class_name = class_of(name, where="The class folder")
        before = len(photos)
        for file in tree.files[folder]:
            path = join(folder, file)
            if is_photo(tree, path) and (state := tree.state(path)):
                photos.append(Photo(path, class_name, state.st_size, state.st_mtime_ns))
            else:
                left_out.append(_left_out(tree, path, "neither a file nor a link to one"))
        left_out += (_left_out(tree, path, BELOW) for path in tree.below(folder))
        if len(photos) == before:
            empty.append(folder)
    return Scan(tree.root, tuple(photos), _classes(tree, photos), tuple(left_out), tuple(empty))


def _classes(tree: Tree, photos: Iterable[Photo]) -> tuple[str, ...]:
    """Return the names of classes.txt, or those of the folders in the order of code points."""
    names = read_classes(tree.root)
    return names or tuple(sorted({photo.class_name for photo in photos}))


def _left_out(tree: Tree, path: str, reason: str) -> LeftOut:
    return LeftOut(path, *fate_of(tree, path, reason))
