"""Compares two sources of classes: a list, and the folders that its photos lie in."""

import posixpath
import re
from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple

from finetune_trainer.dataset.layouts.names import plain_name, same_name, split_named

MOSTLY = 0.75
"""The fraction of photos from which folders seem to be the classes of a list."""
PREDICTED = 0.55
"""The same for a list of predictions: those of two classes guess half of the photos."""
_NUMBER_OR_HASH = re.compile(r"\d+|[\da-f]{1,3}")
"""Names of folders that programs give: they may be those of a class by chance."""

Agreement = Literal["same", "contradicts", "unrelated"]


class Comparison(NamedTuple):
    """The classes of a list beside the folders of its photos."""

    agreement: Agreement
    differing: int = 0
    """Number of photos whose class is not that of their folder."""
    example: tuple[str, str] = ("", "")
    """The path of such a photo, and its class in the list."""


def may_be_classes(values: Iterable[str], *, of: int) -> bool:
    """Return True if two values at least are repeated, and few differ among so many fields."""
    counts = Counter(values)
    return len(counts) <= of / 2 and sum(count > 1 for count in counts.values()) > 1


def compare(classes: Iterable[tuple[str, str]], *, mostly: float = MOSTLY) -> Comparison:
    """Compare the class of each photo, given as (path, class), with the name of its folder.

    same: each folder has a class of its own. contradicts: folders are named like classes of the
    list, or most of their photos are of one class, but some photos are in another. unrelated: the
    folders say nothing about the classes.
    """
    classes = list(classes)
    named = _by_name(classes)
    photos = [(path, _folder(path, named), label) for path, label in classes]
    pairs = Counter((folder, label) for _, folder, label in photos)
    main: dict[str, str] = {}
    for (folder, label), _ in pairs.most_common():
        main.setdefault(folder, label)
    agreeing = sum(pairs[pair] for pair in main.items())
    is_paired = len(set(main.values())) == len(main) >= 2 and agreeing >= mostly * len(photos)
    if not is_paired and all(map(_NUMBER_OR_HASH.fullmatch, named)):
        return Comparison("unrelated")
    expected = named or main
    wrong = [
        (path, label) for path, folder, label in photos if expected.get(folder, label) != label
    ]
    return Comparison("contradicts", len(wrong), wrong[0]) if wrong else Comparison("same")


def _by_name(classes: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the class of each folder that is named like a class of the list.

    Folders named like cat, Cats or cat_images all are; those named like splits are not.
    """
    pairs = {(posixpath.dirname(path), label) for path, label in classes}
    exact = {same_name(label): label for _, label in pairs}
    plain: dict[str, set[str]] = {}
    for label in exact.values():
        plain.setdefault(plain_name(label), set()).add(label)
    alike = {key: each for key, (each, *others) in plain.items() if not others}
    folders = {folder for path, _ in pairs for folder in path.split("/")}
    named = {f: exact.get(same_name(f)) or alike.get(plain_name(f)) for f in folders if f}
    return {f: label for f, label in named.items() if label and not split_named(f)}


def _folder(path: str, named: dict[str, str]) -> str:
    """Return the innermost folder with the name of a class, or else the one of the photo."""
    folders = posixpath.dirname(path).split("/")
    return next((folder for folder in reversed(folders) if folder in named), folders[-1])
