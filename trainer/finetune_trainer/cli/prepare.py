"""`finetune-trainer prepare`: packs photos on this machine and prints a table of the data set."""

import argparse
import dataclasses
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import msgspec
from rich.console import Console
from rich.progress import Progress, TextColumn
from rich.table import Table

from finetune_trainer.cli.arguments import add_workspace, new_file, positive
from finetune_trainer.cli.console import add_row, name_column, open_console
from finetune_trainer.cli.local import local_dataset, make_folder, open_run
from finetune_trainer.cli.manifest import read_manifest
from finetune_trainer.contract import Dataset, ExitCode, Model, Source, TrainerError, Training
from finetune_trainer.dataset.exact import check_opencv
from finetune_trainer.dataset.lock import LOCK, Lock, read_lock
from finetune_trainer.dataset.sheet import write_sheet
from finetune_trainer.dataset.stage import prepare
from finetune_trainer.fetch import fetch
from finetune_trainer.model.input_size import known_size
from finetune_trainer.run.files import read_json
from finetune_trainer.run.handoff import PACKED, Packed
from finetune_trainer.run.printable import printable
from finetune_trainer.run.reporter import Reporter

_REASONS = 20
"""Reasons for a rejection that are printed, the most frequent ones."""


@dataclasses.dataclass(frozen=True, kw_only=True)
class PrepareOptions:
    """The arguments of the verb."""

    manifest: Path | None
    data: Path | None
    validation_data: Path | None
    workspace: Path
    sheet: Path | None
    exact: bool
    threads: int | None


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the photos, where they go, and the contact sheet."""
    parser.add_argument("manifest", type=Path, nargs="?", help="YAML file with one FineTuneJob")
    parser.add_argument("--data", type=Path, help="photos: a folder or an archive")
    parser.add_argument("--validation-data", type=Path, help="photos to validate")
    add_workspace(parser, "folder of the packed data")
    parser.add_argument("--sheet", type=new_file, metavar="HTML", help="write a contact sheet")
    parser.add_argument(
        "--threads", type=positive, help="photos decoded at a time (default: all CPUs)"
    )
    parser.add_argument(
        "--exact", action="store_true", help="pixels byte for byte as im2rec.py has them; slow"
    )


def run(arguments: argparse.Namespace) -> int:
    """Pack, print a table and write the contact sheet; return the exit code of the contract."""
    options = PrepareOptions(**vars(arguments))
    if options.exact:
        check_opencv()
    packed = _pack(*_spec(options), options)
    directory = Path(packed.directory)
    lock = read_lock(directory)
    _print_table(lock)
    if options.sheet:
        write_sheet(options.sheet, lock, directory)
        print(f"contact sheet: {options.sheet}")
    print(f"packed: {directory}")
    return 0


def _spec(options: PrepareOptions) -> tuple[Model, Dataset, Training]:
    photos = {"data": options.data, "validation_data": options.validation_data}
    if options.manifest:
        spec = read_manifest(options.manifest).spec
        return spec.model, local_dataset(spec.dataset, **photos), spec.training
    if options.data:
        return Model(), local_dataset(Dataset(source=Source(uri="")), **photos), Training()
    raise TrainerError(
        ExitCode.InvalidSpec, "There is nothing to prepare", "Give a manifest, or --data DIR."
    )


def _pack(model: Model, dataset: Dataset, training: Training, options: PrepareOptions) -> Packed:
    workspace = options.workspace.absolute()
    make_folder(workspace, "--workspace")
    columns = (
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.description}", markup=False),
    )
    with Progress(*columns, console=open_console(), transient=True) as bar:
        task = bar.add_task("", total=1.0)

        def show(line: bytes) -> None:
            report = msgspec.json.decode(line)
            fraction, note = report.get("fraction"), report.get("note")
            bar.update(task, completed=fraction, description=note and printable(note))

        with open_run(
            dataset,
            workspace=workspace,
            training=training,
            reporter=Reporter(show),
            threads=options.threads,
        ) as run:
            fetch(run, size=known_size(model))
            prepare(run, exact=options.exact)
            return read_json(run.paths.job / PACKED, Packed)


def _print_table(lock: Lock) -> None:
    console = open_console()
    table = Table(name_column("class"), "train", "validate", "rejected", "copies")
    for row in _rows(lock):
        add_row(table, *row)
    console.print(table)
    _print_reasons(lock, console)


def _print_reasons(lock: Lock, console: Console) -> None:
    """Print why files are not used, each reason with their number: with the images, all files."""
    reasons = Counter((file.fate, file.reason) for file in lock.files if file.fate != "packed")
    for (fate, reason), count in reasons.most_common(_REASONS):
        console.print(f"{fate:>8} {count:>5}: {printable(reason)}", soft_wrap=True)
    if len(reasons) > _REASONS:
        console.print(f"... and {len(reasons) - _REASONS} more reasons: see {LOCK}")


def _rows(lock: Lock) -> Iterator[tuple[str | int, ...]]:
    fates = ("train", "validation", "rejected")
    counts = Counter[tuple[int | None, str]](
        (file.label, file.split or file.fate) for file in lock.files
    )
    copies = Counter(file.label for file in lock.files if file.same_as)
    for label, name in enumerate(lock.classes):
        yield name, *(counts[label, fate] for fate in fates), copies[label]
    totals = Counter[str](file.split or file.fate for file in lock.files)
    yield "all", *(totals[fate] for fate in fates), copies.total()
