"""Finds the columns of a list: the path, the class, the split and the group of each photo."""

import dataclasses
import re
from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from itertools import islice

from finetune_trainer.contract import Csv, ExitCode, TrainerError
from finetune_trainer.dataset.file_types import is_picture
from finetune_trainer.dataset.layouts.names import split_named
from finetune_trainer.dataset.layouts.tables import TITLE, Row, Table
from finetune_trainer.dataset.lock import SplitName

PATH_COLUMNS = (
    *("path", "file", "filename", "file_name", "filepath", "file_path", "image", "image_path"),
    *("image_name", "img", "img_path", "img_name", "photo", "image_id", "filepaths", "images"),
    *("image_file", "file_id", "picture", "id"),
)
LABEL_COLUMNS = (
    *("label", "class", "class_name", "classname", "category", "target", "species"),
    *("labels", "classes", "class_id", "classid", "class_label", "label_name", "labelname"),
    *("category_name", "category_id", "breed", "variety", "dx", "diagnosis", "y", "tag", "tags"),
    *("label_id", "finding_labels", "ground_truth"),
)
SPLIT_COLUMNS = (
    *("split", "subset", "set", "partition", "phase", "data_set", "dataset", "usage", "stage"),
    *("fold", "kfold"),
    *("train_test", "train_val", "is_valid", "is_validation", "is_val", "is_test", "is_train"),
    *("is_training", "is_training_image", "is_testing"),
)
FLAGS = frozenset(name.replace("_", "") for name in SPLIT_COLUMNS if name.startswith("is_"))
"""Names of columns, without the lines between their words, that are true or false for a split."""
OFTEN_OTHER = ("y", "tag", "tags")
"""Names of columns of the class that often have something else."""
_INNER_CAPITAL = re.compile(r"(?<=[a-z])(?=[A-Z])")
RANKS = frozenset({"phylum", "order", "family", "genus"})
"""The ranks of biology beside which a column `class` is one, too: birds, mammals."""
TRUE, FALSE = frozenset({"true", "1", "1.0", "yes"}), frozenset({"false", "0", "0.0", "no"})
LOOKED_AT = 1000
"""Rows by which columns are recognised."""


@dataclasses.dataclass(frozen=True)
class Columns:
    """The places of what a list says about a photo."""

    path: int
    labels: tuple[int, ...]
    """The column of the class; or, if there are several, one for each class, of which the photo's
    has 1 and the others 0."""
    names: tuple[str, ...]
    """The names of all columns."""
    split: int | None = None
    group: int | None = None
    is_usual: bool = True
    """False if the labels have no usual name: they are the only column that may have the classes.
    """
    warnings: tuple[str, ...] = ()

    @property
    def is_last_used(self) -> bool:
        """True if the last column is used: a comma more in a row changes what is read of it."""
        used = {self.path, *self.labels, self.split, self.group}
        return len(self.names) - 1 in used


@dataclasses.dataclass(frozen=True)
class Listing:
    """A table whose header is known."""

    table: Table
    names: tuple[str, ...]
    """The header, without spaces around the names; empty if there is none."""
    above: int = 0
    """Number of rows above the first photo: the header, and a title."""

    @cached_property
    def width(self) -> int:
        """The number of columns, at least 1."""
        _, first = next(self.rows(), (0, [])) if not self.names else (0, [])
        return max(1, len(self.names), len(first))

    def is_too_wide(self, row: Sequence[str]) -> bool:
        """Return True for a row with more fields than there are columns, not all of them empty."""
        return len(row) > self.width and any(map(str.strip, row[self.width :]))

    def rows(self) -> Iterator[Row]:
        """Yield the rows below the header."""
        return islice(self.table.rows(), self.above, None)

    def values(self, column: int, *, most: int | None = None) -> Iterator[str]:
        """Yield the fields of a column, of the first `most` rows or of all."""
        for _, row in islice(self.rows(), most):
            yield row[column].strip() if column < len(row) else ""

    def names_photos(self, column: int) -> bool:
        """Return True for a column with a usual name for paths, such as id."""
        return bool(self.names) and _key(self.names[column]) in map(_key, PATH_COLUMNS)

    def place(self, wanted: str) -> int | None:
        """Return the column of this name, or of one that differs in case or spaces only."""
        if wanted in self.names:
            return self.names.index(wanted)
        keys = list(map(_key, self.names))
        return keys.index(_key(wanted)) if _key(wanted) in keys else None


def open_listing(table: Table, spec: Csv, is_named: Callable[[str], bool]) -> Listing:
    """Find out whether the first row is a header: not if it names a picture already.

    `is_named` returns True for the name of a picture of the source, without its ending.
    """
    if table.keys:
        return Listing(table, table.keys)
    rows = [_stripped(row) for _, row in islice(table.rows(), TITLE)] or [()]
    usual = set(map(_key, (*PATH_COLUMNS, *LABEL_COLUMNS, *SPLIT_COLUMNS)))
    if spec.path_column or spec.label_column or not usual.isdisjoint(map(_key, rows[0])):
        return Listing(table, rows[0], above=1)
    if len(rows[0]) > 1 and (any(map(is_picture, rows[0])) or any(map(is_named, rows[0]))):
        return Listing(table, ())
    photo = next((n for n, row in enumerate(rows) if len(row) > 1 and any(map(is_picture, row))), 1)
    return Listing(table, rows[photo - 1], above=photo)


def _stripped(row: Sequence[str]) -> tuple[str, ...]:
    return tuple(map(str.strip, row))


def find_columns(
    listing: Listing,
    spec: Csv,
    group: str | None,
    *,
    hits: Callable[[int], int],
    by_number: Callable[[int], int],
) -> Columns:
    """Return the columns; `hits` counts the fields of a column that are files of the source, and
    `by_number` those that are if names are compared by the values of their numbers.

    Raises InvalidData if there is no column of paths or of labels, or none named `group`.
    """
    if not listing.names:
        return _without_header(listing, hits)
    path = _path_column(listing, spec, hits, by_number)
    split = _split_column(listing, spec)
    label = _wanted(listing, spec.label_column, field="labelColumn")
    labels, is_usual = ((label,), True) if label is not None else _labels(listing, path)
    place = _wanted(listing, group, field="groupBy.column", of="dataset.split")
    for column in (*labels, *([] if split is None else [split])):
        _check_named_once(listing, column)
    warnings = tuple(_other_labels(listing, labels[0], path)) if label is None and is_usual else ()
    return Columns(path, labels, listing.names, split, place, is_usual, warnings)


def _without_header(listing: Listing, hits: Callable[[int], int]) -> Columns:
    """Return the column of pictures, and the one column that is neither this nor one of splits."""
    _, first = next(listing.rows(), (0, []))
    path = next((n for n, field in enumerate(first) if is_picture(field.strip())), None)
    if path is None:
        path = max(range(len(first)), key=hits, default=None)
    if path is None:
        raise _no_column(listing, PATH_COLUMNS, field="pathColumn")
    others = [n for n in range(len(first)) if n != path]
    splits = [n for n in others if all(map(split_named, listing.values(n, most=LOOKED_AT)))]
    labels = [n for n in others if n not in splits]
    if len(labels) != 1:
        raise _no_column(listing, LABEL_COLUMNS, field="labelColumn")
    names = tuple(f"column {n + 1}" for n in range(len(first)))
    return Columns(path, (labels[0],), names, next(iter(splits), None), is_usual=False)


def _path_column(
    listing: Listing, spec: Csv, hits: Callable[[int], int], by_number: Callable[[int], int]
) -> int:
    wanted = _wanted(listing, spec.path_column, field="pathColumn")
    if wanted is not None:
        return wanted
    known = [place for name in PATH_COLUMNS if (place := listing.place(name)) is not None]
    best = max(known, key=hits, default=None)
    if best is None or not hits(best):
        best = max(known, key=by_number, default=None)
    if best is None or not (hits(best) or by_number(best)):
        best = max(range(len(listing.names)), key=hits) if listing.names else None
        best = best if best is not None and hits(best) else next(iter(known), None)
    if best is None:
        raise _no_column(listing, PATH_COLUMNS, field="pathColumn")
    return best


def _split_column(listing: Listing, spec: Csv) -> int | None:
    """Return the column of splits: the one that is set, or by its name, or by its values."""
    wanted = _wanted(listing, spec.split_column, field="splitColumn")
    if wanted is not None:
        return wanted
    known = _known(listing, SPLIT_COLUMNS)
    if known is not None and _splits_by(listing, known):
        return known
    labels = {listing.place(name) for name in (*LABEL_COLUMNS, spec.label_column or "label")}
    others = (n for n in range(len(listing.names)) if n not in labels)
    return next((n for n in others if _splits_by(listing, n)), known)


def _splits_by(listing: Listing, column: int) -> bool:
    """Return True for a column whose fields are all splits, both of them."""
    name = listing.names[column]
    if _plain(name).startswith("is_") and _key(name) not in FLAGS:
        return False  # is_cat says nothing of splits
    found = {split_in(value, name) for value in _looked_at(listing, column)}
    return found == {"train", "validation"}


def _may_be_label(listing: Listing, column: int) -> bool:
    """Return False for a column of row numbers, of splits, or of nothing."""
    only_splits = all(map(split_named, _looked_at(listing, column)))
    is_empty = not any(_looked_at(listing, column))
    return not (
        only_splits or is_empty or _splits_by(listing, column) or _counts_rows(listing, column)
    )


def _labels(listing: Listing, path: int) -> tuple[tuple[int, ...], bool]:
    """Return the columns of the class, and True if they have usual names."""
    if usual := _usual_labels(listing, path):
        return (usual[0],), True
    others = [n for n in range(len(listing.names)) if n != path and _may_be_label(listing, n)]
    if len(others) >= 2 and _are_flags(listing, others):
        return tuple(others), True
    if len(others) == 1 and has_classes(listing, others[0]) and not _measures(listing, others[0]):
        return (others[0],), False
    raise _no_column(listing, LABEL_COLUMNS, field="labelColumn")


def _usual_labels(listing: Listing, path: int) -> list[int]:
    """Return the columns with usual names of the class, the most usual one first."""
    keys = set(map(_plain, listing.names))
    others = {"y"} if listing.place("x") not in (None, path) else set()
    others |= {"class"} if keys & RANKS else set()
    places = (listing.place(name) for name in LABEL_COLUMNS if name not in others)
    return list(dict.fromkeys(n for n in places if n is not None and n != path))


def _other_labels(listing: Listing, label: int, path: int) -> Iterator[str]:
    """Yield warnings about other columns that may be the class, coarser or finer.

    Raises InvalidData for one that divides the photos in quite another way.
    """
    for other in _usual_labels(listing, path):
        pairs = set(zip(_looked_at(listing, label), _looked_at(listing, other), strict=True))
        pairs = {pair for pair in pairs if all(pair)}
        numbers = [len({pair[side] for pair in pairs}) for side in (0, 1)]
        names = f"{listing.names[label]} and {listing.names[other]}"
        if min(numbers) < 2 or len(pairs) == min(numbers) == max(numbers):
            continue
        message = f"the columns {names} of {listing.table.name} divide the photos differently"
        if len(pairs) > max(numbers) and _plain(listing.names[other]) not in OFTEN_OTHER:
            raise TrainerError(
                ExitCode.InvalidData,
                f"{message}, and either may be the class",
                "Name the column of the class in dataset.csv.labelColumn.",
            )
        yield f"{message}: {listing.names[label]} is used; dataset.csv.labelColumn names another"


def _check_named_once(listing: Listing, column: int) -> None:
    """Raise InvalidData for two columns of one name that say different things."""
    name, values = listing.names[column], list(_looked_at(listing, column))
    others = [n for n, each in enumerate(listing.names) if each == name and n != column]
    if any(list(_looked_at(listing, other)) != values for other in others):
        raise TrainerError(
            ExitCode.InvalidData,
            f"{listing.table.name} has {len(others) + 1} columns named {name}, with other values",
            "Rename or remove those that do not have the class or the split.",
        )


def _looked_at(listing: Listing, column: int) -> Iterator[str]:
    return listing.values(column, most=LOOKED_AT)


def _measures(listing: Listing, column: int) -> bool:
    """Return True for numbers other than 0, 1, 2 ... or 1, 2, 3 ...: a width is no class."""
    try:
        numbers = sorted(set(map(float, _looked_at(listing, column))))
    except ValueError:
        return False
    return [number - numbers[0] for number in numbers] != list(range(len(numbers))) or (
        numbers[0] not in (0, 1)
    )


def _wanted(
    listing: Listing, name: str | None, *, field: str, of: str = "dataset.csv"
) -> int | None:
    if name is None:
        return None
    place = listing.place(name)
    if place is None:
        raise _no_column(listing, (name,), field=field, of=of)
    return place


def _known(listing: Listing, names: Sequence[str], *, but: int | None = None) -> int | None:
    places = (listing.place(name) for name in names)
    return next((place for place in places if place is not None and place != but), None)


def _counts_rows(listing: Listing, column: int) -> bool:
    """Return True for a column that numbers the rows, as pandas writes it."""
    values = list(listing.values(column, most=LOOKED_AT))
    return all(map(str.isdigit, values)) and len(set(values)) == len(values) > 1


def _are_flags(listing: Listing, columns: Sequence[int]) -> bool:
    values = (value for n in columns for value in listing.values(n, most=LOOKED_AT))
    return all(value.lower() in TRUE | FALSE for value in values)


def has_classes(listing: Listing, column: int) -> bool:
    """Return True if the fields repeat, as classes do."""
    values = list(listing.values(column, most=LOOKED_AT))
    return 2 <= len(set(values)) <= len(values) / 2


def label_of(row: Sequence[str], columns: Columns) -> str | None:
    """Return the class of a row: a field, or the one column that has 1; None if there is none."""
    if len(columns.labels) == 1:
        column = columns.labels[0]
        return row[column].strip() or None if column < len(row) else None
    marked = [n for n in columns.labels if n < len(row) and row[n].strip().lower() in TRUE]
    return columns.names[marked[0]] if len(marked) == 1 else None


def split_in(value: str, column: str) -> SplitName | None:
    """Return the split that a field of a column of splits means, or None."""
    value = value.strip().lower()
    if not _plain(column).startswith("is_") and _key(column) not in FLAGS:
        return split_named(value)
    if value not in TRUE | FALSE:
        return None
    return "train" if (value in TRUE) == _key(column).startswith("istrain") else "validation"


def _plain(name: str) -> str:
    words = _INNER_CAPITAL.sub("_", name.strip())
    return words.lower().replace(" ", "_").replace("-", "_").replace("/", "_")


def _key(name: str) -> str:
    """Return a key that is the same for imagePath, Image Path and imagepath."""
    return _plain(name).replace("_", "")


def _no_column(
    listing: Listing, names: Sequence[str], *, field: str, of: str = "dataset.csv"
) -> TrainerError:
    header = f"its header is {', '.join(listing.names)[:200]!r}"
    if not listing.names:
        header = f"it has no header, and {listing.width} columns"
    nested = " If its labels lie deeper, save it as CSV with the columns path and label."
    return TrainerError(
        ExitCode.InvalidData,
        f"{listing.table.name} has no column {' or '.join(names[:4])}; {header}",
        f"Name the column in {of}.{field}.{nested if listing.table.keys else ''}"
        if listing.names
        else "Write a row with the names of the columns above it, such as path,label.",
    )
