"""Where the models of a job go: `output.uri/NAME/`, one module for each kind of URI.

A model is whole or absent: its manifest is the last of its files. Imports no MXNet.
"""

from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.run.context import Run
from finetune_trainer.storage.volume_output import Volume


class Place(Protocol):
    """The folder of a job's name, with a folder for each model of it by the job's uid."""

    model_uri: str
    """Of this job's model."""

    def check(self) -> None:
        """Raise if it cannot be written to; leaves nothing there."""

    def whole_model(self, *, last: str) -> AbstractContextManager[Path]:
        """Give an empty directory; its files are the job's model when the block ends well, the
        one of the name `last` after all others."""

    def write_json(self, name: str, value: object) -> None:
        """Write a file beside the models, whole."""


def find_place(run: Run) -> Place | None:
    """Return the place that `output.uri` names, if there is one."""
    if run.job.output is None:
        return None
    uri = run.job.output.uri.rstrip("/")
    match uri.partition("://")[0]:
        case "pvc" | "file":
            return Volume(uri, run=run)
        case "s3":
            # Imported when it is needed: the S3 client takes a second.
            from finetune_trainer.storage.s3_output import S3

            return S3(uri, run=run)
    raise TrainerError(
        ExitCode.InvalidSpec,
        f"output.uri: {uri!r} cannot be written to",
        "Use pvc://CLAIM/PATH or s3://BUCKET/PREFIX.",
    )
