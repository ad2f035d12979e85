"""`finetune-trainer models`: the catalogue as a table, and its weights as MXNet files."""

import sys
from collections.abc import Iterable
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.table import Table

from finetune_trainer.contract import TrainerError
from finetune_trainer.model.catalogue import Entry, entries

_NARROWEST = 100
"""Columns that the table needs where there is no terminal whose width counts."""


def show() -> int:
    """Print the catalogue."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("name", "licence", "weights"):
        table.add_column(column, no_wrap=column == "name")
    for column in ("top-1", "pixels", "params", "MACs"):
        table.add_column(column, justify="right")
    for name, entry in entries().items():
        figures = (f"{entry.top1} %", str(entry.input_size))
        costs = (f"{entry.millions} M", f"{entry.gigamacs} G")
        table.add_row(name, entry.licence, _source(entry), *figures, *costs)
    console = Console()
    console.width = console.width if console.is_terminal else _NARROWEST
    console.print(table)
    print(
        "top-1: accuracy on ImageNet as published with the weights, before any fine-tuning.\n"
        "MACs: multiplications for one image; the time a photo takes grows with them."
    )
    return 0


def _source(entry: Entry) -> str:
    if entry.package:
        return "in the image"
    return f"fetched: {entry.download.megabytes} MB" if entry.download else ""


def convert(names: Iterable[str], directory: Path, *, weights: Path | None) -> int:
    """Write the MXNet files of catalogue entries to directory/NAME."""
    from finetune_trainer.model import convert as conversion

    try:
        for name in names:
            print(conversion.convert(name, directory, weights=weights))
    except TrainerError as error:
        print(f"finetune-trainer: {error.message}. {error.hint}", file=sys.stderr)
        return error.code
    return 0
