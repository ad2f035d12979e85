"""Photos that lists name, by their split, and checks of what the lists say together."""

import sys
from collections.abc import Iterable
from pathlib import PurePosixPath

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.layouts import splits
from finetune_trainer.dataset.layouts.agreement import compare
from finetune_trainer.dataset.layouts.found import LeftOut, Photo, Scan
from finetune_trainer.dataset.layouts.names import listed
from finetune_trainer.dataset.layouts.resolve import Resolver
from finetune_trainer.dataset.layouts.source import Source
from finetune_trainer.dataset.lock import LISTED_TWICE, SplitName


class Collected:
    """The photos of one split that a list, or two, name."""

    def __init__(self, source: Source) -> None:
        self._tree = source.tree
        self.photos: dict[str, Photo] = {}
        self.of_other_split: list[str] = []
        """The photos that are found by name in a folder of the other split."""
        self.doubt = ""
        """The reason why files of the names that are not found are not taken for them."""
        self._twice: set[str] = set()
        self.left_out: dict[str, LeftOut] = {}

    def add(self, resolver: Resolver, name: str, class_name: str, group: str = "") -> None:
        """Add a row of a list."""
        path = resolver.find(name)
        state = None if path is None else self._tree.state(path)
        if path is None or state is None:
            self.leave_out(name, resolver.reason(name), listed=True)
            self.doubt = self.doubt or resolver.doubt
            return
        if resolver.is_of_other_split(path):
            self.of_other_split.append(path)
        photo = Photo(path, class_name, state.st_size, state.st_mtime_ns, group=sys.intern(group))
        if self.photos.setdefault(path, photo).class_name != class_name:
            self._twice.add(path)

    def conflict(self, paths: Iterable[str]) -> None:
        """Leave photos out that the list of the other split has in another class."""
        self._twice.update(paths)

    def leave_out(self, path: str, reason: str, *, listed: bool = False) -> None:
        """Leave a photo out; it is `listed` if there is no such file."""
        self.left_out[path] = LeftOut(path, "rejected", reason, listed=listed)

    def scan(self, classes: tuple[str, ...] | None) -> Scan:
        """Return the split; its classes are those given, or those of the photos in order."""
        for path in self._twice:
            self.leave_out(path, LISTED_TWICE)
            self.photos.pop(path, None)  # it is there no more if the other split has it, too
        photos = tuple(self.photos[path] for path in sorted(self.photos))
        left_out = tuple(self.left_out[path] for path in sorted(self.left_out))
        names = classes or _in_order({photo.class_name for photo in photos})
        return Scan(self._tree.root, photos, names, left_out)


def check_own_photos(collected: dict[SplitName, Collected], chosen: splits.Chosen) -> None:
    """Raise InvalidData for a test.csv whose names are those of other photos, in train."""
    for split, each in collected.items():
        others = [other.photos for other in collected.values() if other is not each]
        for path in each.of_other_split:
            if len(chosen.files) == 1 or any(path in photos for photos in others):
                file = chosen.files.get(split, chosen.files["train"])
                raise TrainerError(
                    ExitCode.InvalidData,
                    f"{file} names {path.rpartition('/')[2]}, which is only in"
                    f" {path.rpartition('/')[0]}: these may be other photos of the same names",
                    f"Add the photos of {file}, or remove it. If it means these photos, write"
                    f" their paths into it, such as {path}",
                )


def without_both(collected: dict[SplitName, Collected]) -> tuple[str, ...]:
    """Remove photos from the train split that the validation split has, too; return a warning.

    Those in two classes are in neither split: one of the lists is wrong.
    """
    if len(collected) < 2:
        return ()
    train, validation = collected["train"].photos, collected["validation"].photos
    both = sorted(train.keys() & validation.keys())
    differing = {path for path in both if train[path].class_name != validation[path].class_name}
    collected["validation"].conflict(differing)
    for path in both:
        del train[path]
    both = [path for path in both if path not in differing]
    if not both:
        return ()
    return (
        f"{len(both)} photos that train by one list validate by another: they do not train:"
        f" {listed(both, most=3)}",
    )


def check_some_found(
    source: Source, collected: dict[SplitName, Collected], chosen: splits.Chosen
) -> None:
    """Raise InvalidData for a split whose list names no photo of the source."""
    for split, each in collected.items():
        if each.photos or not each.left_out:
            continue
        file = chosen.files.get(split, chosen.files["train"])
        first, here = next(iter(each.left_out)), next(iter(source.tree), "nothing")
        raise TrainerError(
            ExitCode.InvalidData,
            f"{file} names {len(each.left_out)} photos, and none of them is in the source: its"
            f" first is {first!r}; {each.doubt or f'the source has for example {here!r}'}",
            "Write the paths relative to the list or to the source, and name in dataset.source the"
            " folder that holds the photos.",
        )


def check_same_labels(collected: dict[SplitName, Collected], chosen: splits.Chosen) -> None:
    """Raise InvalidData for two lists that give each folder one class, but not the same one."""
    folders: dict[str, str] = {}
    for each in collected.values():
        photos = [(photo.path, photo.class_name) for photo in each.photos.values()]
        if compare(photos).agreement != "same":
            return
        for path, name in photos:
            folder = PurePosixPath(path).parent.name
            if folders.setdefault(folder, name) != name:
                raise TrainerError(
                    ExitCode.InvalidData,
                    f"{' and '.join(chosen.files.values())} give the folder {folder} other classes:"
                    f" {folders[folder]} and {name}",
                    "Number the classes from the same number in both lists.",
                )


def _in_order(names: set[str]) -> tuple[str, ...]:
    """Sort names by code point, and numbers by value: label 10 comes after 9."""
    if all(name.isascii() and name.isdigit() for name in names):
        return tuple(sorted(names, key=lambda name: (int(name), name)))
    return tuple(sorted(names))
