"""`finetune-trainer report`: what a model's folder says of it, for a terminal."""

from pathlib import Path

import msgspec
from rich.console import Console
from rich.markdown import Markdown

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.export.artifacts import CARD, REPORT
from finetune_trainer.model.exported import MANIFEST, ModelManifest
from finetune_trainer.run.files import read_json


def show(model: Path) -> int:
    """Print the model card, once all files are those that the job has written; return the exit
    code of the contract.
    """
    if not (model / MANIFEST).is_file():
        raise TrainerError(
            ExitCode.InputNotFound,
            f"{model} is no model of a FineTuneJob: it has no {MANIFEST}",
            "Name the folder that status.output.uri of the job says.",
        )
    try:
        manifest = read_json(model / MANIFEST, ModelManifest)
        damaged = [name for name in manifest.files if not manifest.has(model / name)]
    except (msgspec.DecodeError, UnicodeDecodeError):
        damaged = [MANIFEST]
    if damaged:
        raise TrainerError(
            ExitCode.InvalidData,
            f"not as the job has written them: {', '.join(damaged)}",
            "Copy the whole folder of the model again.",
        )
    console = Console()
    console.print(Markdown((model / CARD).read_text()))
    console.print(
        f"\n{len(manifest.files)} files, all as the job has written them. With pictures:"
        f" {model / REPORT}",
        markup=False,
        highlight=False,
        soft_wrap=True,
    )
    return ExitCode.Complete
