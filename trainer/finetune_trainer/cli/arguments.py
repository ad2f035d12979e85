"""Arguments that several verbs have."""

import argparse
import os
from pathlib import Path


def add_workspace(parser: argparse.ArgumentParser, purpose: str) -> None:
    """Add --workspace, by default in the user's cache."""
    cache = Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache"))
    parser.add_argument(
        "--workspace",
        type=Path,
        default=cache / "finetune-trainer",
        help=f"{purpose} (default: %(default)s)",
    )


def positive(text: str) -> int:
    """Read a whole number from 1."""
    if not (text.isascii() and text.isdigit() and text.strip("0")):
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number from 1")
    return int(text)


def new_file(text: str) -> Path:
    """Read the path of a file that can be written: found out before hours of work, not after."""
    path = Path(text)
    folder = next(each for each in path.absolute().parents if each.exists())
    if path.is_dir():
        raise argparse.ArgumentTypeError(f"{text!r} is a folder; name a file in it")
    if not folder.is_dir() or not os.access(folder, os.W_OK | os.X_OK):
        raise argparse.ArgumentTypeError(f"{str(folder)!r} is no folder that can be written to")
    return path


def add_directory(parser: argparse.ArgumentParser) -> None:
    """Add the folder of a trained model."""
    parser.add_argument("model", type=Path, metavar="MODEL_DIR", help="folder of a trained model")


def add_model(parser: argparse.ArgumentParser) -> None:
    """Add the folder of a trained model, and --format and --json."""
    add_directory(parser)
    parser.add_argument(
        "--format",
        choices=("auto", "mxnet", "onnx"),
        default="auto",
        help="which of the model's files to use (default: ONNX if it is there)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
