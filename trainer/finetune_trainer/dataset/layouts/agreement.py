"""Compares two sources of classes: a list, and the folders that its photos lie in."""

import posixpath
from collections import Counter
from collections.abc import Iterable
from typing import Literal, NamedTuple

from finetune_trainer.dataset.layouts.names import same_name

MOSTLY = 0.75
"""The fraction of photos from which folders seem to be the classes of a list."""

Agreement = Literal["same", "contradicts", "unrelated"]


class Comparison(NamedTuple):
    """The classes of a list beside the folders of its photos."""

    agreement: Agreement
    differing: int = 0
    """Number of photos whose class is not that of their folder."""
    example: tuple[str, str] = ("", "")
    """The path of such a photo, and its class in the list."""


def compare(classes: Iterable[tuple[str, str]]) -> Comparison:
    """Compare the class of each photo, given as (path, class), with the name of its folder.

    same: each folder has a class of its own. contradicts: folders are named like classes of the
    list, or most of their photos are of one class, but some photos are in another. unrelated: the
    folders say nothing about the classes.
    """
    photos = [(path, _folder(path), label) for path, label in classes]
    pairs = Counter((folder, label) for _, folder, label in photos)
    main: dict[str, str] = {}
    for (folder, label), _ in pairs.most_common():
        main.setdefault(folder, label)
    by_name = _by_name(pairs)
    expected = by_name or main
    wrong = [
        (path, label) for path, folder, label in photos if expected.get(folder, label) != label
    ]
    if not by_name and (len(set(main.values())) < len(main) or len(main) < 2):
        return Comparison("unrelated")
    if not wrong:
        return Comparison("same")
    if by_name or len(wrong) <= (1 - MOSTLY) * len(photos):
        return Comparison("contradicts", len(wrong), wrong[0])
    return Comparison("unrelated")


def _by_name(pairs: Iterable[tuple[str, str]]) -> dict[str, str]:
    """Return the class of each folder that is named like a class of the list."""
    pairs = list(pairs)
    labels = {same_name(label): label for _, label in pairs}
    folders = {folder for folder, _ in pairs}
    return {f: labels[same_name(f)] for f in folders if same_name(f) in labels}


def _folder(path: str) -> str:
    return posixpath.basename(posixpath.dirname(path))
