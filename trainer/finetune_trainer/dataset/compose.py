"""Combines the files found with the photos decoded: labels, copies, split, order of records.

A photo is a number here, and a File is made only when it is needed: large data sets do not fit into
memory many times over.
"""

import dataclasses
import heapq
import itertools
from array import array
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from finetune_trainer.contract import GroupBy, Split
from finetune_trainer.dataset.check import NearDuplicates, find_warnings
from finetune_trainer.dataset.duplicates import Alike, Array, look_alikes, unite
from finetune_trainer.dataset.groups import Groups
from finetune_trainer.dataset.layouts.found import Found, LeftOut, Photo, escaped
from finetune_trainer.dataset.lock import (
    MOST_PAIRS,
    File,
    Lock,
    LockHeader,
    Pair,
    Settings,
    SplitName,
    Tally,
)
from finetune_trainer.dataset.pack import PackTask
from finetune_trainer.dataset.split import Candidate, rank, training_photos
from finetune_trainer.dataset.spool import Spool

SPLITS: tuple[SplitName, SplitName] = ("train", "validation")
_SHOWN = 3
"""The pairs in different splits that a warning names."""


class Photos:
    """The photos of both splits in columns, numbered in the order of the lock."""

    def __init__(self, found: Found, group_by: GroupBy | None = None) -> None:
        self.found = dataclasses.replace(
            found, splits={n: dataclasses.replace(s, photos=()) for n, s in found.splits.items()}
        )
        """All that was found but the photos."""
        self.splits: dict[SplitName, range] = {}
        self.groups = Groups(group_by)
        self._paths: list[str] = []
        self._sizes, self._labels, self._offsets = array("Q"), array("I"), array("q")
        # Both splits have the labels of the train split.
        labels = {name: label for label, name in enumerate(found.splits["train"].classes)}
        for split in SPLITS:
            if scan := found.splits.get(split):
                start = len(self)
                ordered = sorted(scan.photos, key=lambda photo: escaped(photo.path))
                self.groups.add(ordered)
                for photo in ordered:
                    self._add(photo, labels[photo.class_name])
                self.splits[split] = range(start, len(self))
        self.groups.check()

    def _add(self, photo: Photo, label: int) -> None:
        self._paths.append(photo.path)
        self._sizes.append(photo.size)
        self._labels.append(label)
        self._offsets.append(-1 if photo.offset is None else photo.offset)

    def __len__(self) -> int:
        return len(self._paths)

    def tasks(self) -> Iterator[PackTask]:
        """Yield the place of each photo."""
        for split, numbers in self.splits.items():
            root = self.found.splits[split].root
            for number in numbers:
                path, size, offset = self._paths[number], self._sizes[number], self._offsets[number]
                if offset < 0:
                    yield PackTask(f"{root}/{path}", size)
                else:
                    yield PackTask(f"{root}/{path.rpartition('#')[0]}", size, offset)

    def left_out(self, split: SplitName) -> list[LeftOut]:
        """Return the files of a split's source that are left out, in the order of the lock."""
        left_out = self.found.splits[split].left_out
        return sorted(left_out, key=lambda left: escaped(left.path))

    def source(self, number: int) -> SplitName:
        """Return the split that the photo was found in, before one is split off."""
        return "train" if number in self.splits["train"] else "validation"

    def path(self, number: int) -> str:
        """Return the path as the lock has it."""
        return escaped(self._paths[number])

    def size(self, number: int) -> int:
        """Return the size in bytes of the file, or of the record's image."""
        return self._sizes[number]

    def label(self, number: int) -> int:
        """Return the number of the class."""
        return self._labels[number]


@dataclasses.dataclass
class Composition:
    """The fate of each photo."""

    photos: Photos
    spool: Spool
    same_as: dict[int, int]
    """The first photo with the same picture; if it is in two classes, a photo of another class."""
    conflicts: set[int]
    """Photos whose picture is in two classes: no label is certain, so they are left out."""
    validates: bytearray
    """1 for each photo of the validation split, if it is packed."""
    near: NearDuplicates
    """The pairs that look alike, once `count` has passed all of them on."""

    def files(self) -> Iterator[File]:
        """Yield the files in the order of the lock."""
        left_out = (
            File(
                path=escaped(left.path),
                fate=left.fate,
                source=split,
                reason=left.reason,
                listed=left.listed,
            )
            for split in SPLITS
            if split in self.photos.splits
            for left in self.photos.left_out(split)
        )
        photos = (self._file(number) for number in range(len(self.photos)))
        return heapq.merge(photos, left_out, key=lambda file: (file.source, file.path))

    def _file(self, number: int) -> File:
        photos, spool = self.photos, self.spool
        same_as = photos.path(self.same_as[number]) if number in self.same_as else ""
        reason = spool.reasons.get(number, "")
        if number in self.conflicts:
            reason = f"the same picture as {same_as}, which is in another class"
        return File(
            path=photos.path(number),
            fate="rejected" if reason else "packed",
            source=photos.source(number),
            reason=reason,
            note=spool.notes.get(number, ""),
            sha256=spool.sha256(number),
            same_as=same_as,
            size=photos.size(number),
            label=photos.label(number),
            split=None if reason else SPLITS[self.validates[number]],
        )

    def packed(self, split: SplitName) -> Iterator[int]:
        """Yield the packed photos of a split, in the order of their paths."""
        left_out = self.spool.reasons.keys() | self.conflicts
        for number, validates in enumerate(self.validates):
            if SPLITS[validates] == split and number not in left_out:
                yield number

    def records(self, split: SplitName, *, seed: int) -> Iterator[tuple[int, bytes]]:
        """Yield label and image of the photos of a split in the order of its records."""
        numbers: Iterable[int] = self.packed(split)
        if split == "train":
            numbers = shuffled(numbers, self.spool.sha256, seed=seed)
        return ((self.photos.label(number), self.spool.image(number)) for number in numbers)

    def header(self, tally: Tally, *, settings: Settings, split: Split) -> LockHeader:
        """Return the header of the lock; `tally` has counted its files."""
        leaks, groups = list(self._leaks()), self._divided_groups()
        return LockHeader(
            settings=settings,
            described=self.photos.found.described,
            passed_over=self.photos.found.passed_over,
            classes=self.photos.found.splits["train"].classes,
            warnings=(
                *find_warnings(self.photos.found, tally, split, near=self.near, leaks=leaks),
                *self.photos.groups.warnings(groups),
            ),
            near_duplicates=self.near.pairs,
            near_duplicate_count=self.near.count,
        )

    def look_alikes(self) -> Iterator[Alike]:
        """Yield the pairs of photos that look alike, but are not the same picture."""
        copies = np.fromiter(self.same_as, np.int64, len(self.same_as))
        numbers = np.setdiff1d(self.spool.with_miniature(), copies)
        for pairs in look_alikes(len(numbers), lambda some: self.spool.miniatures(numbers[some])):
            found = Alike(numbers[pairs.one], numbers[pairs.other], pairs.bits, pairs.same)
            if "validation" in self.photos.splits:
                found = self._without_leaks(found)
            yield found

    def _without_leaks(self, pairs: Alike) -> Alike:
        """Leave out copies in a given validation split."""
        content, both = self.spool.content, zip(pairs.one, pairs.other, strict=True)
        return pairs.select(np.array([content(one) != content(other) for one, other in both], bool))

    def count(self, found: Iterable[Alike]) -> None:
        """Count the pairs that look alike, and keep the first ones: there may be very many."""
        count, across_count = 0, 0
        kept, kept_across = Alike.none(), Alike.none()
        validates = np.frombuffer(self.validates, bool)
        for pairs in found:
            across = pairs.select(validates[pairs.one] != validates[pairs.other])
            count, across_count = count + len(pairs.one), across_count + len(across.one)
            kept, kept_across = kept.first(pairs, MOST_PAIRS), kept_across.first(across, _SHOWN)
        path = self.photos.path
        self.near = NearDuplicates(
            pairs=tuple(
                Pair(one=path(one), other=path(other), bits=bits)
                for one, other, bits in kept.rows()
            ),
            count=count,
            across=[f"{path(one)} ~ {path(other)}" for one, other, _ in kept_across.rows()],
            across_count=across_count,
        )

    def _divided_groups(self) -> list[int]:
        """Return the groups that have photos in both splits: only a given split has them."""
        of_photo = self.photos.groups.of_photo
        train, validation = (
            {of_photo[number] for number in self.packed(split)} for split in SPLITS
        )
        return sorted((train & validation) - {0})

    def _leaks(self) -> Iterator[str]:
        """Yield the files of a given validation split whose picture trains, too."""
        if "validation" in self.photos.splits:
            trained = {self.spool.content(number) for number in self.packed("train")}
            for number in self.packed("validation"):
                if self.spool.content(number) in trained:
                    yield self.photos.path(number)


def compose(photos: Photos, spool: Spool, split: Split) -> Composition:
    """Decide the fate of each photo."""
    composed = Composition(
        photos, spool, {}, set(), bytearray(len(photos)), NearDuplicates((), 0, [], 0)
    )
    for name, numbers in photos.splits.items():
        _find_copies(composed, numbers, may_conflict=name == "train")
    if given := photos.splits.get("validation"):
        composed.validates[given.start : given.stop] = bytes([True]) * len(given)
    elif split.near_duplicates == "Together":
        alike = [pairs.compact() for pairs in composed.look_alikes()]
        _split_off(composed, split, alike)
        composed.count(alike)
        return composed
    else:
        _split_off(composed, split, ())
    composed.count(composed.look_alikes())
    return composed


def _find_copies(composed: Composition, numbers: range, *, may_conflict: bool) -> None:
    spool, label = composed.spool, composed.photos.label
    readable = (number for number in numbers if number not in spool.reasons)
    ordered = sorted(readable, key=spool.content)
    for _, group in itertools.groupby(ordered, key=spool.content):
        first, *others = group
        foreign = [number for number in others if label(number) != label(first)][:1]
        composed.same_as.update((number, first) for number in others)
        if may_conflict and foreign:
            composed.same_as[first] = foreign[0]
            composed.same_as.update(
                (number, foreign[0]) for number in others if label(number) == label(first)
            )
            composed.conflicts.update((first, *others))


def _split_off(composed: Composition, split: Split, alike: Iterable[Alike]) -> None:
    """Choose the training photos; copies, groups and the photos of `alike` stay together."""
    spool, label = composed.spool, composed.photos.label
    copies = np.arange(len(composed.photos), dtype=np.uint32)
    same = [pair for pair in composed.same_as.items() if pair[0] not in composed.conflicts]
    unite(copies, *np.array(same, np.uint32).reshape(-1, 2).T)
    joined = copies.copy()
    for pairs in alike:
        unite(joined, pairs.one[pairs.same], pairs.other[pairs.same])
    groups = np.asarray(composed.photos.groups.of_photo)
    unite(joined, *_neighbours(groups, np.flatnonzero(groups)))
    is_joined = joined != copies
    for numbers in _by_class(composed, joined):
        candidates = [Candidate(n, spool.sha256(n), int(joined[n]), label(n)) for n in numbers]
        training = training_photos(candidates, split, joined=bool(is_joined[numbers].any()))
        for number in numbers:
            composed.validates[number] = number not in training


def _neighbours(values: Array, numbers: Array) -> tuple[Array, Array]:
    """Return pairs that connect all numbers with the same value."""
    ordered = numbers[np.argsort(values[numbers], kind="stable")]
    same = values[ordered[:-1]] == values[ordered[1:]]
    return ordered[:-1][same], ordered[1:][same]


def _by_class(composed: Composition, joined: Array) -> Iterator[list[int]]:
    """Yield the photos of each class; those of classes with a common group at once."""
    label, packed = composed.photos.label, np.fromiter(composed.packed("train"), np.int64)
    labels = np.array([label(number) for number in packed], np.uint32)
    classes = np.arange(len(composed.photos.found.splits["train"].classes), dtype=np.uint32)
    one, other = _neighbours(joined[packed], np.arange(len(packed)))
    unite(classes, labels[one], labels[other])
    for first in np.unique(classes[labels]):
        yield packed[classes[labels] == first].tolist()


def training_order(lock: Lock) -> list[int]:
    """Return the numbers of the files in the seeded order of train.rec."""
    numbers = [number for number, file in enumerate(lock.files) if file.split == "train"]
    return shuffled(numbers, lambda number: lock.files[number].sha256, seed=lock.settings.seed)


def shuffled(numbers: Iterable[int], sha256: Callable[[int], str], *, seed: int) -> list[int]:
    """Return photos in an order that depends on their contents and the seed only.

    Shuffled when packed, not only when read: a reader shuffles only a chunk of a large file at a
    time. Copies keep their order.
    """
    return sorted(numbers, key=lambda number: rank(seed, "order", sha256(number), ""))


def validation_order(lock: Lock) -> list[int]:
    """Return the numbers of the files in the order of val.rec: by path."""
    return [number for number, file in enumerate(lock.files) if file.split == "validation"]
