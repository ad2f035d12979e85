"""Splits the photos of each class into train and validation, by their contents and a seed only."""

import dataclasses
import hashlib
from collections import Counter
from collections.abc import Sequence
from decimal import Decimal

from finetune_trainer.contract import ExitCode, Split, TrainerError
from finetune_trainer.dataset.layouts.names import listed

DEFAULT_TRAIN_FRACTION = "0.8"


ROUNDS, MOST_PLACED = 50, 200_000
"""Orders in which groups are tried, and how many groups are placed in all of them together."""


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """A photo to be put into one of the splits."""

    key: int
    """The photo's number."""
    sha256: str
    group: int
    """The same for photos that stay together: copies, and what the user's settings join."""
    label: int = 0


def check_split(split: Split, *, has_validation_source: bool) -> None:
    """Raise InvalidSpec for settings that exclude each other."""
    given = [
        name
        for name, value in (
            ("trainPerClass", split.train_per_class),
            ("trainFraction", split.train_fraction),
        )
        if value is not None
    ]
    if has_validation_source and given:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"dataset.split.{given[0]} is set, and the validation split is given by"
            " dataset.validationSource or the data's own folders or lists",
            "Remove one of them: a split that is given leaves nothing to split off.",
        )
    if len(given) > 1:
        raise TrainerError(
            ExitCode.InvalidSpec,
            "dataset.split has both trainPerClass and trainFraction",
            "Remove one of them.",
        )
    by = split.group_by
    if by is not None and (by.column is None) == (by.pattern is None):
        raise TrainerError(
            ExitCode.InvalidSpec,
            "dataset.split.groupBy needs exactly one of column and pattern",
            "Set column to one of the list's, or pattern to what names the group in the paths.",
        )
    if split.train_fraction is not None and not 0 < Decimal(split.train_fraction) < 1:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"dataset.split.trainFraction is {split.train_fraction}",
            'Set a number between 0 and 1, such as "0.8".',
        )


def train_fraction(split: Split) -> str | None:
    """Return the fraction that applies: the user's or the default; None with trainPerClass."""
    if split.train_per_class is not None:
        return None
    return split.train_fraction or DEFAULT_TRAIN_FRACTION


def train_count(images: int, split: Split) -> int:
    """Return the number of a class's images for the train split."""
    fraction = train_fraction(split)
    if fraction is None:
        return split.train_per_class or 0
    wanted = int(Decimal(fraction) * images + Decimal("0.5"))
    # At least one image for each split, if there are two.
    return max(1, min(wanted, images - 1))


def check_class_sizes(counts: dict[str, int], split: Split, *, reasons: dict[str, str]) -> None:
    """Raise InvalidData if classes are too small to be split.

    `counts` are the readable photos of each class, `reasons` say why others are rejected.
    """
    needed = (split.train_per_class or 0) + 1
    small = [f"{name} ({count})" for name, count in counts.items() if count < needed]
    if not small:
        return
    if split.train_per_class is None:
        raise TrainerError(
            ExitCode.InvalidData,
            f"No photo that can be used is left in {len(small)} class(es): {listed(small)}"
            + "".join(f"; {name}: {reasons[name]}" for name in counts if name in reasons),
            "Replace the rejected photos; leave a picture in one class only; or remove the class.",
        )
    raise TrainerError(
        ExitCode.InvalidData,
        f"dataset.split.trainPerClass {split.train_per_class} needs {needed} readable photos in"
        f" each class (one must validate); fewer are in {listed(small)}",
        f"Add photos, or set trainPerClass to at most {max(1, min(counts.values()) - 1)}.",
    )


def rank(seed: int, use: str, sha256: str, path: str) -> tuple[bytes, str]:
    """Return the sort key that gives photos a random, but repeatable, order."""
    return hashlib.sha256(f"{use}:{seed}:{sha256}".encode()).digest(), path


def training_photos(photos: Sequence[Candidate], split: Split, *, joined: bool = False) -> set[int]:
    """Return the photos of some classes for the train split.

    Photos of a group stay together: a picture in the train split must not validate. With `joined`
    groups are more than copies of a picture. They may be large and of several classes, so several
    orders are tried, and the one is taken whose classes come nearest to the sizes that are wanted.
    """
    groups: dict[int, list[Candidate]] = {}
    for photo in photos:
        groups.setdefault(photo.group, []).append(photo)
    sizes = Counter(photo.label for photo in photos)
    course = _Sizes(sizes, {label: train_count(size, split) for label, size in sizes.items()})
    rounds = min(ROUNDS, max(1, MOST_PLACED // len(groups))) if joined else 1
    best: tuple[float, list[list[Candidate]]] | None = None
    for number in range(rounds):
        chosen = _choose(list(groups.values()), course, split.seed, number, joined=joined)
        missed = course.missed(chosen)
        if best is None or missed < best[0]:
            best = missed, chosen
        if not missed:
            break
    assert best is not None
    return {photo.key for group in best[1] for photo in group}


@dataclasses.dataclass(frozen=True)
class _Sizes:
    """The photos of each class, and how many of them should train."""

    of_class: Counter[int]
    wanted: dict[int, int]

    def off(self, label: int, count: int) -> float:
        """Return how far a class with `count` training photos is from what is wanted.

        It is farther by 1 if a split is empty.
        """
        size = self.of_class[label]
        is_empty = size > 1 and count in (0, size)
        return abs(count - self.wanted[label]) / size + is_empty

    def missed(self, groups: list[list[Candidate]]) -> float:
        """Return how far all classes are from what is wanted."""
        trained = Counter(photo.label for group in groups for photo in group)
        return sum(self.off(label, trained[label]) for label in self.of_class)

    def gain(self, trained: Counter[int], added: Counter[int]) -> float:
        """Return how much nearer to what is wanted the classes are with a group added."""
        return sum(
            self.off(label, trained[label]) - self.off(label, trained[label] + count)
            for label, count in added.items()
        )


def _choose(
    groups: list[list[Candidate]], sizes: _Sizes, seed: int, number: int, *, joined: bool
) -> list[list[Candidate]]:
    use = f"split {number}" if number else "split"

    def place(group: list[Candidate]) -> tuple[bytes, str]:
        return rank(seed, use, min(photo.sha256 for photo in group), "")

    chosen: list[list[Candidate]] = []
    left: list[list[Candidate]] = []
    trained = Counter[int]()
    for group in sorted(groups, key=place):
        added = Counter(photo.label for photo in group)
        if number % 2:  # with few large groups it is better to exceed what is wanted a little
            fits = sizes.gain(trained, added) > 0
        else:
            fits = all(trained[n] + count <= sizes.wanted[n] for n, count in added.items())
        (chosen if fits else left).append(group)
        if fits:
            trained.update(added)
    for group in left:
        added = Counter(photo.label for photo in group)
        # Each class has to train, whatever is left to validate it.
        lacks = not all(trained[label] for label in added)
        if lacks or (joined and sizes.gain(trained, added) > 0):
            chosen.append(group)
            trained.update(added)
    return chosen
