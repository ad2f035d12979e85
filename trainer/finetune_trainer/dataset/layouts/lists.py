"""The layout Csv: reads lists of photos and their classes."""

import itertools
from collections.abc import Iterable
from typing import NamedTuple

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.layouts import splits
from finetune_trainer.dataset.layouts.classes import read_classes
from finetune_trainer.dataset.layouts.collect import (
    Collected,
    check_own_photos,
    check_same_labels,
    check_some_found,
    without_both,
)
from finetune_trainer.dataset.layouts.columns import split_in
from finetune_trainer.dataset.layouts.found import Found
from finetune_trainer.dataset.layouts.inspect_list import inspect, usable_lists
from finetune_trainer.dataset.layouts.names import (
    listed,
    split_named,
    split_order,
)
from finetune_trainer.dataset.layouts.open_list import OpenList, open_list
from finetune_trainer.dataset.layouts.source import Source
from finetune_trainer.dataset.layouts.tables import SUFFIXES, open_table
from finetune_trainer.dataset.lock import SplitName


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
    check_own_photos(collected, chosen)
    both = without_both(collected)
    check_some_found(source, collected, chosen)
    check_same_labels(collected, chosen)
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


def _unused_sides(lists: Iterable[OpenList]) -> Sides:
    """Return the warnings about columns of splits that two lists make void."""
    given = [each.file for each in lists if _sides(each).of]
    if not given:
        return Sides()
    warning = f"the column of splits of {listed(given)} is not used: two lists give the splits"
    return Sides(warnings=(warning,))
