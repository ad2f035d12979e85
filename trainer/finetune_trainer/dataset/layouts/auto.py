"""Refuses a source that the layout Auto may misread: where what it does not use looks like classes,
splits or photos of the data set, the user decides.
"""

import itertools
from collections.abc import Callable, Container, Iterable, Iterator
from pathlib import PurePosixPath

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.file_types import is_picture
from finetune_trainer.dataset.layouts.agreement import MOSTLY, PREDICTED, compare
from finetune_trainer.dataset.layouts.archives import check_archives, closed_archives
from finetune_trainer.dataset.layouts.folders import other_folders, split_folders
from finetune_trainer.dataset.layouts.found import BELOW, Found
from finetune_trainer.dataset.layouts.inspect_list import (
    deeper_lists,
    inspect,
    may_be_lists,
    usable_lists,
)
from finetune_trainer.dataset.layouts.lists import scan_csv
from finetune_trainer.dataset.layouts.names import (
    WITHOUT_CLASS,
    listed,
    same_name,
    side_of,
    sided,
    split_named,
    split_of,
    split_order,
    words_of,
)
from finetune_trainer.dataset.layouts.open_list import OpenList
from finetune_trainer.dataset.layouts.source import Source
from finetune_trainer.dataset.layouts.unnamed import labels_in_order
from finetune_trainer.dataset.layouts.unread import (
    files_that_say_otherwise,
    has_a_row_for_each,
    lists_of_single_classes,
    named_like_labels,
    names_class_folders,
    names_some,
    sidecar_that_says_otherwise,
    sidecars,
)
from finetune_trainer.dataset.lock import LayoutName, SplitName

COUNTERPARTS = {
    *("mask", "masks", "annotated", "annotation", "annotations", "label", "labels", "thumb"),
    *("thumbs", "thumbnail", "thumbnails", "segmentation", "segmented", "overlay", "overlays"),
    *("edited", "preview", "previews", "depth", "heatmap", "heatmaps", "augmented", "resized"),
    *("preprocessed", "grayscale", "greyscale", "denoised", "binarized", "normalized", "enhanced"),
}
"""Names of folders with pictures that are made from others."""
SCORES = frozenset(
    ("score", "prob", "probability", "confidence", "conf", "prediction", "predicted", "logit")
)
"""Columns of a list that a model wrote."""
ONLY_FOLDERS = "dataset.layout: Folder says that the folders are the classes."


def check(found: Found, source: Source) -> tuple[str, ...]:
    """Raise InvalidData if something in the source speaks against the layout that was found.

    Returns warnings of what may be harmless.
    """
    check_archives(source)
    for file in may_be_lists(source.tree)[0]:
        inspect(source, file)  # so that it is said that it is not used
    for doubt in _DOUBTS.get(found.layout, ()):
        doubt(found, source)
    return tuple(_warnings(found, source))


def _warnings(found: Found, source: Source) -> Iterator[str]:
    count, endings = sidecars(source) if found.layout in ("Folder", "Split") else (0, [])
    if count and 2 * count >= len(_classes(found)):
        yield (
            f"{count} photos have a file of their own beside them ({listed(endings)}), which is not"
            " read: labels in it are not used"
        )
    if found.layout in ("Folder", "Split") and (files := named_like_labels(source)):
        yield (
            f"{listed(files)} is not read: if it has the classes, write them into labels.csv, with"
            " the columns path and label"
        )
    if closed := closed_archives(source):
        yield (
            f"archives that cannot be looked into: {listed(closed)}; if they have photos that are"
            " not in the source, unpack them"
        )


def _check_list(found: Found, source: Source) -> None:
    """Compare a list with the folders that its photos lie in."""
    file = found.read[0]
    known = source.inspected.get(file)
    opened = known.opened if known else None
    is_predicted = opened is not None and bool(
        SCORES.intersection(map(str.lower, opened.columns.names))
    )
    classes = list(_classes(found).items())
    comparison = compare(classes, mostly=PREDICTED if is_predicted else MOSTLY)
    if comparison.agreement == "contradicts" and len({_folder(path) for path, _ in classes}) > 1:
        path, label = comparison.example
        raise _doubt(
            f"{file} puts {comparison.differing} photos into another class than the others of"
            f" their folder, or than its name says: {path} into {label}",
            f"If the list is right, name it: {_setting(file)}. If the folders are right,"
            f" {_classes_by_folder(path)}.",
        )
    inside = {_folder(path) for path, _ in classes}.intersection(source.class_folders)
    is_usual = opened is None or opened.columns.is_usual
    if comparison.agreement == "unrelated" and not is_usual and len(inside) > 1:
        raise _doubt(
            f"{file} names the photos of the folders {listed(source.class_folders)} and has"
            " one more column, which may have their classes, but no usual name for it",
            f"If they are the classes: {_setting(file)}. If the folders are the classes: set"
            " dataset.layout: Folder.",
        )


def _check_side(found: Found, source: Source) -> None:
    """Refuse the list of a validation split, if there are more photos than it names."""
    (file, *others), count = found.read, len(_classes(found))
    is_validation = split_of(PurePosixPath(file).stem) == "validation"
    if not others and is_validation and 2 * count < sum(map(is_picture, source.tree)):
        raise _doubt(
            f"the only list, {file}, is named like a validation split, and names {count} photos of"
            f" {sum(map(is_picture, source.tree))}: they would train",
            f"Add a list of the photos to train on. To train on those alone: {_setting(file)}.",
        )


def _check_records(found: Found, source: Source) -> None:
    """Refuse records beside class folders with more photos than there are records."""
    folders = source.class_folders
    photos = sum(map(is_picture, itertools.chain(*(source.tree.files[name] for name in folders))))
    records = sum(len(scan.photos) for scan in found.splits.values())
    if len(folders) > 1 and records < photos:
        raise _doubt(
            f"{' and '.join(found.read[: len(found.splits)])} has {records} records, and the"
            f" folders {listed(folders)} beside it have {photos} photos",
            "To train on the records: dataset.layout: RecordIO. To train on the folders:"
            " dataset.layout: Folder.",
        )


def _check_counterparts(found: Found) -> None:
    """Refuse classes whose pictures are made from those of others: masks, thumbnails, ..."""
    names = {name for scan in found.splits.values() for name in scan.classes}
    for made in filter(_is_counterpart, names):
        others = names - {made}
        if not others or any({*words_of(made)} & {*words_of(each)} for each in others):
            continue  # faces with a mask, and those with no mask
        stems: dict[bool, set[str]] = {True: set(), False: set()}
        for path, name in _classes(found).items():
            stems[name == made].add(PurePosixPath(path).stem)
        shared = stems[True] & stems[False]
        if 2 * len(shared) > len(stems[True]):
            raise _doubt(
                f"{made} would be a class, and {len(shared)} of its pictures have the names of"
                f" those of {listed(sorted(others))}: they seem to be made from them",
                f"Move {made} away. If it is a class: {_only(found)}",
            )


def _is_counterpart(name: str) -> bool:
    words = set(words_of(name))
    return bool(words) and words <= COUNTERPARTS


def _classes_by_folder(path: str) -> str:
    """Return what to do to take the class of a photo from its folder."""
    if path.count("/") == 1:
        return "set dataset.layout: Folder, or remove the list"
    base = _folder(_folder(path))
    return f"remove the list, and name in dataset.source the folder of theirs ({base})"


def _folder(path: str) -> str:
    return path.rpartition("/")[0]


def _check_other_list(found: Found, source: Source) -> None:
    """Refuse a table of labels beside im2rec's list if both do not say the same."""
    if not (lists := usable_lists(source)):
        return
    classes, others = _classes(found), _classes(scan_csv(source))
    pairs = {(classes[path], name) for path, name in others.items() if path in classes}
    if len(pairs) > len({one for one, _ in pairs}) or len(pairs) > len({two for _, two in pairs}):
        raise _doubt(
            f"{found.read[0]} and {lists[0]} do not put the same photos together into classes",
            f"Remove one of them, or set {_setting(found.read[0])} or {_setting(lists[0])}.",
        )


def _classes(found: Found) -> dict[str, str]:
    """Return the class of each photo by its path."""
    photos = itertools.chain(*(scan.photos for scan in found.splits.values()))
    return {photo.path: photo.class_name for photo in photos}


def _setting(file: str) -> str:
    if file.endswith(".lst"):
        return "dataset.layout: Lst"
    return f"dataset.csv.file: {file}"


def _check_splits(found: Found, source: Source) -> None:
    """Refuse photos beside the folders of splits, and lists that give other classes."""
    tree = source.tree
    others = other_folders(tree, split_folders(tree))
    for used, folder in itertools.product(split_folders(tree).values(), others):
        if _is_same_side(folder, used) and any(map(is_picture, tree.below(folder))):
            raise _doubt(
                f"{used} and {folder} are both named like the same split, with folders in both",
                f"Put the photos of {folder} into {used}, or move {folder} away. To leave it out,"
                " set dataset.layout: Split.",
            )
    with_photos = [f for f in source.class_folders if f in others and not split_of(f)]
    if with_photos:
        used = " and ".join(split_folders(tree).values())
        raise _doubt(
            f"class folders lie in {used}, and other photos beside them in {listed(with_photos)}",
            f"Set dataset.layout: Split to use those in {used} alone, or move the others away.",
        )
    _check_lists(found, source)
    _check_unread(found, source)
    _check_counterparts(found)


def _is_same_side(one: str, two: str) -> bool:
    """Return True for two names of train, or that end alike; test and val may both be there."""
    sides = split_of(one), split_of(two)
    if None in sides:
        return False
    return sides == ("train", "train") or split_order(one) == split_order(two)


def _check_folders(found: Found, source: Source) -> None:
    """Refuse folders that are named like splits, and lists that name the photos."""
    _check_lists(found, source)
    folders = source.class_folders
    both = _both_sides(folders)
    sides = [folder for folder in folders if side_of(folder) or folder in both]
    named = [folder for folder in folders if folder in sides or split_of(folder)]
    odd = [folder for folder in folders if " ".join(words_of(folder)) in WITHOUT_CLASS]
    others = [folder for folder in folders if folder not in named + odd]
    if named and not others:
        raise _doubt(
            f"all folders with photos are named like splits, not like classes: {listed(named)}",
            "Put class folders into each of them, or a list with the class of each photo beside"
            f" them. If they are the classes: {ONLY_FOLDERS}",
        )
    if odd or any(side_of(side) != "train" for side in sides):
        raise _doubt(
            f"{listed(sides or odd)} beside the class folders {listed(others)} is named like a"
            " split, not like a class",
            "Move it away (dataset.validationSource may name it). If it is a class:"
            f" {ONLY_FOLDERS}",
        )
    _check_nested(found, source)
    _check_unread(found, source)
    _check_counterparts(found)


def _both_sides(folders: Iterable[str]) -> list[str]:
    """Return the folders that differ in the name of a split only: train_cat and test_cat."""
    by_rest: dict[str, dict[SplitName, list[str]]] = {}
    for folder in folders:
        if found := sided(folder):
            side, rest = found
            by_rest.setdefault(rest, {}).setdefault(side, []).append(folder)
    both = [sides for sides in by_rest.values() if len(sides) == 2]
    return sorted(itertools.chain(*(names for sides in both for names in sides.values())))


def _check_nested(found: Found, source: Source) -> None:
    """Refuse class folders within a folder of a split, and photos that are mostly further below."""
    tree, scan = source.tree, found.splits["train"]
    classes = {same_name(name) for name in scan.classes}
    for folder in tree.folders[""]:
        below = [name for name in tree.folders[folder] if same_name(name) in classes]
        if split_named(folder) and below and len(scan.classes) > 1:
            raise _doubt(
                f"{folder} has folders of the classes {listed(below)}, which lie beside it, too",
                f"Name it in dataset.validationSource, or move it away. To leave it out:"
                f" {ONLY_FOLDERS}",
            )
    lower = [left.path for left in scan.left_out if left.reason == BELOW]
    if len(lower) > len(scan.photos) > 0:
        raise _doubt(
            f"{len(lower)} photos lie in folders below class folders, such as {lower[0]}, and only"
            f" {len(scan.photos)} directly in them",
            f"Put the photos of each class directly into its folder. To leave the others out:"
            f" {ONLY_FOLDERS}",
        )


def _check_lists(found: Found, source: Source) -> None:
    """Refuse lists that name the photos and are not used: elsewhere, or not understood."""
    photos, classes = _classes(found), listed(found.splits["train"].classes)
    folders = f" If the folders {classes} are the classes: set dataset.layout: {found.layout}."
    folders = folders if len(found.splits["train"].classes) > 1 else ""
    deeper = deeper_lists(source.tree)
    for file in (*itertools.chain(*may_be_lists(source.tree)), *deeper):
        inspected = inspect(source, file)
        if (error := inspected.error) is not None:
            raise _doubt(
                f"{file} names these photos, but it is not used: {error.message}",
                f"{error.hint}{folders}",
            )
        rows = _rows(inspected.opened, photos) if inspected.opened else []
        if rows and compare(rows).agreement != "same":
            raise _doubt(
                f"{file} gives these photos other classes than their folders {classes}",
                f"If the list is right: {_setting(file)}. If the folders are right: set"
                f" dataset.layout: {found.layout}.",
            )
        is_split = len(found.splits) == 1 and _is_split(file)
        if not inspected.opened and is_split and names_some(source, file):
            raise _doubt(
                f"{file} names photos and no classes, and is named like a split",
                "Write one list of all photos, with the columns path, label and split. To leave"
                f" {file} out: {_only(found)}",
            )
        if not inspected.opened and names_class_folders(source, file):
            raise _doubt(
                f"{file} has a class for each of the folders {classes}, and is not used",
                "Write a list with a path and a class for each photo, or put the photos into a"
                f" folder for each class. If the folders are the classes: {_only(found)}",
            )
        if not inspected.opened and has_a_row_for_each(source, file, list(photos.values())):
            raise _doubt(
                f"{file} has as many rows as there are photos, and a class in each, but is not"
                f" used: {inspected.reason}",
                "Write the paths of the photos into it. If the folders are the classes:"
                f" {_only(found)}",
            )


def _is_split(file: str) -> bool:
    return any(map(split_named, words_of(PurePosixPath(file).stem)))


def _rows(opened: OpenList, photos: Container[str]) -> list[tuple[str, str]]:
    """Return the photos that a list names, with their classes."""
    rows = ((opened.resolver.find(each.path), each.class_name) for each in opened.entries())
    return [(path, name) for path, name in rows if path and path in photos]


def _check_unread(found: Found, source: Source) -> None:
    """Refuse files that are not read, if they seem to hold other labels than the folders."""
    lists = {file for file, each in source.inspected.items() if each.opened}
    for file in files_that_say_otherwise(source, {*_classes(found), *found.read, *lists}):
        known = source.inspected.get(file)
        reason = f": {known.reason}" if known else ""
        raise _doubt(
            f"{file} names these photos and may have their classes, but it is not read{reason}",
            "Save it as CSV, with a path and a class for each photo and names of the columns in"
            f" the first line. If the folders are the classes: {_only(found)}",
        )
    if files := lists_of_single_classes(source, {*_classes(found), *found.read, *lists}):
        raise _doubt(
            f"{listed(files)} each name some of the photos: they may be the classes, or splits",
            "Write one list with a path and a class for each photo. If the folders are the classes:"
            f" {_only(found)}",
        )
    for file in labels_in_order(source, _classes(found)):
        raise _doubt(
            f"{file} has one label for each photo, and no path: it is not used",
            "Write a list with a path and a class for each photo. If the folders are the classes:"
            f" {_only(found)}",
        )
    if beside := sidecar_that_says_otherwise(source):
        raise _doubt(
            f"the files beside the photos, such as {beside}, seem to have their classes, and are"
            " not read",
            "Write one list with a path and a class for each photo. If the folders are the classes:"
            f" {_only(found)}",
        )


def _only(found: Found) -> str:
    return f"dataset.layout: {found.layout} says that the folders are the classes."


def _doubt(message: str, hint: str) -> TrainerError:
    return TrainerError(ExitCode.InvalidData, f"dataset.source: {message}", hint)


_DOUBTS: dict[LayoutName, Iterable[Callable[[Found, Source], None]]] = {
    "RecordIO": (_check_records,),
    "Csv": (_check_side, _check_list),
    "Lst": (_check_side, _check_list, _check_other_list),
    "Split": (_check_splits,),
    "Folder": (_check_folders,),
}
"""The checks by the layout that Auto has found."""
