"""Warns of files that look as if photos or a class were missing: hidden folders with pictures, and
folders with as many other files as photos.
"""

import os
import posixpath
import re
from collections import Counter
from collections.abc import Iterable, Iterator

from finetune_trainer.dataset.file_types import is_picture
from finetune_trainer.dataset.layouts.found import Found
from finetune_trainer.dataset.layouts.names import listed
from finetune_trainer.dataset.layouts.tree import Tree, join

_OF_PROGRAMS = re.compile(
    r"thumb|trash|cache|original|checkpoint|double|preview|tmp|temp|sync", re.I
)
"""Parts of the names of hidden folders in which programs keep copies of pictures."""


def unused_warnings(found: Found, tree: Tree) -> Iterator[str]:
    """Yield a warning for each kind."""
    if hidden := [folder for folder in tree.hidden_folders if _may_be_class(tree, folder)]:
        yield (
            f"hidden folders with pictures are not used: {listed(hidden)}; rename those that are"
            " classes"
        )
    if crowded := list(_crowded(found)):
        yield f"as many other files as photos, or more, lie in {listed(crowded, most=4)}"


def _may_be_class(tree: Tree, folder: str) -> bool:
    if _OF_PROGRAMS.search(posixpath.basename(folder)):
        return False
    try:
        return any(map(is_picture, os.listdir(tree.root / folder)))
    except OSError:
        return False


def _crowded(found: Found) -> Iterator[str]:
    """Yield the folders with as many other files as photos, but for files that go with a photo."""
    for scan in found.splits.values():
        photos = Counter(posixpath.dirname(photo.file) for photo in scan.photos)
        others: dict[str, list[str]] = {}
        for left in scan.left_out:
            if left.fate == "ignored":
                folder, name = posixpath.split(left.path)
                if folder in photos:
                    others.setdefault(folder, []).append(name)
        many = {folder for folder, names in others.items() if len(names) >= max(2, photos[folder])}
        stems = _stems(photo.file for photo in scan.photos) if many else frozenset()
        for folder in sorted(many):
            alone = [name for name in others[folder] if not _goes_with(join(folder, name), stems)]
            if len(alone) >= max(2, photos[folder]):
                yield f"{folder or '.'} ({photos[folder]} photos, {len(alone)} like {alone[0]})"


def _stems(paths: Iterable[str]) -> frozenset[str]:
    return frozenset(posixpath.splitext(path)[0] for path in paths)


def _goes_with(path: str, stems: frozenset[str]) -> bool:
    """Return True for a file that is named after a photo: 1.json or 1.jpg.json beside 1.jpg."""
    while (stem := posixpath.splitext(path)[0]) != path:
        if stem in stems:
            return True
        path = stem
    return False
