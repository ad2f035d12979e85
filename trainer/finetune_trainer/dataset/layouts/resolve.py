"""Finds the files that a list means: lists are written on other machines, by other programs."""

import posixpath
import re
import unicodedata
import urllib.parse
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import cached_property

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.file_types import is_picture
from finetune_trainer.dataset.layouts.names import (
    TRAIN,
    VALIDATION,
    split_named,
    split_of,
    split_order,
)
from finetune_trainer.dataset.layouts.tree import Tree, join
from finetune_trainer.dataset.lock import SplitName

LEADS_OUT = "leads out of the data set"
NO_FILE = "no such file"
_DIGITS = 20
"""The most digits of a number that numbers a photo."""
_NUMBER = re.compile(rf"([0-9]{{1,{_DIGITS}}})(\.0*)?")
_SPLITS = frozenset(word[:3] for word in TRAIN + VALIDATION)
_WORD = re.compile(r"\d+|[^\W\d_]+")
"""A number or a word within a name."""

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

    @cached_property
    def by_number(self) -> dict[int, list[str]]:
        """The pictures whose names are numbers, by their value."""
        index: dict[int, list[str]] = {}
        for stem, paths in self.by_bare_name.items():
            if stem.isascii() and stem.isdigit() and len(stem) < _DIGITS:
                index.setdefault(int(stem), []).extend(paths)
        return index

    def has_stem(self, path: str) -> bool:
        """Return True if a picture has this path or name, without its ending."""
        key = _key(path)
        return key in self.by_stem or key in self.by_bare_name

    def with_name(self, name: str) -> list[str]:
        """Return the files of this name, in any folder."""
        return self.by_name.get(_key(name), [])

    def _pictures(self) -> Iterator[str]:
        return (path for path in self.tree if is_picture(path))


class Resolver:
    r"""Finds the files that the paths of one list mean, for all of them in the same way.

    Paths are relative to the list's folder, to the source or, in train.txt, to the only folder that
    is named after the same split. If most are not there: without the folders at the beginning of
    most of them (`C:\\photos\\cat\\1.jpg`, `/content/cat/1.jpg`); if most are not there either: by
    the name alone, in any folder, unless these are other photos of the same names. Case, Unicode
    form and a missing ending of the name do not matter, if no more than one file fits. Addresses
    are decoded: `a%20b.jpg`. With `numbers`, names that are numbers may be found by their value:
    spreadsheets make 1 of 00001, pandas 1.0.
    """

    def __init__(
        self,
        index: FileIndex,
        file: str,
        names: Callable[[], Iterable[str]],
        *,
        numbers: bool = False,
    ) -> None:
        self._index, self._tree = index, index.tree
        self._may_be_numbers = numbers
        folder, _, name = file.rpartition("/")
        self._folders = folder.split("/") if folder else []
        self.split = split_of(_stem(name))
        """The split that the list is named after: train for train.csv."""
        self._own = {f for f in self._tree.folders[""] if self.split and split_of(f) == self.split}
        """The folders in which names are sought first: those in train for train.csv."""
        named_alike = [f for f in self._own if split_order(f) == split_order(_stem(name))]
        bases = (folder, "", *named_alike) if len(named_alike) == 1 else (folder, "")
        self._bases = tuple(dict.fromkeys(bases))
        self._only_own = False
        """True if most names are found in these folders, so that names elsewhere are others."""
        self.removed = ""
        """The beginning that is removed from each path."""
        self.by_name = False
        """True if files are found by their names alone."""
        self.by_number = False
        """True if files are found by the values of the numbers that are their names."""
        self.doubt = ""
        """The reason why files of the same names are not taken for those of the list."""
        self.doubted = 0
        """The number of such files."""
        self.other_endings = False
        """True if files are found whose endings are not those in the list."""
        self.found = self._choose(names)
        """Number of names that are found."""

    def find(self, name: str) -> str | None:
        """Return the path of the file in the source, or None.

        Raises InvalidData for a name that several files have.
        """
        for path in _spellings(name):
            if found := self._find(path, name):
                return found
        return None

    def _find(self, path: str, name: str) -> str | None:
        path = path.removeprefix(self.removed)
        if self.other_endings and is_picture(path):
            path = _stem(path)
        if not self.by_name:
            return self._at(path) or self._alike(path, name)
        named = self._named(path)
        return _only(named, name) if named else None

    def reason(self, name: str) -> str:
        """Return the reason why `find` returned None."""
        parts = _plain(name).split("/")
        return LEADS_OUT if ".." in parts or not parts[0] else NO_FILE

    def describe(self) -> str:
        """Return how the paths are read, if not as they are, for messages."""
        text = f", its paths without {self.removed}" if self.removed else ""
        if self.other_endings:
            text += ", its photos found with other endings"
        if self.by_number:
            return f"{text}, its photos found by the values of their numbers"
        return text + (", its photos found by name" if self.by_name else "")

    def is_of_other_split(self, path: str) -> bool:
        """Return True for a file by name in a folder of train if the list is of val, and so on."""
        split = split_of(path.partition("/")[0])
        return self.by_name and bool(self.split and split) and split != self.split

    def _choose(self, names: Callable[[], Iterable[str]]) -> int:
        count, found = 0, 0
        for name in names():
            count += 1
            found += self.find(name) is not None
        if 2 * found >= count:
            return found
        starts = Counter(start for name in names() if (start := self._start_of(name)))
        for start, number in starts.most_common(1):
            outer = start.split("/")[:-1]
            if number > found and not _any_siblings(outer, self._folders):
                self.removed, found = start, number
        if 2 * found < count:
            found = self._choose_names(names, found)
        if 2 * found < count and self._may_be_numbers and not self.by_name:
            self.by_number = True
            found = self._choose_names(names, found)
            self.by_number = self.by_name
        if not found:
            self.other_endings = True
            found = sum(self.find(name) is not None for name in names())
            self.other_endings = found > 0
        return found

    def _choose_names(self, names: Callable[[], Iterable[str]], found: int) -> int:
        """Go by names alone if this finds more, and not other photos; return the number found."""
        files = [self._named_any(name) for name in names()]
        own = sum(map(self._is_own, files)) if self._own else 0
        self._only_own = 0 < own >= len(files) / 2
        named = own if self._only_own else sum(map(bool, files))
        if named <= found:
            return found
        if doubt := self._other_photos(names):
            self.doubt, self.doubted = doubt, named
            return found
        self.removed, self.by_name = "", True
        return named

    def _other_photos(self, names: Callable[[], Iterable[str]]) -> str:
        """Return the reason why files of the same names are other photos; "" if there is none."""
        paths: dict[str, str] = {}
        for name in names():
            path, found = _plain(name), self._named_any(name)
            if len(found) != 1:
                continue
            other = paths.setdefault(found[0], path)
            if _key(_stem(other)) != _key(_stem(path)):
                return f"only {found[0]} is there for {other} and {path}"
            if self._is_elsewhere(path.split("/")[:-1], found[0].split("/")[:-1]):
                return f"{path} is not there, and {found[0]} is in another folder"
        return ""

    def _is_elsewhere(self, listed: list[str], real: list[str]) -> bool:
        """Return True if the folders of a list are others than those of a file of this name."""
        if not listed or listed[0] in real:
            return False
        if not listed[0]:  # an absolute path, of another machine
            return _any_siblings(listed, real)
        sides = _splits_in(listed[0])
        is_there = any(join(base, listed[0]) in self._tree.folders for base in self._bases)
        if is_there or (sides and not any(sides & _splits_in(folder) for folder in real)):
            return True
        return _any_siblings(listed, real)

    def _start_of(self, name: str) -> str | None:
        """Return the shortest beginning without which the file is there."""
        for path in _spellings(name):
            places = (place for place, character in enumerate(path, 1) if character == "/")
            if start := next((path[:n] for n in places if self._at(path[n:])), None):
                return start
        return None

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

    def _named_any(self, name: str) -> list[str]:
        for path in _spellings(name):
            if found := self._named(path):
                return found
        return []

    def _named(self, path: str) -> list[str]:
        key = _key(posixpath.basename(path))
        found = self._index.by_name.get(key) or self._index.by_bare_name.get(key, [])
        if self.by_number and (number := _NUMBER.fullmatch(path)):
            found = self._index.by_number.get(int(number[1]), [])
        own = [each for each in found if self._is_own([each])]
        return own if own or self._only_own else found

    def _is_own(self, found: list[str]) -> bool:
        return any(path.partition("/")[0] in self._own for path in found)


def _splits_in(folder: str) -> set[SplitName]:
    """Return the splits that words of a folder's name mean: train for train_images."""
    return {split for word in _WORD.findall(folder) if (split := split_named(word))}


def _any_siblings(listed: list[str], real: list[str]) -> bool:
    return any(map(_are_siblings, reversed(listed), reversed(real)))


def _are_siblings(one: str, two: str) -> bool:
    """Return True for names that differ in a number or in a split only: 2021 and 2022."""
    first, second = ([_plain_word(w) for w in _WORD.findall(name.lower())] for name in (one, two))
    return first != second and list(map(_kind, first)) == list(map(_kind, second))


def _plain_word(word: str) -> str:
    """Return the same for 1 and 01, and for val, valid and validation."""
    return word[:3] if split_named(word) else word.lstrip("0") if word.isdigit() else word


def _kind(word: str) -> str:
    return "0" if word.isdigit() or not word else "split" if word in _SPLITS else word


def _plain(name: str) -> str:
    return name.strip().replace("\\", "/").removeprefix("./")


def _spellings(name: str) -> tuple[str, ...]:
    """Return a path as it is in a list, and decoded if it is an address or looks like one."""
    path = _plain(name)
    if "%" not in path and "://" not in path:
        return (path,)
    without_query = re.split("[?#]", path)[0] if "://" in path else path
    return (path, urllib.parse.unquote(without_query))


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
