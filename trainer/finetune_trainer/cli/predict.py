"""`finetune-trainer predict`: classifies pictures on this machine."""

import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Column, Table

from finetune_trainer.cli.arguments import add_model
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.layouts.found import is_picture, printable
from finetune_trainer.evaluate.classifier import Classifier, open_classifier
from finetune_trainer.export.report.markup import percent
from finetune_trainer.run.cgroup import available_cpus
from finetune_trainer.run.hidden_files import is_skipped


class Guess(msgspec.Struct):
    """A class that a picture may show."""

    label: str
    probability: float


class Prediction(msgspec.Struct, omit_defaults=True):
    """The classes of one picture, the most probable first, or the reason why there are none."""

    image: str
    guesses: list[Guess] = []
    error: str = ""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model and the pictures."""
    add_model(parser)
    parser.add_argument("images", type=Path, nargs="+", help="pictures, or folders of them")
    parser.add_argument("--top", type=int, default=1, metavar="K", help="print K classes of each")


def run(options: argparse.Namespace) -> int:
    """Print the classes of pictures; return the exit code of the contract."""
    paths = [path for image in options.images for path in _pictures(image)]
    classifier = open_classifier(options.model, kind=options.format, threads=available_cpus())
    predictions = list(_predict(classifier, paths, options.top))
    if options.json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(predictions)) + b"\n")
    else:
        _print(predictions)
    bad = [each for each in predictions if each.error]
    for each in bad:
        print(f"{each.image}: {each.error}", file=sys.stderr)
    return ExitCode.InvalidData if bad else ExitCode.Complete


def _pictures(path: Path) -> list[Path]:
    if not path.exists():
        raise TrainerError(ExitCode.InputNotFound, f"{path} does not exist", "Give pictures.")
    if not path.is_dir():
        return [path]
    if found := sorted(each for each in path.rglob("*") if _is_photo(each, path)):
        return found
    raise TrainerError(
        ExitCode.InputNotFound, f"{path} holds no picture", "Give pictures, or a folder of them."
    )


def _is_photo(path: Path, root: Path) -> bool:
    if any(map(is_skipped, path.relative_to(root).parts)):
        return False
    return is_picture(path.name) and path.is_file()


def _predict(classifier: Classifier, paths: list[Path], top: int) -> Iterator[Prediction]:
    classified = classifier.classify([(path, None) for path in paths])
    for path, (picture, row) in zip(paths, classified, strict=True):
        best = np.argsort(-row, kind="stable")[:top]
        guesses = [Guess(classifier.labels[n], round(float(row[n]), 6)) for n in best]
        yield Prediction(printable(str(path)), guesses, picture.reason)


def _print(predictions: list[Prediction]) -> None:
    table = Table(Column("picture", overflow="fold"), "class", "probability", box=None)
    for each in predictions:
        for number, guess in enumerate(each.guesses):
            name = "" if number else each.image
            table.add_row(name, guess.label, percent(guess.probability))
    Console().print(table, markup=False)
