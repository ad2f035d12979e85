"""Groups of photos that stay in one split: by a column of the list, or a pattern of their paths."""

import contextlib
import re
import signal
from array import array
from collections.abc import Iterable, Iterator
from typing import Any

from finetune_trainer.contract import ExitCode, GroupBy, TrainerError
from finetune_trainer.dataset.layouts.found import Photo, escaped
from finetune_trainer.dataset.layouts.names import is_missing, listed

SECONDS, FOR_PHOTOS = 10, 100_000
"""Processor seconds that the pattern may take for each 100,000 photos: it takes less than one."""
_SHOWN = 8


class Groups:
    """The group of each photo as a number, from 1 on; 0 is none."""

    def __init__(self, by: GroupBy | None) -> None:
        self.by = by
        self.of_photo = array("I")
        self._pattern = _compiled(by.pattern) if by and by.pattern is not None else None
        self._numbers: dict[str, int] = {}
        self._names: list[str] = []
        self._without: list[str] = []
        self._without_count = 0

    def add(self, photos: Iterable[Photo]) -> None:
        """Number the groups of photos."""
        photos = tuple(photos)
        with _limited(1 + len(photos) // FOR_PHOTOS, self.by.pattern if self.by else None):
            for photo in photos:
                self.of_photo.append(self._number(photo) if self.by else 0)

    def _number(self, photo: Photo) -> int:
        if self._pattern is None:
            name = "" if is_missing(photo.group.strip()) else photo.group.strip()
        else:
            name = _matched(self._pattern, photo.path)
        if not name:
            self._without_count += 1
            if len(self._without) < _SHOWN:
                self._without.append(escaped(photo.path))
            return 0
        if name not in self._numbers:
            self._names.append(name)
            self._numbers[name] = len(self._names)
        return self._numbers[name]

    def check(self) -> None:
        """Raise InvalidData if the setting gives no photo a group."""
        if self.by is None or self._names or not self._without:
            return
        if self._pattern is None:
            raise TrainerError(
                ExitCode.InvalidData,
                f"The column {self.by.column} of dataset.split.groupBy gives no photo a group:"
                f" it is empty for all {self._without_count}, such as {self._without[0]}",
                "Name the column of the list that has the groups, or fill it.",
            )
        raise TrainerError(
            ExitCode.InvalidData,
            f"dataset.split.groupBy.pattern {self.by.pattern} matches none of the"
            f" {self._without_count} paths, such as {self._without[0]}",
            "Correct it: it is searched in the path within the source, and what its first pair of"
            " parentheses matches is the group.",
        )

    def warnings(self, divided: list[int]) -> Iterator[str]:
        """Yield the warnings; `divided` are the groups with photos in both given splits."""
        if count := self._without_count:
            yield (
                f"{count} photos have no group by dataset.split.groupBy, so that each is its own:"
                f" {listed(self._without, most=3, count=count)}"
            )
        if divided:
            names = (escaped(self._names[number - 1]) for number in divided)
            yield (
                f"{len(divided)} groups of dataset.split.groupBy have photos in both given splits,"
                f" so that the accuracy is too high: {listed(names, most=3)}; move the photos of a"
                " group to one of them"
            )


def _matched(pattern: re.Pattern[str], path: str) -> str:
    found = pattern.search(path)
    return "" if found is None else found[1 if pattern.groups else 0] or ""


def _compiled(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except (re.error, OverflowError, RecursionError) as error:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"dataset.split.groupBy.pattern {pattern} is not a regular expression: {error}",
            "Correct it, such as (patient[0-9]+)_; write \\\\ before a character that stands for"
            " itself.",
        ) from error


@contextlib.contextmanager
def _limited(times: int, pattern: str | None) -> Iterator[None]:
    """End a pattern that tries all ways to divide a long name; `re` heeds signals meanwhile."""

    def end(*_: Any) -> None:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"dataset.split.groupBy.pattern {pattern} takes more than {SECONDS * times} s",
            "Write it without a repetition inside of a repetition, such as ([a-z]+)* or (.*)*.",
        )

    if pattern is None:
        yield
        return
    before = signal.signal(signal.SIGVTALRM, end)
    signal.setitimer(signal.ITIMER_VIRTUAL, SECONDS * times)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)
