"""`finetune-trainer predict`: classifies pictures on this machine."""

import argparse
import os
import sys
from collections.abc import Iterator
from pathlib import Path

import msgspec
import numpy as np
from rich.table import Table

from finetune_trainer.cli.arguments import add_model, positive
from finetune_trainer.cli.console import add_row, name_column, open_console, print_aside
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.file_types import kind_of
from finetune_trainer.dataset.layouts.found import escaped
from finetune_trainer.evaluate.classifier import Classifier, open_classifier
from finetune_trainer.export.report.markup import percent
from finetune_trainer.run.cgroup import available_cpus
from finetune_trainer.run.hidden_files import is_skipped

_NAMED = 5
"""Files that are named of each kind that is passed over."""


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
    parser.add_argument(
        "--top", type=positive, default=1, metavar="K", help="print K classes of each"
    )


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
        print_aside(f"{each.image}: {each.error}")
    return ExitCode.InvalidData if bad else ExitCode.Complete


def _pictures(path: Path) -> list[Path]:
    if not path.exists():
        raise TrainerError(ExitCode.InputNotFound, f"{path} does not exist", "Give pictures.")
    if not path.is_dir():
        return [path]
    found, passed_over = _list(path)
    summary = _summary(passed_over)
    if not found:
        raise TrainerError(
            ExitCode.InputNotFound,
            f"{path} holds no picture: {summary or 'it is empty'}",
            "Give pictures, or a folder of them. A file that is named itself is read whatever its"
            " name is.",
        )
    if passed_over:
        print_aside(f"{path}: {len(found)} pictures; passed over: {summary}")
    return found


def _list(root: Path) -> tuple[list[Path], dict[str, list[str]]]:
    """Return the pictures in a folder and below, and the other files by the reason."""
    found: list[Path] = []
    passed_over: dict[str, list[str]] = {}

    def unreadable(error: OSError) -> None:
        passed_over.setdefault(f"folders: {error.strerror}", []).append(str(error.filename))

    for folder, folders, names in os.walk(root, onerror=unreadable):
        folders.sort()
        links = [name for name in folders if Path(folder, name).is_symlink()]
        for path in sorted(Path(folder, name) for name in [*names, *links]):
            if reason := _reason(path, root):
                passed_over.setdefault(reason, []).append(str(path.relative_to(root)))
            else:
                found.append(path)
    return sorted(found), passed_over


def _reason(path: Path, root: Path) -> str:
    """Return why a file of a folder is passed over; nothing for a picture."""
    if any(map(is_skipped, path.relative_to(root).parts)):
        return "hidden or of the system"
    if path.is_dir():
        return "links to folders"
    if not path.is_file():
        return "neither a file nor a link to one"
    kind = kind_of(str(path), path.name)
    return "" if kind == "photo" else kind.reason if kind else "no picture"


def _summary(passed_over: dict[str, list[str]]) -> str:
    """Return the reasons, each with a count and the first names."""
    return "; ".join(
        f"{len(names)} {reason} ({', '.join(names[:_NAMED])}{', ...' * (len(names) > _NAMED)})"
        for reason, names in sorted(passed_over.items())
    )


def _predict(classifier: Classifier, paths: list[Path], top: int) -> Iterator[Prediction]:
    classified = classifier.classify([(path, None) for path in paths])
    for path, (picture, row) in zip(paths, classified, strict=True):
        best = np.argsort(-row, kind="stable")[:top]
        guesses = [Guess(classifier.labels[n], round(float(row[n]), 6)) for n in best]
        yield Prediction(escaped(str(path)), guesses, picture.reason)


def _print(predictions: list[Prediction]) -> None:
    table = Table(name_column("picture"), name_column("class"), "probability", box=None)
    for each in predictions:
        for number, guess in enumerate(each.guesses):
            name = "" if number else each.image
            add_row(table, name, guess.label, percent(guess.probability))
    open_console().print(table)
