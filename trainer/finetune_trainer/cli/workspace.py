"""`finetune-trainer workspace prune`: removes from a workspace what no job needs any more."""

import argparse
import os
import re
import time

from rich.table import Table

from finetune_trainer.cli.arguments import add_workspace
from finetune_trainer.cli.console import add_row, name_column, open_console
from finetune_trainer.cli.living import read_living
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.run import prune

_UNITS = {"h": 3600, "d": 86400}
_WIDTH = 120
"""Width of the table in characters where the output is no terminal."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add `prune` and its arguments."""
    commands = parser.add_subparsers(metavar="COMMAND", dest="command", required=True)
    command = commands.add_parser("prune", help="remove what no job needs any more")
    add_workspace(command, "folder of packed data and checkpoints")
    command.add_argument(
        "--older-than",
        type=age,
        required=True,
        metavar="AGE",
        help="age since the last use, such as 30d or 12h",
    )
    command.add_argument("--dry-run", action="store_true", help="only print what would be removed")


def age(text: str) -> int:
    """Read an age in days or hours, as seconds."""
    if not (found := re.fullmatch(r"([1-9][0-9]{0,4})([dh])", text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no age such as 30d or 12h, from 1h")
    return int(found[1]) * _UNITS[found[2]]


def run(options: argparse.Namespace) -> int:
    """Print each directory with its fate; remove those that may go.

    Raises TrainerError at the end if some could not be removed.
    """
    if not options.workspace.is_dir():
        raise TrainerError(
            ExitCode.InputNotFound, f"--workspace {options.workspace} is no folder", "Name one."
        )
    before = time.time() - options.older_than
    living = read_living(os.environ)
    entries = prune.survey(options.workspace, living=living, before=before)
    table = Table(name_column("directory"), name_column("job"), box=None, pad_edge=False)
    for column in ("MB", "days"):
        table.add_column(column, justify="right")
    table.add_column("", overflow="fold")
    freed, failed = 0, []
    for entry in entries:
        try:
            fate, size = _settle(entry, before=before, dry_run=options.dry_run)
        except OSError as error:
            fate, size = f"cannot be removed: {error.strerror}", 0
            failed.append(f"{entry.path} ({error.strerror})")
        freed += size
        days = f"{(time.time() - entry.used) / _UNITS['d']:.0f}"
        path = entry.path.relative_to(options.workspace)
        add_row(table, path, entry.owner, _megabytes(entry.size), days, fate)
    console = open_console()
    console.width = console.width if console.is_terminal else _WIDTH
    console.print(table)
    verb = "would be removed" if options.dry_run else "removed"
    print(f"{_megabytes(freed)} MB {verb}")
    if failed:
        raise TrainerError(
            ExitCode.PermissionDenied,
            f"{len(failed)} directories could not be removed, such as {failed[0]}.",
            "Run it as the user whose files these are: securityContext.runAsUser in the CronJob.",
        )
    return 0


def _settle(entry: prune.Entry, *, before: float, dry_run: bool) -> tuple[str, int]:
    """Remove a directory that may go; return what became of it, and the bytes that it gave."""
    if not entry.removable:
        return f"kept: {entry.reason}", 0
    if dry_run:
        return f"would be removed: {entry.reason}", entry.size
    if not prune.remove(entry, before=before):
        return "kept: used meanwhile", 0
    return f"removed: {entry.reason}", entry.size


def _megabytes(size: int) -> str:
    return f"{size / 1e6:.1f}"
