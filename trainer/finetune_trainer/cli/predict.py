"""`finetune-trainer predict`: names the class of pictures on this machine."""

import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from rich.console import Console
from rich.table import Column, Table

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.layouts.found import is_picture, printable
from finetune_trainer.evaluate.classifier import Classifier, Format, open_classifier
from finetune_trainer.export.report.markup import percent
from finetune_trainer.run.cgroup import available_cpus
from finetune_trainer.run.hidden_files import is_skipped


class Guess(msgspec.Struct):
    """A class that a picture may show."""

    label: str
    probability: float


class Named(msgspec.Struct, omit_defaults=True):
    """What was found in one picture."""

    image: str
    guesses: list[Guess] = []
    error: str = ""


def predict(
    model: Path, images: list[Path], *, kind: Format = "auto", top: int, as_json: bool
) -> int:
    """Print the classes of pictures; return the exit code of the contract."""
    paths = [path for image in images for path in _pictures(image)]
    classifier = open_classifier(model, kind=kind, threads=available_cpus())
    named = list(_named(classifier, paths, top))
    if as_json:
        sys.stdout.buffer.write(msgspec.json.format(msgspec.json.encode(named)) + b"\n")
    else:
        _print(named)
    bad = [each for each in named if each.error]
    for each in bad:
        print(f"{each.image}: {each.error}", file=sys.stderr)
    return ExitCode.InvalidData if bad else ExitCode.Complete


def _pictures(path: Path) -> list[Path]:
    if not path.exists():
        raise TrainerError(ExitCode.InputNotFound, f"{path} does not exist", "Name pictures.")
    if not path.is_dir():
        return [path]
    if found := sorted(each for each in path.rglob("*") if _is_photo(each, path)):
        return found
    raise TrainerError(
        ExitCode.InputNotFound, f"{path} holds no picture", "Name pictures, or a folder of them."
    )


def _is_photo(path: Path, root: Path) -> bool:
    if any(map(is_skipped, path.relative_to(root).parts)):
        return False
    return is_picture(path.name) and path.is_file()


def _named(classifier: Classifier, paths: list[Path], top: int) -> Iterator[Named]:
    classified = classifier.classify([(path, None) for path in paths])
    for path, (picture, row) in zip(paths, classified, strict=True):
        best = np.argsort(-row, kind="stable")[:top]
        guesses = [Guess(classifier.labels[n], round(float(row[n]), 6)) for n in best]
        yield Named(printable(str(path)), guesses, picture.reason)


def _print(named: list[Named]) -> None:
    table = Table(Column("picture", overflow="fold"), "class", "probability", box=None)
    for each in named:
        for number, guess in enumerate(each.guesses):
            name = "" if number else each.image
            table.add_row(name, guess.label, percent(guess.probability))
    Console().print(table, markup=False)
