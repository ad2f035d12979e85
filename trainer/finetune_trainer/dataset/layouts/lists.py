"""The layouts Csv and Lst: reads lists of photos and their classes."""

import dataclasses
import itertools
import posixpath
import sys
from collections.abc import Iterable, Iterator
from functools import cache, partial
from pathlib import PurePosixPath
from typing import NamedTuple

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.layouts import splits
from finetune_trainer.dataset.layouts.agreement import compare
from finetune_trainer.dataset.layouts.classes import name_of, read_classes
from finetune_trainer.dataset.layouts.columns import (
    LOOKED_AT,
    Columns,
    Listing,
    find_columns,
    has_classes,
    label_of,
    open_listing,
    split_in,
)
from finetune_trainer.dataset.layouts.found import CLASSES_FILE, Found, LeftOut, Photo, Scan
from finetune_trainer.dataset.layouts.names import (
    class_of,
    listed,
    split_named,
    split_of,
    split_order,
    words_of,
)
from finetune_trainer.dataset.layouts.resolve import Resolver
from finetune_trainer.dataset.layouts.source import Source
from finetune_trainer.dataset.layouts.tables import SUFFIXES, Table, open_table
from finetune_trainer.dataset.layouts.tree import Tree, join
from finetune_trainer.dataset.lock import LISTED_TWICE, SplitName

LARGEST = 512 << 20
"""The bytes of the largest file that is opened only to see whether it is a list."""
SPLITS = frozenset({"partition", "partitions", "split", "splits", "folds"})
"""Words in the names of lists that put photos into splits, not into classes."""
MOST_LISTS = 10
"""The most lists of a kind in a folder: where there are more, each photo has its own."""


class Entry(NamedTuple):
    """A line of a list, as it is in the list."""

    path: str
    class_name: str
    split: str = ""
    """The field of the column of splits."""
    group: str = ""
    """The field of the column of groups."""


@dataclasses.dataclass(frozen=True)
class OpenList:
    """A list whose columns are known."""

    file: str
    """The path of the list in the source."""
    listing: Listing
    columns: Columns
    resolver: Resolver

    def entries(self) -> Iterator[Entry]:
        """Yield the rows; raise InvalidData for one without a path or a class."""
        may_be_cut = self.columns.is_last_used
        for number, row in self.listing.rows():
            path = row[self.columns.path].strip() if self.columns.path < len(row) else ""
            label = label_of(row, self.columns)
            if not path or label is None:
                raise self._incomplete(number, row)
            if may_be_cut and self.listing.is_too_wide(row):
                raise self._too_wide(number, row)
            if "\n" in path + label:
                raise self._over_lines(number, row)
            name = class_of(label, where=f"{self.file}, row {number}: the label")
            split, group = self.columns.split, self.columns.group
            yield Entry(path, name, _field(row, split), _field(row, group))

    def describe(self) -> str:
        """Return the list, its columns and how its paths are read, for messages."""
        text, columns = self.file, self.columns
        if columns.names and len(columns.labels) == 1:
            text += f" (columns {columns.names[columns.path]}, {columns.names[columns.labels[0]]})"
        return text + self.resolver.describe()

    def warnings(self) -> Iterator[str]:
        """Yield warnings about other columns, and rows with more fields than the header."""
        yield from self.columns.warnings
        wide = [number for number, row in self.listing.rows() if self.listing.is_too_wide(row)]
        if wide:
            yield (
                f"{len(wide)} rows of {self.file} have more fields than its header, such as row"
                f" {wide[0]}: if a comma is in a label, quote the label"
            )

    def too_wide(self) -> TrainerError | None:
        """Return the error for the first row with more fields than the header; None if none is."""
        rows = ((n, row) for n, row in self.listing.rows() if self.listing.is_too_wide(row))
        return next((self._too_wide(number, row) for number, row in rows), None)

    def _too_wide(self, number: int, row: list[str]) -> TrainerError:
        width, first = self.listing.width, "the header" if self.listing.names else "the first row"
        return TrainerError(
            ExitCode.InvalidData,
            f"{self.file}, row {number} has {len(row)} fields, {first} {width}:"
            f" {','.join(row)!r:.80}",
            'Put fields that have a separator in them into quotation marks: "cat, black".',
        )

    def _over_lines(self, number: int, row: list[str]) -> TrainerError:
        return TrainerError(
            ExitCode.InvalidData,
            f"{self.file}, row {number} has a quotation mark that makes one field of several lines:"
            f" {','.join(row)!r:.80}",
            "Remove the quotation mark, or close it in its line.",
        )

    def _incomplete(self, number: int, row: list[str]) -> TrainerError:
        lacks = "lacks a path or a label"
        if len(self.columns.labels) > 1:
            lacks = "has not exactly one column with 1; a classifier needs one label for each photo"
        return TrainerError(
            ExitCode.InvalidData,
            f"{self.file}, row {number} {lacks}: {','.join(row)!r:.80}",
            "Complete the row, or remove it.",
        )


def _field(row: list[str], column: int | None) -> str:
    return row[column].strip() if column is not None and column < len(row) else ""


def open_list(source: Source, file: str, table: Table) -> OpenList:
    """Find the columns of a list; raise InvalidData if it has none of paths or of labels."""
    listing = open_listing(table, source.csv, source.index.has_stem)
    hits = cache(partial(_hits, source, file, listing))  # each resolves a thousand names
    by_number = cache(partial(_hits, source, file, listing, numbers=True))
    columns = find_columns(listing, source.csv, source.group_column, hits=hits, by_number=by_number)
    values = partial(listing.values, columns.path)
    resolver = Resolver(source.index, file, values, numbers=listing.names_photos(columns.path))
    return OpenList(file, listing, columns, resolver)


def _hits(
    source: Source, file: str, listing: Listing, column: int, *, numbers: bool = False
) -> int:
    """Return the number of fields of a column that are files of the source, or named like them."""
    values = partial(listing.values, column, most=LOOKED_AT)
    resolver = Resolver(source.index, file, values, numbers=numbers)
    return resolver.found or resolver.doubted


class Inspected(NamedTuple):
    """What Auto knows about a file that may be a list."""

    file: str
    opened: OpenList | None
    """The list, if it may be used."""
    reason: str = ""
    """The reason why it may not."""
    error: TrainerError | None = None
    """Set for a file that names the photos and yet may not be used: probably by mistake."""

    @property
    def is_list(self) -> bool:
        """False for a text that happens to end like a list."""
        return bool(self.opened or self.error) or not self.file.endswith((".txt", ".json"))


def inspect(source: Source, file: str) -> Inspected:
    """Look into a file that may be a list; raises nothing."""
    if file not in source.inspected:
        source.inspected[file] = _inspect(source, file)
    inspected: Inspected = source.inspected[file]
    return inspected


def _inspect(source: Source, file: str) -> Inspected:
    state = source.tree.state(file)
    if state is None:
        return Inspected(file, None, "it is neither a file nor a link to one")
    if state.st_size > LARGEST:
        reason = f"it is larger than {LARGEST >> 20} MiB: if it is the list, set dataset.csv.file"
        return Inspected(file, None, reason)
    try:
        table = open_table(source.tree.root / file)
    except TrainerError as error:
        return Inspected(file, None, error.message, error if source.is_named_in(file) else None)
    try:
        opened = open_list(source, file, table)
        if not opened.resolver.found:
            doubt = opened.too_wide() if source.is_named_in(file) else None
            doubt = _other_photos(opened.resolver) if opened.resolver.doubt else doubt
            return Inspected(file, None, "it names none of these photos", doubt)
        if not opened.columns.is_usual and not has_classes(
            opened.listing, opened.columns.labels[0]
        ):
            return Inspected(file, None, "it names photos, but no classes")
        if _is_of_splits(file, opened):
            return Inspected(file, None, "it is named like a list of splits", _of_splits(file))
    except TrainerError as error:
        is_doubtful = source.is_named_in(file) and _may_have_classes(source, file, table)
        return Inspected(file, None, error.message, error if is_doubtful else None)
    if table.problem:
        return Inspected(file, None, table.problem.message, table.problem)
    return Inspected(file, opened)


def _is_of_splits(file: str, opened: OpenList) -> bool:
    """Return True for numbers without a name in a list named like one of splits: CelebA's."""
    words = {*words_of(PurePosixPath(file).stem)} - {"eval"}
    is_of_one = len({split_named(word) for word in words} - {None}) == 1  # train_split.txt
    values = opened.listing.values(opened.columns.labels[0], most=LOOKED_AT)
    is_doubtful = not (is_of_one or opened.columns.is_usual or SPLITS.isdisjoint(words))
    return is_doubtful and all(map(str.isdigit, values))


def _of_splits(file: str) -> TrainerError:
    return TrainerError(
        ExitCode.InvalidData,
        "it is named like a list of splits, so its numbers may not be the classes",
        "Write one list of all photos, with the columns path, label and split. If the numbers are"
        f" the classes: dataset.csv.file: {file}.",
    )


def _other_photos(resolver: Resolver) -> TrainerError:
    return TrainerError(
        ExitCode.InvalidData,
        f"it may mean other photos of the same names: {resolver.doubt}",
        "Add the photos that it names, or write their paths within the source into it; or remove"
        " the list.",
    )


def _may_have_classes(source: Source, file: str, table: Table) -> bool:
    """Return True for a damaged list, and for one with a column that may have the classes: it has
    few values, and no column says the same as the folders of the photos.
    """
    try:
        listing = open_listing(table, source.csv, source.index.has_stem)
        columns = range(listing.width)
        path = max(columns, key=partial(_hits, source, file, listing))
        names = list(listing.values(path, most=LOOKED_AT))
        resolver = Resolver(source.index, file, lambda: names)
        found = [resolver.find(name) or "" for name in names]
        agreements = []
        for column in filter(partial(has_classes, listing), columns):
            values = listing.values(column, most=LOOKED_AT)
            pairs = zip(found, values, strict=True)
            agreements.append(compare(pair for pair in pairs if pair[0]).agreement)
        return bool(agreements) and "same" not in agreements
    except TrainerError:
        return True


def may_be_lists(tree: Tree) -> list[list[str]]:
    """Return the files that may be lists: beside the photos' folders, and in those of splits."""
    inner = (_lists_in(tree, folder) for folder in tree.folders[""] if split_of(folder))
    return [_lists_in(tree, ""), list(itertools.chain(*inner))]


def deeper_lists(tree: Tree) -> list[str]:
    """Return the files in other folders that may be lists."""
    known = set(itertools.chain(*may_be_lists(tree)))
    found = itertools.chain(*(_lists_in(tree, folder) for folder in tree.files))
    return [file for file in found if file not in known]


def _lists_in(tree: Tree, folder: str) -> list[str]:
    """Return the files of a folder that may be lists, but for kinds of which each photo has one."""
    names = (name for name in tree.files[folder] if name != CLASSES_FILE)
    kinds: dict[str, list[str]] = {}
    for name in names:
        if name.lower().endswith(SUFFIXES):
            kinds.setdefault(posixpath.splitext(name)[1].lower(), []).append(join(folder, name))
    return sorted(itertools.chain(*(few for few in kinds.values() if len(few) <= MOST_LISTS)))


def usable_lists(source: Source) -> list[str]:
    """Return the lists that name photos and classes; those within splits if there are no others."""
    for files in may_be_lists(source.tree):
        if usable := [file for file in files if inspect(source, file).opened]:
            return [file for file in usable if not _is_to_submit(file)] or usable
    return []


def _is_to_submit(file: str) -> bool:
    """Return True for the sample of a competition: its classes are placeholders."""
    return "submission" in words_of(PurePosixPath(file).stem)


def scan_csv(source: Source) -> Found:
    """Read the list that `dataset.csv` names, or the ones there are."""
    return _read(source, _choose(source))


def _choose(source: Source) -> splits.Chosen:
    if (named := source.csv.file) is not None:
        if not (source.tree.root / named).is_file():
            found = splits.files_with(source.tree, *SUFFIXES)
            both = " It names the list of both sources." if source.spec.validation_source else ""
            raise TrainerError(
                ExitCode.InputNotFound,
                f"dataset.csv.file {named} is not in the source",
                f"Found there: {listed(found) or 'no list'}.{both}",
            )
        return splits.Chosen({"train": named})
    files = usable_lists(source) or splits.files_with(source.tree, ".csv", ".tsv", ".jsonl")
    return splits.choose(files, layout="Csv")


def _open(source: Source, file: str) -> OpenList:
    """Return a list that is used; raise InvalidData for one that cannot be."""
    if known := inspect(source, file).opened:
        return known
    table = open_table(source.tree.root / file)
    if table.problem:
        raise table.problem
    return open_list(source, file, table)


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


def _read(source: Source, chosen: splits.Chosen) -> Found:
    lists = {split: _open(source, file) for split, file in chosen.files.items()}
    sides = _sides(lists["train"]) if len(lists) == 1 else _unused_sides(lists.values())
    collected = {split: Collected(source) for split in (*lists, *sides.of.values()) if split}
    for split, each in lists.items():
        for entry in each.entries():
            name = sides.of.get(entry.split, split)
            if name is None:
                path = each.resolver.find(entry.path) or entry.path
                collected["train"].leave_out(path, f"the list puts it into {entry.split}")
            else:
                collected[name].add(each.resolver, entry.path, entry.class_name, entry.group)
    _check_own_photos(collected, chosen)
    both = _without_both(collected)
    _check_some_found(source, collected, chosen)
    _check_same_labels(collected, chosen)
    classes = read_classes(source.tree.root)
    described = "the list " + " and ".join(each.describe() for each in lists.values())
    return Found(
        "Csv",
        {split: each.scan(classes) for split, each in collected.items()},
        described + sides.described,
        passed_over=chosen.passed_over,
        warnings=(
            *itertools.chain(*(each.warnings() for each in lists.values())),
            *sides.warnings,
            *both,
        ),
        read=tuple(chosen.files.values()),
    )


class Sides(NamedTuple):
    """The splits that a column of a list gives."""

    of: dict[str, SplitName | None] = {}
    """The split by the value of the column; None for photos that are not used."""
    described: str = ""
    warnings: tuple[str, ...] = ()


def _sides(opened: OpenList) -> Sides:
    """Return the splits of a list's column, if its values are names of splits, two at least."""
    column = opened.columns.split
    if column is None:
        return Sides()
    name, values = opened.columns.names[column], set(opened.listing.values(column))
    of = {value: split_in(value, name) for value in values}
    if set(of.values()) == {"train", "validation"}:
        words = [value for value in of if split_named(value) == "validation"]
        first = min(map(split_order, words), default=0)
        of |= {word: None for word in words if split_order(word) != first}
        return Sides(of, f", split by its column {name}")
    shown = listed(sorted(map(repr, values)), most=4)
    warning = f"the column {name} of {opened.file} is not used as the split: it has {shown}"
    return Sides(warnings=(warning,))


def _check_own_photos(collected: dict[SplitName, Collected], chosen: splits.Chosen) -> None:
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


def _unused_sides(lists: Iterable[OpenList]) -> Sides:
    """Return the warnings about columns of splits that two lists make void."""
    given = [each.file for each in lists if _sides(each).of]
    if not given:
        return Sides()
    warning = f"the column of splits of {listed(given)} is not used: two lists give the splits"
    return Sides(warnings=(warning,))


def _without_both(collected: dict[SplitName, Collected]) -> tuple[str, ...]:
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


def _check_some_found(
    source: Source, collected: dict[SplitName, Collected], chosen: splits.Chosen
) -> None:
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


def _check_same_labels(collected: dict[SplitName, Collected], chosen: splits.Chosen) -> None:
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


def has_lst(source: Source) -> bool:
    """Return True if there is a .lst file."""
    return bool(splits.files_with(source.tree, ".lst"))


def scan_lst(source: Source) -> Found:
    """Read im2rec's lists: number, label and path, separated by tabs."""
    tree = source.tree
    chosen = splits.choose(splits.files_with(tree, ".lst"), layout="Lst")
    rows = {split: list(_lst_rows(tree, file)) for split, file in chosen.files.items()}
    every = [row for each in rows.values() for row in each]
    given = read_classes(tree.root)
    names = _given_names(every, given) if given else _folder_names(every)
    collected: dict[SplitName, Collected] = {}
    described = []
    for split, file in chosen.files.items():
        paths = [path for path, _ in rows[split]]
        resolver = Resolver(source.index, file, paths.__iter__)
        described.append(file + resolver.describe())
        collected[split] = Collected(source)
        for path, label in rows[split]:
            collected[split].add(resolver, path, names.get(label, str(label)))
    _check_own_photos(collected, chosen)
    both = _without_both(collected)
    _check_some_found(source, collected, chosen)
    _check_same_labels(collected, chosen)
    classes = given or tuple(names[label] for label in sorted(names)) or None
    return Found(
        "Lst",
        {split: each.scan(classes) for split, each in collected.items()},
        "the list " + " and ".join(described),
        passed_over=chosen.passed_over,
        warnings=both,
        read=tuple(chosen.files.values()),
    )


def _lst_rows(tree: Tree, name: str) -> Iterator[tuple[str, int]]:
    with open(tree.root / name, encoding="utf-8-sig", errors="surrogateescape") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            fields = [field.strip() for field in line.strip().split("\t")]
            try:
                _, label, path = fields
                value = float(label)
                if value < 0 or value != int(value):
                    raise ValueError
            except (ValueError, OverflowError) as error:
                raise TrainerError(
                    ExitCode.InvalidData,
                    f"{name}, line {number} is not NUMBER, LABEL, PATH with tabs between and a"
                    f" whole label from 0: {line.strip()!r:.80}",
                    "Correct the line. A classifier needs one label for each photo."
                    if any(map(str.isdigit, line))
                    else "Correct the line, or remove it if it is a header: these lists have none.",
                ) from error
            yield path, int(value)


def _given_names(rows: Iterable[tuple[str, int]], names: tuple[str, ...]) -> dict[int, str]:
    """Return the names of classes.txt by label; raise InvalidData for a label beyond them."""
    return {label: name_of(label, names, where=path) for path, label in rows}


def _folder_names(rows: Iterable[tuple[str, int]]) -> dict[int, str]:
    """Return the folder of each label if each has one of its own, as in lists of im2rec."""
    folders: dict[int, str] = {}
    for path, label in rows:
        folder = PurePosixPath(path.replace("\\", "/")).parent.name
        if folders.setdefault(label, folder) != folder or not folder:
            return {}
    if len(set(folders.values())) < len(folders):
        return {}
    return {n: class_of(name, where="The folder") for n, name in folders.items()}
