"""The files of a source that may be lists of photos and their classes, and why one may not be."""

import itertools
import posixpath
from functools import partial
from pathlib import PurePosixPath
from typing import NamedTuple

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.layouts.agreement import compare
from finetune_trainer.dataset.layouts.columns import (
    LOOKED_AT,
    has_classes,
    open_listing,
)
from finetune_trainer.dataset.layouts.found import CLASSES_FILE
from finetune_trainer.dataset.layouts.names import (
    split_named,
    split_of,
    words_of,
)
from finetune_trainer.dataset.layouts.open_list import OpenList, count_hits, open_list
from finetune_trainer.dataset.layouts.resolve import Resolver
from finetune_trainer.dataset.layouts.source import Source
from finetune_trainer.dataset.layouts.tables import SUFFIXES, Table, open_table
from finetune_trainer.dataset.layouts.tree import Tree, join

LARGEST = 512 << 20
"""The bytes of the largest file that is opened only to see whether it is a list."""
SPLITS = frozenset({"partition", "partitions", "split", "splits", "folds"})
"""Words in the names of lists that put photos into splits, not into classes."""
MOST_LISTS = 10
"""The most lists of a kind in a folder: where there are more, each photo has its own."""


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
        path = max(columns, key=partial(count_hits, source, file, listing))
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
