"""`finetune-trainer evaluate`: measures a model on labelled pictures on this machine."""

import argparse
import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Table

from finetune_trainer.cli.arguments import add_model
from finetune_trainer.contract import Dataset, ExitCode, Source, TrainerError
from finetune_trainer.dataset.layouts.detect import find_in
from finetune_trainer.dataset.layouts.found import LeftOut, printable
from finetune_trainer.dataset.thumbnail import shrink
from finetune_trainer.evaluate.classifier import Classifier, Photo, open_classifier
from finetune_trainer.evaluate.metrics import Answers, Evaluation, measure, total_loss
from finetune_trainer.export.report.markup import percent
from finetune_trainer.export.report.page import Content, render
from finetune_trainer.run.cgroup import available_cpus
from finetune_trainer.run.files import write_atomic


@dataclasses.dataclass(frozen=True)
class Labelled:
    """A picture and its class."""

    name: str
    photo: Photo
    class_name: str


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model and the pictures."""
    add_model(parser)
    parser.add_argument(
        "--data", type=Path, required=True, help="folder in a layout that training takes"
    )
    parser.add_argument("--report", type=Path, metavar="HTML", help="write a report")


def run(options: argparse.Namespace) -> int:
    """Print the accuracy of a model on a folder of photos; return the exit code of the contract."""
    classifier = open_classifier(options.model, kind=options.format, threads=available_cpus())
    pictures, absent = _pictures(options.data, classifier.labels)
    for each in absent:
        print(f"{each.path}: {each.reason}", file=sys.stderr)
    evaluation, good = _measure(classifier, pictures)
    if options.json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(evaluation)) + b"\n")
    else:
        _print(evaluation)
    if options.report:
        worst = {m.record: classifier.read(good[m.record].photo).jpeg for m in evaluation.worst}
        content = Content(
            title=options.model.resolve().name,
            subtitle=f"measured on {options.data}",
            evaluation=evaluation,
            pictures={record: shrink(jpeg) for record, jpeg in worst.items()},
        )
        write_atomic(options.report, render(content).encode())
    is_whole = len(good) == len(pictures) and not absent
    return ExitCode.Complete if is_whole else ExitCode.InvalidData


def _pictures(data: Path, classes: Sequence[str]) -> tuple[list[Labelled], list[LeftOut]]:
    """Return the pictures with their classes, and those that are listed but missing."""
    if not data.is_dir():
        raise TrainerError(
            ExitCode.InputNotFound,
            f"--data {data} is not a folder",
            "Give a folder that holds one folder of photos for each class.",
        )
    found = find_in(data, Dataset(source=Source(uri=data.resolve().as_uri())))
    scan = found.splits.get("validation", found.splits["train"])
    pictures = [
        Labelled(printable(photo.path), (scan.root / photo.file, photo.offset), photo.class_name)
        for photo in scan.photos
    ]
    unknown = sorted({picture.class_name for picture in pictures} - set(classes))
    if unknown or not pictures:
        wrong = f"classes that the model does not know: {', '.join(unknown)}"
        raise TrainerError(
            ExitCode.InvalidData,
            f"--data {data} has {wrong if unknown else 'no photos'}",
            f"The model knows: {', '.join(classes)}.",
        )
    return pictures, [each for each in scan.left_out if each.listed]


def _measure(classifier: Classifier, pictures: list[Labelled]) -> tuple[Evaluation, list[Labelled]]:
    """Return the evaluation, and the pictures that could be read: those it counts."""
    numbers = {name: number for number, name in enumerate(classifier.labels)}
    good, answers = [], []
    classified = classifier.classify([picture.photo for picture in pictures])
    for picture, (encoded, row) in zip(pictures, classified, strict=True):
        if encoded.reason:
            print(f"{picture.name}: {encoded.reason}", file=sys.stderr)
            continue
        good.append(picture)
        answers.append(Answers.of(row[None], np.array([numbers[picture.class_name]])))
    if not good:
        raise TrainerError(ExitCode.InvalidData, "no picture of --data can be read")
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
    table = Table("class", "images", "recall", "precision", "F1", box=None)
    for each in evaluation.classes:
        shares = (percent(share) for share in (each.recall, each.precision, each.f1))
        table.add_row(each.name, str(each.images), *shares)
    Console().print(table, markup=False)
