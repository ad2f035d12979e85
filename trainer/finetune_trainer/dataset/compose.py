"""Puts together what was found and what was decoded: labels, copies, split, order of records."""

from collections.abc import Iterable, Iterator, Sequence

import msgspec

from finetune_trainer.contract import Split
from finetune_trainer.dataset.check import warnings_of
from finetune_trainer.dataset.duplicates import alike
from finetune_trainer.dataset.found import Found, Photo, printable
from finetune_trainer.dataset.lock import MOST_PAIRS, File, Lock, Pair, Part, Settings
from finetune_trainer.dataset.pack import Spooled
from finetune_trainer.dataset.split import Candidate, rank, training_photos

Outcome = tuple[Part, Photo, Spooled]


def compose(
    found: Found, outcomes: Sequence[Outcome], *, settings: Settings, split: Split
) -> tuple[Lock, list[Spooled | None]]:
    """Build the lock, and beside its files where each one lies in the spool.

    The labels are the train side's, for both sides.
    """
    classes = found.sides["train"].classes
    labels = {name: label for label, name in enumerate(classes)}
    files = [_file(outcome, labels) for outcome in outcomes]
    _name_copies(files, outcomes)
    if not settings.validation_given:
        _split(files, outcomes, split)
    pairs = list(_near(files, outcomes))
    rows: list[tuple[File, Spooled | None]] = [
        (file, spooled) for file, (_, _, spooled) in zip(files, outcomes, strict=True)
    ]
    for part, side in found.sides.items():
        for left in side.left_out:
            file = File(path=left.path, fate=left.fate, source=part, reason=left.reason)
            rows.append((file, None))
    rows.sort(key=lambda row: (row[0].source, row[0].path, row[0].label or 0))
    lock = Lock(
        settings=settings,
        classes=classes,
        warnings=warnings_of(found, files, pairs, split),
        near_duplicates=tuple(pair for pair, _ in pairs[:MOST_PAIRS]),
        near_duplicate_count=len(pairs),
        files=tuple(file for file, _ in rows),
    )
    return lock, [spooled for _, spooled in rows]


def _file(outcome: Outcome, labels: dict[str, int]) -> File:
    part, photo, spooled = outcome
    return File(
        path=printable(photo.path),
        fate="rejected" if spooled.reason else "packed",
        source=part,
        reason=spooled.reason,
        note=spooled.note,
        sha256=spooled.sha256,
        size=photo.size,
        label=labels[photo.class_name],
        split=None if spooled.reason else part,
    )


def _name_copies(files: list[File], outcomes: Sequence[Outcome]) -> None:
    """Point copies at their first, and reject pictures that are in two classes: no label of
    theirs is right. A given side that validates stays as it is.
    """
    groups: dict[tuple[Part, bytes], list[int]] = {}
    for number, (part, _, spooled) in enumerate(outcomes):
        if spooled.content:
            groups.setdefault((part, spooled.content), []).append(number)
    for (part, _), members in groups.items():
        if len(members) == 1:
            continue
        conflict = part == "train" and len({files[member].label for member in members}) > 1
        first = files[members[0]]
        for member in members if conflict else members[1:]:
            other = first
            if conflict:
                other = next(
                    files[each] for each in members if files[each].label != files[member].label
                )
            files[member] = _changed(files[member], same_as=other.path, conflict=conflict)


def _changed(file: File, *, same_as: str, conflict: bool) -> File:
    if not conflict:
        return msgspec.structs.replace(file, same_as=same_as)
    reason = f"the same picture as {same_as}, which is in another class"
    return msgspec.structs.replace(
        file, same_as=same_as, fate="rejected", reason=reason, split=None
    )


def _split(files: list[File], outcomes: Sequence[Outcome], split: Split) -> None:
    by_class: dict[int | None, list[Candidate]] = {}
    for number, file in enumerate(files):
        if file.fate == "packed":
            candidate = Candidate(number, file.sha256, outcomes[number][2].content)
            by_class.setdefault(file.label, []).append(candidate)
    for candidates in by_class.values():
        training = training_photos(candidates, split)
        for candidate in candidates:
            if candidate.key not in training:
                file = files[candidate.key]
                files[candidate.key] = msgspec.structs.replace(file, split="validation")


def _near(files: list[File], outcomes: Sequence[Outcome]) -> Iterator[tuple[Pair, bool]]:
    """Yield the pairs that look alike, and whether they are on different sides."""
    looks = (
        (number, outcomes[number][2].look or 0)
        for number, file in enumerate(files)
        if file.fate == "packed" and not file.same_as and outcomes[number][2].look is not None
    )
    for one, other, bits in sorted(alike(looks)):
        if outcomes[one][2].content == outcomes[other][2].content:
            continue  # a copy on a given side: said elsewhere
        pair = Pair(one=files[one].path, other=files[other].path, bits=bits)
        yield pair, files[one].split != files[other].split


def training_order(lock: Lock) -> list[int]:
    """Return the numbers of the files in the seeded order of train.rec.

    Shuffled here, not only when read: a reader shuffles within a part of a large file.
    """
    seed, files = lock.settings.seed, lock.files
    numbers = [number for number, file in enumerate(files) if file.split == "train"]

    def place(number: int) -> tuple[bytes, str]:
        return rank(seed, "order", files[number].sha256, files[number].path)

    return sorted(numbers, key=place)


def validation_order(lock: Lock) -> list[int]:
    """Return the numbers of the files in the order of val.rec: by path."""
    return [number for number, file in enumerate(lock.files) if file.split == "validation"]


def in_order(
    numbers: Iterable[int], lock: Lock, spooled: Sequence[Spooled | None]
) -> Iterator[tuple[int, Spooled]]:
    """Yield label and photo of the files."""
    for number in numbers:
        label, photo = lock.files[number].label, spooled[number]
        assert label is not None
        assert photo is not None
        yield label, photo
