"""Where the models of a job go: `output.uri/NAME/`.

A model is whole or absent: its manifest is the last of its files.
"""

from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Protocol

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.run.context import Run
from finetune_trainer.storage.volume_output import VolumeOutput


class Place(Protocol):
    """The folder with a job's name; each job of that name has a folder in it, named by its uid."""

    model_uri: str
    """The URI of this job's model."""

    def check(self) -> None:
        """Raise if the place cannot be written to; leave nothing there."""

    def whole_model(self, *, last: str) -> AbstractContextManager[Path]:
        """Give an empty directory; when the block ends well, its files are the job's model.

        The file `last` is written after all others.
        """

    def write_json(self, name: str, value: object) -> None:
        """Write a file beside the models, whole."""


def _s3(uri: str, run: Run) -> Place:
    # Only when used: the S3 client takes a second.
    from finetune_trainer.storage.s3_output import S3Output

    return S3Output(uri, run)


OUTPUTS: dict[str, Callable[[str, Run], Place]] = {
    "pvc": VolumeOutput,
    "file": VolumeOutput,
    "s3": _s3,
}


def check_output(run: Run) -> None:
    """Raise if the output cannot be written to; leave nothing there."""
    if place := find_place(run):
        place.check()


def find_place(run: Run) -> Place | None:
    """Return the place that `output.uri` names; None without an output."""
    if run.job.output is None:
        return None
    uri = run.job.output.uri.rstrip("/")
    scheme = uri.partition("://")[0]
    if scheme not in OUTPUTS:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"output.uri: {uri!r} cannot be written to",
            "Use pvc://CLAIM/PATH or s3://BUCKET/PREFIX.",
        )
    return OUTPUTS[scheme](uri, run)
