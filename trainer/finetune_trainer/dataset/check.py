"""Checks a data set. Errors name the folder, what was found there and the remedy."""

import dataclasses
import posixpath
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from decimal import Decimal

from finetune_trainer.contract import Dataset, ExitCode, Split, TrainerError
from finetune_trainer.dataset.colour import DIM
from finetune_trainer.dataset.layouts.found import BELOW, CLASSES_FILE, Found, Scan
from finetune_trainer.dataset.layouts.names import (
    is_missing,
    listed,
    look_the_same,
    may_be_one,
    same_name,
)
from finetune_trainer.dataset.layouts.resolve import NO_FILE
from finetune_trainer.dataset.lock import LISTED_TWICE, LayoutName, Pair, Settings, Tally
from finetune_trainer.dataset.photo import NEARLY_BLACK

REMEDIES: dict[LayoutName, str] = {
    "Folder": "Put the photos of each class into a folder of its own, directly below"
    " dataset.source; or name the classes in labels.csv, with the columns path and label.",
    "Split": "Put the photos of each class into a folder of its own, below train and below val.",
    "Csv": "The list needs at least two different labels: check dataset.csv.labelColumn.",
    "Lst": "The list needs at least two different labels.",
    "RecordIO": "The records need at least two different labels.",
}
ADD_LISTED = "Add the photos that the list names, or remove or correct their rows."
JOINTS = "|;,"
"""Characters by which lists of other tasks join the labels of a photo."""
RARE_JOINTS = "+/& _-"
"""Characters that are in names, too: they join if all parts are labels themselves."""
_BRACKETS = dict.fromkeys(map(ord, "[](){}'\""))
"""Characters around lists of labels, and around each of them."""
IN_TWO_CLASSES = "the same picture in two classes"
_NESTED = re.compile(r"\[.*,.*\]|\{.*:.*\}")
FEW = 5
"""A class with fewer training photos gets a warning."""


@dataclasses.dataclass(frozen=True)
class NearDuplicates:
    """Photos that look alike."""

    pairs: tuple[Pair, ...]
    """The first MOST_PAIRS pairs."""
    count: int
    across: list[str]
    """The pairs whose photos are in different splits, as text."""
    across_count: int


def check_found(found: Found, spec: Dataset) -> None:
    """Raise InvalidData if the sources cannot be a data set; reads no photo."""
    train = found.splits["train"]
    _check_names(train)
    if len(train.classes) < 2:
        raise TrainerError(
            ExitCode.InvalidData,
            f"dataset.source {spec.source.uri} has {_counted(found, train)}; at least 2 classes"
            " with photos are needed",
            _inner_folder(train, "dataset.source")
            or _remedy_of_list(found, train)
            or REMEDIES[found.layout],
        )
    if validation := found.splits.get("validation"):
        uri = spec.validation_source.uri if spec.validation_source else ""
        where = f"dataset.validationSource {uri}" if uri else "The validation split"
        _check_validation(found, validation, where)


def _remedy_of_list(found: Found, train: Scan) -> str | None:
    """Return the hint for a list that is not used, or whose photos are not there."""
    if _absent(train):
        return ADD_LISTED
    lists = [name for each in found.passed_over if (name := each.partition(" (")[0])]
    if found.layout == "Folder" and "labels.csv" in lists:
        return (
            "Put the photos of each class into a folder of its own, directly below dataset.source;"
            " or correct labels.csv, which is not used for the reason above."
        )
    return None


def _check_names(train: Scan) -> None:
    """Raise InvalidData unless classes.txt, or labels that are numbers, fit the photos."""
    used = {photo.class_name for photo in train.photos}
    if unknown := sorted(used.difference(train.classes)):
        raise TrainerError(
            ExitCode.InvalidData,
            f"{CLASSES_FILE} does not name the classes {listed(unknown)}",
            "Add them to the file, or remove the file: then classes are in the order of names.",
        )
    if without := [name for name in train.classes if name not in used]:
        raise TrainerError(
            ExitCode.InvalidData,
            f"These classes have no photo to train: {listed(without)}",
            "Number the labels from 0 without a gap, or add photos."
            if all(name.isdigit() for name in without)
            else f"Add photos, or remove the names from {CLASSES_FILE}.",
        )


def _check_validation(found: Found, validation: Scan, where: str) -> None:
    if not validation.photos:
        raise TrainerError(
            ExitCode.InvalidData,
            f"{where} has {_counted(found, validation)}",
            _inner_folder(validation, "dataset.validationSource")
            or _remedy_of_conflict(validation)
            or "It needs photos of the classes that train.",
        )
    used = dict.fromkeys(photo.class_name for photo in validation.photos)
    if unknown := [name for name in used if name not in found.splits["train"].classes]:
        raise TrainerError(
            ExitCode.InvalidData,
            f"{where} has classes that dataset.source has no photos of: {listed(unknown)}",
            "Give the classes the same names in both, or remove them.",
        )


def _remedy_of_conflict(validation: Scan) -> str | None:
    if any(left.reason == LISTED_TWICE for left in validation.left_out):
        return "One of the lists is wrong: correct it, or number the classes alike in both."
    return None


def _counted(found: Found, scan: Scan) -> str:
    """Return what a split of a source has, for an error."""
    counts = Counter(photo.class_name for photo in scan.photos)
    kind = "class folder(s)" if found.layout in ("Folder", "Split") else "class(es)"
    parts = [f"{len(counts)} {kind} with photos"]
    if counts:
        parts[0] += f" ({listed(f'{name}: {count}' for name, count in counts.items())})"
    if scan.empty:
        parts.append(f"{len(scan.empty)} without photos of their own ({listed(scan.empty)})")
    if below := _below(scan):
        parts.append(f"{len(below)} photos in folders further below ({below[0]})")
    if absent := _absent(scan):
        parts.append(f"{len(absent)} photos in the list that are not there ({absent[0]})")
    parts += _others(found, scan)
    if ignored := [left.path for left in scan.left_out if left.fate == "ignored"]:
        parts.append(f"{len(ignored)} files that are no pictures ({ignored[0]})")
    if found.passed_over:
        parts.append(f"and not used: {listed(found.passed_over)}")
    return ", ".join(parts)


def _others(found: Found, scan: Scan) -> Iterator[str]:
    """Yield how many other photos are rejected, with the reasons if they are not in folders."""
    rejected = (left for left in scan.left_out if left.fate == "rejected" and not left.listed)
    reasons = Counter(left.reason for left in rejected if left.reason != BELOW)
    if found.layout == "Folder" and reasons:
        yield f"{reasons.total()} photos outside class folders"
    elif found.layout != "Folder":
        yield from (f"{count} photos not used ({reason})" for reason, count in reasons.items())


def _inner_folder(scan: Scan, field: str) -> str | None:
    """Return the hint for class folders that all lie in one folder."""
    outer = {posixpath.dirname(posixpath.dirname(path)) for path in _below(scan)}
    name = posixpath.commonpath(outer) if outer and not scan.photos else ""
    if not name:
        return None
    return f"If the class folders lie in {name}: name that folder at the end of {field}.uri."


def _below(scan: Scan) -> list[str]:
    return [left.path for left in scan.left_out if left.reason == BELOW and left.fate == "rejected"]


def _absent(scan: Scan) -> list[str]:
    return [left.path for left in scan.left_out if left.listed]


def check_bad_images(tally: Tally, spec: Dataset) -> None:
    """Raise InvalidData if dataset.badImages does not allow so many unreadable photos."""
    bad = tally.unreadable()
    if not bad:
        return
    if spec.bad_images.policy == "Fail":
        raise bad_photo_error(bad[0].path, bad[0].reason)
    if len(bad) > Decimal(spec.bad_images.max_fraction) * tally.photos:
        raise TrainerError(
            ExitCode.InvalidData,
            f"{len(bad)} of {tally.photos} photos cannot be read, more than the fraction"
            f" {spec.bad_images.max_fraction} of dataset.badImages.maxFraction:"
            f" {listed((f'{file.path} ({file.reason})' for file in bad), most=3)}",
            "Replace or remove these files, or raise maxFraction."
            if bad[0].reason != NO_FILE
            else f"{ADD_LISTED} Or raise maxFraction.",
        )


def rejections(tally: Tally, classes: Sequence[str]) -> dict[str, str]:
    """Return how many photos of each class without a readable one are rejected, and why."""
    found: dict[str, dict[str, list[str]]] = {}
    for file in tally.rejected:
        if file.label is not None and not tally.readable[file.label]:
            reason = IN_TWO_CLASSES if file.same_as else file.reason
            example = f"{file.path} = {file.same_as}" if file.same_as else file.path
            found.setdefault(classes[file.label], {}).setdefault(reason, []).append(example)
    return {
        name: ", ".join(f"{len(of)} {reason} ({of[0]})" for reason, of in reasons.items())
        for name, reasons in found.items()
    }


def check_groups(found: Found, spec: Dataset) -> None:
    """Raise InvalidSpec if groups are in a column, and there is no list with columns."""
    by = spec.split.group_by
    if by is not None and by.column is not None and found.layout != "Csv":
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"dataset.split.groupBy.column is {by.column}, but the photos come from"
            f" {found.described}: only a list (layout Csv) has columns",
            "Set dataset.split.groupBy.pattern, which is searched in the paths, or give a list.",
        )


def check_validation(tally: Tally, settings: Settings) -> None:
    """Raise InvalidData if no photo is left to measure the accuracy on."""
    if tally.images("validation"):
        return
    if settings.group_by is not None and not settings.validation_given:
        raise TrainerError(
            ExitCode.InvalidData,
            "No photo is left for the validation split: by dataset.split.groupBy all readable"
            " photos of each class are in one group, or in groups that it shares with others",
            "Make the groups smaller: each class needs photos of two groups or more.",
        )
    if not settings.validation_given and max(tally.readable.values(), default=0) > 1:
        raise TrainerError(
            ExitCode.InvalidData,
            "No photo is left for the validation split: all photos of each class are copies of each"
            " other, or nearly the same",
            "Add other photos. If they are different, set dataset.split.nearDuplicates to Split.",
        )
    raise TrainerError(
        ExitCode.InvalidData,
        "No readable photo is left for the validation split: each class has only one"
        if not settings.validation_given
        else "No photo of the given validation split can be read",
        "Add photos: a class needs at least two, one to train and one to validate.",
    )


def bad_photo_error(path: str, reason: str) -> TrainerError:
    """Return the error for the first unreadable photo under the policy Fail."""
    return TrainerError(
        ExitCode.InvalidData,
        f"{path} cannot be read ({reason}) and dataset.badImages.policy is Fail",
        "Replace or remove the file, or set the policy Skip.",
    )


def find_warnings(
    found: Found,
    tally: Tally,
    split: Split,
    *,
    near: NearDuplicates,
    leaks: Sequence[str],
) -> tuple[str, ...]:
    """Return the warnings about the data set, none of which is a reason to stop.

    `leaks` are validation photos that are copies of training photos. The texts are part of the
    digest of the data set: do not change them without raising FORMAT.
    """
    return (
        *found.warnings,
        *_folder_warnings(found),
        *_name_warnings(found.splits["train"].classes),
        *_class_warnings(found, tally, split),
        *_conflict_warnings(tally),
        *_leak_warnings(near, leaks, _remedy(found, split)),
        *_dark_warnings(tally),
    )


def _dark_warnings(tally: Tally) -> Iterator[str]:
    for note, what in ((NEARLY_BLACK, "1/16"), (DIM, "1/4")):
        if count := tally.notes[note]:
            yield (
                f"{count} photos have nearly nothing that is brighter than {what} of white, such as"
                f" {tally.noted[note]}: if their camera has 10 to 14 bits, scale the values to 16"
            )


def _folder_warnings(found: Found) -> Iterator[str]:
    for scan in found.splits.values():
        for name in scan.empty:
            yield f"the folder {name!r} holds no photos of its own and is no class"
        if below := _below(scan):
            folders = listed(sorted({path.rpartition("/")[0] for path in below}))
            yield f"{len(below)} photos in folders below class folders are not used: {folders}"
        if absent := _absent(scan):
            yield f"{len(absent)} photos in the list are not there: {listed(absent)}"
        others: dict[str, list[str]] = {}
        for left in scan.left_out:
            if left.fate == "rejected" and not left.listed and left.reason != BELOW:
                others.setdefault(left.reason, []).append(left.path)
        for reason, paths in others.items():
            yield f"{len(paths)} photos are not used ({reason}): {listed(paths, most=3)}"


def _name_warnings(classes: tuple[str, ...]) -> Iterator[str]:
    groups = look_the_same(classes)
    if alike := [group for group in groups if not same_name(group[0]).isdigit()]:
        yield f"these classes differ in capitals or spaces only: {_quoted(alike)}"
    if numbers := [group for group in groups if group not in alike]:
        yield f"these classes are the same number, written differently: {_quoted(numbers)}"
    if spellings := may_be_one(classes):
        yield f"these classes may be one, written differently: {_quoted(spellings)}"
    if nested := [name for name in classes if _NESTED.fullmatch(name)]:
        yield (
            f"{len(nested)} labels are lists or objects, and each is a class of its own, though a"
            f" classifier gives one class: {listed(nested, most=3)}"
        )
    minus = "-1" if len(classes) > 2 else ""  # -1 and 1 are two classes
    if missing := [name for name in classes if is_missing(name) or name == minus]:
        yield (
            f"these classes may be missing values, not names: {listed(missing)}; if so, remove"
            " their photos from the list"
        )
    names = {same_name(name) for name in classes}
    if joined := [name for name in classes if _joins(name, names)]:
        yield (
            f"{len(joined)} labels join others, and each is a class of its own, though a classifier"
            f" gives one class: {listed(joined)}"
        )


def _quoted(groups: list[list[str]]) -> str:
    return listed(" and ".join(map(repr, group)) for group in groups)


def _joins(name: str, names: set[str]) -> bool:
    """Return True for a name that joins others: `cat|dog`, `cat + dog`, `['cat', 'dog']`."""
    bare = name.translate(_BRACKETS)
    often = (bare.split(joint) for joint in JOINTS if joint in bare)
    rarely = (bare.split(joint) for joint in RARE_JOINTS if joint in bare.strip())
    return any({*map(same_name, parts)} & names for parts in often) or any(
        {*map(same_name, parts)} <= names for parts in rarely
    )


def _class_warnings(found: Found, tally: Tally, split: Split) -> Iterator[str]:
    classes, counts = found.splits["train"].classes, tally.splits
    if without := [n for label, n in enumerate(classes) if not counts[label, "validation"]]:
        yield f"no photo validates these classes: {listed(without)}{_why_together(found, split)}"
    train = {name: counts[label, "train"] for label, name in enumerate(classes)}
    if few := [f"{name} ({count})" for name, count in train.items() if count < FEW]:
        yield f"fewer than {FEW} photos train these classes: {listed(few)}"
    if wanted := split.train_per_class:
        short = [f"{name} ({count})" for name, count in train.items() if 0 < count < wanted]
        if short:
            yield (
                f"fewer than trainPerClass {wanted} photos train these classes, as copies of a"
                f" photo, and groups, stay in one split: {listed(short)}"
            )


def _why_together(found: Found, split: Split) -> str:
    """Return the reason why a class may have no validation photos, if the split was ours."""
    if "validation" in found.splits:
        return ""
    if split.group_by is None:
        return " (too few photos, or all are copies of each other or nearly the same)"
    return (
        " (all are in one group of dataset.split.groupBy, or in groups with other classes: add"
        " photos of another group)"
    )


def _conflict_warnings(tally: Tally) -> Iterator[str]:
    if conflicts := tally.conflicts():
        shown = listed((f"{file.path} = {file.same_as}" for file in conflicts), most=3)
        yield f"{len(conflicts)} photos are left out: the same picture is in two classes: {shown}"


def _remedy(found: Found, split: Split) -> str:
    """Return what to do about photos in different splits that look alike."""
    if "validation" in found.splits:
        return "if they show the same, remove one of each from the validation split"
    if split.near_duplicates == "Split":
        return "set dataset.split.nearDuplicates to Together, or remove one of each"
    return "if they show the same, remove one of each, or put both in a group of split.groupBy"


def _leak_warnings(near: NearDuplicates, leaks: Sequence[str], remedy: str) -> Iterator[str]:
    if leaks:
        yield (
            f"{len(leaks)} photos that validate are copies of photos that train, so that the"
            f" accuracy is too high: {listed(leaks, most=3)}"
        )
    if near.across_count:
        yield (
            f"{near.across_count} pairs of photos in different splits look alike, so that the"
            f" accuracy may be too high: {listed(near.across, most=3, count=near.across_count)};"
            f" {remedy}"
        )
