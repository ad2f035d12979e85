"""A list whose columns are known: reads its rows, one for each photo."""

import dataclasses
from collections.abc import Iterator
from functools import cache, partial
from typing import NamedTuple

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.layouts.columns import (
    LOOKED_AT,
    Columns,
    Listing,
    find_columns,
    label_of,
    open_listing,
)
from finetune_trainer.dataset.layouts.names import class_of
from finetune_trainer.dataset.layouts.resolve import Resolver
from finetune_trainer.dataset.layouts.source import Source
from finetune_trainer.dataset.layouts.tables import Table


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
    hits = cache(partial(count_hits, source, file, listing))  # each resolves a thousand names
    by_number = cache(partial(count_hits, source, file, listing, numbers=True))
    columns = find_columns(listing, source.csv, source.group_column, hits=hits, by_number=by_number)
    values = partial(listing.values, columns.path)
    resolver = Resolver(source.index, file, values, numbers=listing.names_photos(columns.path))
    return OpenList(file, listing, columns, resolver)


def count_hits(
    source: Source, file: str, listing: Listing, column: int, *, numbers: bool = False
) -> int:
    """Return the number of fields of a column that are files of the source, or named like them."""
    values = partial(listing.values, column, most=LOOKED_AT)
    resolver = Resolver(source.index, file, values, numbers=numbers)
    return resolver.found or resolver.doubted
