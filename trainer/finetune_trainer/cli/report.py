"""`finetune-trainer report`: prints the model card, for a terminal."""

import argparse
from pathlib import Path

import msgspec
from rich.markdown import Markdown

from finetune_trainer.cli.arguments import add_directory
from finetune_trainer.cli.console import open_console
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.export.artifacts import CARD, REPORT
from finetune_trainer.model.exported import MANIFEST, ModelManifest
from finetune_trainer.run.files import read_json
from finetune_trainer.run.printable import printable


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the model."""
    add_directory(parser)


def run(options: argparse.Namespace) -> int:
    """Check that all files are as the job has written them, then print the model card; return the
    exit code of the contract.
    """
    model: Path = options.model
    if not (model / MANIFEST).is_file():
        raise TrainerError(
            ExitCode.InputNotFound,
            f"{model} is not the model of a FineTuneJob: it has no {MANIFEST}",
            "Give the folder that status.output.uri of the job names.",
        )
    try:
        manifest = read_json(model / MANIFEST, ModelManifest)
        damaged = [name for name in manifest.files if not manifest.has(model / name)]
    except (msgspec.DecodeError, UnicodeDecodeError):
        damaged = [MANIFEST]
    if damaged:
        raise TrainerError(
            ExitCode.InvalidData,
            f"missing or changed since the job has written them: {', '.join(damaged)}",
            "Copy the whole folder of the model again.",
        )
    console = open_console()
    console.print(Markdown((model / CARD).read_text(encoding="utf-8"), hyperlinks=False))
    path = printable(str(model / REPORT))
    console.print(
        f"\n{len(manifest.files)} files, all as the job has written them. Report with pictures:"
        f" {path}",
        soft_wrap=True,
    )
    return ExitCode.Complete
