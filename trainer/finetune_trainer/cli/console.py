"""Prints tables and lines with text of users: as it is, never as markup or control characters."""

import sys

from rich.console import Console
from rich.table import Column, Table

from finetune_trainer.run.printable import printable


def open_console() -> Console:
    """Return standard output as a console that reads no language in a text."""
    return Console(markup=False, emoji=False, highlight=False)


def name_column(header: str) -> Column:
    """Return a column for names: a long one is folded, never cut."""
    return Column(header, overflow="fold")


def add_row(table: Table, *cells: object) -> None:
    """Add a row of texts and numbers."""
    table.add_row(*(printable(str(cell)) for cell in cells))


def print_aside(line: str) -> None:
    """Print a line to standard error."""
    print(printable(line), file=sys.stderr)


def print_some(heading: str, lines: list[str], *, most: int = 20) -> None:
    """Print a heading to standard error, and the first lines below it, if there are lines."""
    if lines:
        print_aside(heading)
    for line in lines[:most]:
        print_aside(f"  {line}")
    if len(lines) > most:
        print_aside(f"  and {len(lines) - most} more")
