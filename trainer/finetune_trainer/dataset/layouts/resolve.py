"""Finds the files that a list means: lists are written on other machines, by other programs."""

import posixpath
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.file_types import is_picture
from finetune_trainer.dataset.layouts.names import split_of
from finetune_trainer.dataset.layouts.tree import Tree, join

LEADS_OUT = "leads out of the data set"
NO_FILE = "no such file"

Index = dict[str, list[str]]
"""Paths of files by a key."""


class FileIndex:
    """The files of a source by spellings of their paths and names; made when first needed."""

    def __init__(self, tree: Tree) -> None:
        self.tree = tree

    @cached_property
    def by_path(self) -> Index:
        """The files by their paths."""
        return _index(self.tree, _key)

    @cached_property
    def by_stem(self) -> Index:
        """The pictures by their paths without the ending."""
        return _index(self._pictures(), lambda path: _key(_stem(path)))

    @cached_property
    def by_name(self) -> Index:
        """The files by their names."""
        return _index(self.tree, lambda path: _key(posixpath.basename(path)))

    @cached_property
    def by_bare_name(self) -> Index:
        """The pictures by their names without the ending."""
        return _index(self._pictures(), lambda path: _key(_stem(posixpath.basename(path))))

    def with_name(self, name: str) -> list[str]:
        """Return the files of this name, in any folder."""
        return self.by_name.get(_key(name), [])

    def _pictures(self) -> Iterator[str]:
        return (path for path in self.tree if is_picture(path))


class Resolver:
    r"""Finds the files that the paths of one list mean, for all of them in the same way.

    Paths are relative to the list's folder or to the source. If most are not there: without the
    folders at the beginning of most of them (`C:\\photos\\cat\\1.jpg`, `/content/cat/1.jpg`);
    if most are not there either: by the name alone, in any folder. Case, Unicode form and a missing
    ending of the name do not matter, if no more than one file fits.
    """

    def __init__(self, index: FileIndex, file: str, names: Callable[[], Iterable[str]]) -> None:
        self._index, self._tree = index, index.tree
        folder, _, name = file.rpartition("/")
        self._bases = tuple(dict.fromkeys((folder, "")))
        split = split_of(_stem(name))
        self._own = {f for f in self._tree.folders[""] if split and split_of(f) == split}
        """The folders in which names are sought first: those in train for train.csv."""
        self.removed = ""
        """The beginning that is removed from each path."""
        self.by_name = False
        """True if files are found by their names alone."""
        self.other_endings = False
        """True if files are found whose endings are not those in the list."""
        self.found = self._choose(names)
        """Number of names that are found."""

    def find(self, name: str) -> str | None:
        """Return the path of the file in the source, or None.

        Raises InvalidData for a name that several files have.
        """
        path = _plain(name).removeprefix(self.removed)
        if self.other_endings and is_picture(path):
            path = _stem(path)
        if not self.by_name:
            return self._at(path) or self._alike(path, name)
        found = self._named(path)
        return _only(found, name) if found else None

    def reason(self, name: str) -> str:
        """Return the reason why `find` returned None."""
        parts = _plain(name).split("/")
        return LEADS_OUT if ".." in parts or not parts[0] else NO_FILE

    def _choose(self, names: Callable[[], Iterable[str]]) -> int:
        count, found = 0, 0
        for name in names():
            count += 1
            found += self.find(name) is not None
        if 2 * found >= count:
            return found
        starts = Counter(start for name in names() if (start := self._start_of(_plain(name))))
        for start, number in starts.most_common(1):
            if number > found:
                self.removed, found = start, number
        by_name = sum(bool(self._named(_plain(name))) for name in names())
        if 2 * found < count and by_name > found:
            self.removed, self.by_name, found = "", True, by_name
        if not found:
            self.other_endings = True
            found = sum(self.find(name) is not None for name in names())
            self.other_endings = found > 0
        return found

    def _start_of(self, path: str) -> str | None:
        """Return the shortest beginning without which the file is there."""
        places = (place for place, character in enumerate(path, 1) if character == "/")
        return next((path[:place] for place in places if self._at(path[place:])), None)

    def _at(self, path: str) -> str | None:
        if not path or path.startswith("/") or "\0" in path:
            return None
        for base in self._bases:
            joined = posixpath.normpath(join(base, path))
            if joined in self._tree:
                return joined
        return None

    def _alike(self, path: str, name: str) -> str | None:
        keys = [_key(posixpath.normpath(join(base, path))) for base in self._bases]
        for index in (self._index.by_path, self._index.by_stem):
            for key in keys:
                if found := index.get(key):
                    return _only(found, name)
        return None

    def _named(self, path: str) -> list[str]:
        key = _key(posixpath.basename(path))
        found = self._index.by_name.get(key) or self._index.by_bare_name.get(key, [])
        return [each for each in found if each.partition("/")[0] in self._own] or found


def _plain(name: str) -> str:
    return name.strip().replace("\\", "/").removeprefix("./")


def _stem(path: str) -> str:
    return posixpath.splitext(path)[0]


def _key(path: str) -> str:
    return unicodedata.normalize("NFC", path).casefold()


def _index(paths: Iterable[str], key: Callable[[str], str]) -> Index:
    index: Index = {}
    for path in paths:
        index.setdefault(key(path), []).append(path)
    return index


def _only(found: list[str], name: str) -> str:
    if len(found) > 1:
        raise TrainerError(
            ExitCode.InvalidData,
            f"{name!r} in the list may be {found[0]} or {found[1]}",
            "Write the whole path within the source into the list.",
        )
    return found[0]
