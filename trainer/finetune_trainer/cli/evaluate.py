"""`finetune-trainer evaluate`: measures a model on labelled pictures on this machine."""

import argparse
import dataclasses
import sys
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import msgspec
import numpy as np
from rich.table import Table

from finetune_trainer.cli.arguments import add_model, new_file
from finetune_trainer.cli.console import add_row, name_column, open_console, print_aside, print_some
from finetune_trainer.cli.local import local_dataset, open_run
from finetune_trainer.cli.manifest import read_manifest
from finetune_trainer.contract import Csv, Dataset, ExitCode, Source, TrainerError
from finetune_trainer.dataset.layouts.detect import find_in
from finetune_trainer.dataset.layouts.found import LeftOut
from finetune_trainer.dataset.lock import LayoutName, SplitName
from finetune_trainer.dataset.thumbnail import shrink
from finetune_trainer.evaluate.classifier import Classifier, Photo, open_classifier
from finetune_trainer.evaluate.metrics import Answers, Evaluation, measure, total_loss
from finetune_trainer.export.report.markup import percent
from finetune_trainer.export.report.page import Content, render
from finetune_trainer.fetch import fetch
from finetune_trainer.run.cgroup import available_cpus
from finetune_trainer.run.files import read_json, write_atomic
from finetune_trainer.run.handoff import FETCHED, Fetched
from finetune_trainer.run.printable import printable

_LAYOUTS = ("Auto", *get_args(LayoutName))
_SHOWN = 20
"""Names and files that are shown of many."""


@dataclasses.dataclass(frozen=True)
class Labelled:
    """A picture and its class."""

    name: str
    photo: Photo
    class_name: str


@dataclasses.dataclass(frozen=True)
class Listed:
    """The pictures of --data, and the other files there."""

    pictures: list[Labelled]
    left_out: tuple[LeftOut, ...]
    described: str
    """Human-readable description of the layout."""
    warnings: tuple[str, ...]
    hidden: int
    """Number of hidden and system files and folders."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model, the pictures, and how these are laid out."""
    add_model(parser)
    parser.add_argument(
        "--data", type=Path, help="folder or archive in a layout that training takes"
    )
    parser.add_argument(
        "--manifest", type=Path, metavar="YAML", help="FineTuneJob whose dataset has the layout"
    )
    parser.add_argument("--layout", choices=_LAYOUTS, help="as dataset.layout")
    parser.add_argument("--csv-file", metavar="PATH", help="the list within --data")
    parser.add_argument("--path-column", metavar="NAME", help="column of the paths")
    parser.add_argument("--label-column", metavar="NAME", help="column of the classes")
    parser.add_argument("--report", type=new_file, metavar="HTML", help="write a report")


def run(options: argparse.Namespace) -> int:
    """Print the accuracy of a model on photos; return the exit code of the contract."""
    dataset = _dataset(options)
    classifier = open_classifier(options.model, kind=options.format, threads=available_cpus())
    with (
        tempfile.TemporaryDirectory(prefix="finetune-evaluate-") as workspace,
        open_run(dataset, workspace=Path(workspace)) as run,
    ):
        fetch(run)
        fetched = read_json(run.paths.job / FETCHED, Fetched)
        listed = _list(Path(fetched.train), dataset)
        listed = dataclasses.replace(listed, warnings=fetched.warnings + listed.warnings)
        return _evaluate(classifier, listed, options)


def _evaluate(classifier: Classifier, listed: Listed, options: argparse.Namespace) -> int:
    labels = _label_numbers(classifier.labels)
    _check_classes(listed, classifier.labels, labels)
    absent = [each for each in listed.left_out if each.listed]
    _print_left_out(listed.left_out)
    warnings = [f"warning: {warning}" for warning in listed.warnings]
    for warning in warnings:
        print_aside(warning)
    evaluation, good = _measure(classifier, listed.pictures, labels)
    account = _account(listed, unreadable=len(listed.pictures) - len(good))
    if options.json:
        print_aside(account)
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(evaluation)) + b"\n")
    else:
        print(printable(account))
        _print(evaluation)
    if options.report:
        about = "; ".join([account, *warnings])
        worst = {m.record: classifier.read(good[m.record].photo).jpeg for m in evaluation.worst}
        content = Content(
            title=options.model.resolve().name,
            subtitle=f"measured on {options.data or options.manifest}: {about}",
            evaluation=evaluation,
            pictures={record: shrink(jpeg) for record, jpeg in worst.items()},
        )
        write_atomic(options.report, render(content).encode())
    is_whole = len(good) == len(listed.pictures) and not absent
    return ExitCode.Complete if is_whole else ExitCode.InvalidData


def _dataset(options: argparse.Namespace) -> Dataset:
    """Return the photos to measure on, laid out as the options or the manifest say."""
    if options.manifest:
        dataset = read_manifest(options.manifest).spec.dataset
    elif options.data:
        dataset = Dataset(source=Source(uri=""))
    else:
        raise TrainerError(
            ExitCode.InvalidSpec, "There is nothing to measure on", "Give --data, or --manifest."
        )
    # The photos that validate are those to measure on.
    source = dataset.validation_source or dataset.source
    dataset = msgspec.structs.replace(dataset, source=source, validation_source=None)
    dataset = local_dataset(dataset, data=options.data, validation_data=None)
    return _laid_out(dataset, options)


def _laid_out(dataset: Dataset, options: argparse.Namespace) -> Dataset:
    given = {
        "file": options.csv_file,
        "path_column": options.path_column,
        "label_column": options.label_column,
    }
    given = {name: value for name, value in given.items() if value is not None}
    layout = options.layout or ("Csv" if given else dataset.layout)
    if given and layout not in ("Auto", "Csv"):
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"--layout {layout} has no list with columns",
            "Leave out --csv-file, --path-column and --label-column, or give --layout Csv.",
        )
    csv = msgspec.structs.replace(dataset.csv or Csv(), **given) if given else dataset.csv
    csv = None if layout not in ("Auto", "Csv") else csv
    return msgspec.structs.replace(dataset, layout=layout, csv=csv)


def _list(root: Path, dataset: Dataset) -> Listed:
    found = find_in(root, dataset)
    split: SplitName = "validation" if "validation" in found.splits else "train"
    scan = found.splits[split]
    pictures = [
        Labelled(printable(photo.path), (scan.root / photo.file, photo.offset), photo.class_name)
        for photo in scan.photos
    ]
    left_out = tuple(left for each in found.splits.values() for left in each.left_out)
    described = found.described
    if split == "validation":
        described += f"; the {len(found.splits['train'].photos)} training photos are not used"
    if found.passed_over:
        described += f"; not used: {'; '.join(found.passed_over)}"
    return Listed(pictures, left_out, described, found.warnings, found.hidden)


def _label_numbers(classes: Sequence[str]) -> dict[str, int]:
    """Return the numbers of the classes by name, and by name as other systems compose it."""
    exact = {name: number for number, name in enumerate(classes)}
    return {_composed(name): number for name, number in exact.items()} | exact


def _number_of(name: str, labels: dict[str, int]) -> int | None:
    return labels.get(name, labels.get(_composed(name)))


def _composed(name: str) -> str:
    """Return a name with each accent in its letter: macOS writes it after the letter."""
    return unicodedata.normalize("NFC", name)


def _check_classes(listed: Listed, classes: Sequence[str], labels: dict[str, int]) -> None:
    names = sorted({picture.class_name for picture in listed.pictures})
    unknown = [name for name in names if _number_of(name, labels) is None]
    if not names:
        raise TrainerError(
            ExitCode.InvalidData,
            f"--data has no photos: {listed.described}",
            "Give --layout if the photos are laid out in another way; training takes the same.",
        )
    if unknown:
        raise TrainerError(
            ExitCode.InvalidData,
            f"--data has classes that the model does not know: {_some(unknown)}"
            f" ({listed.described})",
            f"The model knows: {_some(classes)}. Rename the classes, name numbers in classes.txt,"
            " or give the layout and the columns that training had.",
        )


def _some(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more


def _print_left_out(left_out: Sequence[LeftOut]) -> None:
    for fate in ("rejected", "ignored"):
        lines = [f"{each.path}: {each.reason}" for each in left_out if each.fate == fate]
        print_some(f"{len(lines)} {fate}:", lines, most=_SHOWN)


def _account(listed: Listed, *, unreadable: int) -> str:
    """Return how many pictures count, and how many files do not."""
    fates = Counter(each.fate for each in listed.left_out)
    used, rejected = len(listed.pictures) - unreadable, fates["rejected"] + unreadable
    return (
        f"{used} photos used, {rejected} rejected, {fates['ignored']} ignored,"
        f" {fates['read']} read as lists; {listed.hidden} hidden ones are not counted;"
        f" {listed.described}"
    )


def _measure(
    classifier: Classifier, pictures: list[Labelled], labels: dict[str, int]
) -> tuple[Evaluation, list[Labelled]]:
    """Return the evaluation, and the pictures that could be read: those it counts."""
    good, answers = [], []
    classified = classifier.classify([picture.photo for picture in pictures])
    for picture, (encoded, row) in zip(pictures, classified, strict=True):
        if encoded.reason:
            print_aside(f"{picture.name}: {encoded.reason}")
            continue
        good.append(picture)
        number = _number_of(picture.class_name, labels)
        answers.append(Answers.of(row[None], np.array([number])))
    if not good:
        raise TrainerError(
            ExitCode.InvalidData,
            "no picture of --data can be read",
            "The reason of each is above.",
        )
    joined = Answers.joined(answers)
    loss = total_loss(joined.right) / len(good)
    names = [picture.name for picture in good]
    evaluation = measure(joined, classes=classifier.labels, paths=names, cross_entropy=loss)
    return evaluation, good


def _print(evaluation: Evaluation) -> None:
    low, high = evaluation.interval
    print(
        f"accuracy       {percent(evaluation.accuracy)} of {evaluation.images} "
        f"(95 % interval {percent(low)} to {percent(high)})"
    )
    print(f"mean per class {percent(evaluation.mean_per_class)}")
    if evaluation.top5 is not None:
        print(f"top 5          {percent(evaluation.top5)}")
    table = Table(name_column("class"), "images", "recall", "precision", "F1", box=None)
    for each in evaluation.classes:
        shares = (percent(share) for share in (each.recall, each.precision, each.f1))
        add_row(table, each.name, each.images, *shares)
    open_console().print(table)
