"""Splits the photos of each class into train and validation, by their contents and a seed only."""

import dataclasses
import hashlib
from collections.abc import Sequence
from decimal import Decimal

from finetune_trainer.contract import ExitCode, Split, TrainerError
from finetune_trainer.dataset.layouts.names import listed

DEFAULT_TRAIN_FRACTION = "0.8"


@dataclasses.dataclass(frozen=True, slots=True)
class Candidate:
    """A photo to be put into one of the splits."""

    key: int
    """The photo's number."""
    sha256: str
    content: bytes
    """The digest of the encoded picture: the same for copies."""


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


def training_photos(photos: Sequence[Candidate], split: Split) -> set[int]:
    """Return the photos of one class for the train split.

    Copies of a picture stay together: a picture in the train split must not validate.
    """
    groups: dict[bytes, list[Candidate]] = {}
    for photo in photos:
        groups.setdefault(photo.content, []).append(photo)

    def place(group: list[Candidate]) -> tuple[bytes, str]:
        return rank(split.seed, "split", min(photo.sha256 for photo in group), "")

    wanted, chosen = train_count(len(photos), split), set[int]()
    ranked = sorted(groups.values(), key=place)
    for group in ranked:
        if len(chosen) + len(group) <= wanted:
            chosen.update(photo.key for photo in group)
    return chosen or {photo.key for photo in ranked[0]}
