"""The layouts Folder and Split: lists class folders, and all files that are left out."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from finetune_trainer.contract import Dataset, ExitCode, TrainerError
from finetune_trainer.dataset.layouts.classes import CLASSES_FILE, read_classes
from finetune_trainer.dataset.layouts.found import (
    Found,
    LeftOut,
    Photo,
    Scan,
    fate_of,
    is_picture,
    printable,
    split_of,
)
from finetune_trainer.dataset.lock import SplitName
from finetune_trainer.run.hidden_files import is_skipped


def scan_folders(root: Path, _: Dataset) -> Found:
    """List the photos of each class folder; a folder below it is no class."""
    return Found("Folder", {"train": _scan(root, names=read_classes(root))}, "class folders")


def scan_splits(root: Path, _: Dataset) -> Found:
    """List the class folders in train/ and in the first of val/, valid/, validation/ and test/."""
    folders = split_folders(root)
    if len(folders) < 2:
        raise TrainerError(
            ExitCode.InvalidData,
            "dataset.layout is Split, but class folders were found below"
            f" {folders[next(iter(folders))].name if folders else 'none'} of train, val,"
            " validation and test only",
            "Add the other split, or remove dataset.layout.",
        )
    names = read_classes(root)
    splits = {split: _scan(folder, names=names) for split, folder in folders.items()}
    others = [path.name for path in _folders(root) if path not in folders.values()]
    described = f"class folders in {folders['train'].name} and {folders['validation'].name}"
    if others:
        described += f"; not used: {', '.join(others)}"
    return Found("Split", splits, described)


def split_folders(root: Path) -> dict[SplitName, Path]:
    """Return the folders named like a split that have class folders in them."""
    splits: dict[SplitName, Path] = {}
    order = ("train", "training", "val", "valid", "validation", "test")
    for name in order:
        path = root / name
        split = split_of(name)
        if split and split not in splits and path.is_dir() and _folders(path):
            splits[split] = path
    return splits


def has_only_splits(root: Path) -> bool:
    """Return True if every folder is a split and both are there: no class has such a name."""
    return len(split_folders(root)) == 2 and all(split_of(path.name) for path in _folders(root))


def _folders(root: Path) -> list[Path]:
    return [Path(entry.path) for entry in _entries(root) if entry.is_dir()]


def _scan(root: Path, *, names: tuple[str, ...] | None) -> Scan:
    photos: list[Photo] = []
    left_out: list[LeftOut] = []
    empty = []
    for entry in _entries(root):
        if entry.name == CLASSES_FILE:
            continue
        if not entry.is_dir():
            left_out.append(_left_out(entry, entry.name, "not in a class folder"))
            continue
        before = len(photos)
        for found in _class_folder(entry):
            (photos if isinstance(found, Photo) else left_out).append(found)  # type: ignore[arg-type]
        if len(photos) == before:
            empty.append(entry.name)
    classes = names or tuple(dict.fromkeys(photo.class_name for photo in photos))
    return Scan(root, tuple(photos), classes, tuple(left_out), tuple(empty))


def _class_folder(folder: os.DirEntry[str]) -> Iterator[Photo | LeftOut]:
    if not folder.name.isprintable():
        raise TrainerError(
            ExitCode.InvalidData,
            f"The class folder {folder.name!r} has a name that cannot be printed",
            "Rename it: the name becomes the class's.",
        )
    for entry in _entries(folder.path):
        path = f"{folder.name}/{entry.name}"
        if entry.is_dir():
            yield from _nested(entry, path)
        elif is_picture(entry.name) and (state := _regular_file(entry)):
            yield Photo(path, folder.name, state.st_size, state.st_mtime_ns)
        else:
            yield _left_out(entry, path, "neither a file nor a link to one")


def _nested(folder: os.DirEntry[str], path: str) -> Iterator[LeftOut]:
    for directory, folders, names in os.walk(folder.path):
        folders[:] = sorted(name for name in folders if not is_skipped(name))
        below = os.path.relpath(directory, folder.path)
        for name in sorted(names):
            nested = os.path.normpath(f"{path}/{below}/{name}")
            reason = "in a folder below its class folder"
            yield LeftOut(printable(nested), *fate_of(name, reason))


def _left_out(entry: os.DirEntry[str], path: str, reason: str) -> LeftOut:
    return LeftOut(printable(path), *fate_of(entry.name, reason))


def _entries(folder: Path | str) -> list[os.DirEntry[str]]:
    with os.scandir(folder) as entries:
        kept = [entry for entry in entries if not is_skipped(entry.name)]
    return sorted(kept, key=lambda entry: entry.name)


def _regular_file(entry: os.DirEntry[str]) -> os.stat_result | None:
    try:
        # Not entry.stat(), which keeps its result: a folder may be large.
        state = os.stat(entry.path)
    except FileNotFoundError:  # a link whose target does not exist
        return None
    return state if stat.S_ISREG(state.st_mode) else None
