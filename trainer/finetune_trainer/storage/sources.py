"""Turns URIs into local folders and files (for the stage `fetch`). Looks into no image."""

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from finetune_trainer.contract import ExitCode, Source, TrainerError
from finetune_trainer.run.context import Run
from finetune_trainer.storage import volume_source, web_source
from finetune_trainer.storage.archive import Obtained, Put


class Scheme(Protocol):
    """A module that reads the URIs of one scheme."""

    def obtain(
        self, source: Source, *, field: str, secret: str, run: Run, put: Put | None
    ) -> Obtained:
        """Return the local folder of a source; see `obtain` below."""

    def find_file(self, uri: str, *, field: str, secret: str, run: Run) -> Path | None:
        """Return one file of a folder; None if it is not there."""


def _s3() -> Scheme:
    from finetune_trainer.storage import s3_source  # only when used: the S3 client takes a second

    return s3_source


SOURCES: dict[str, Callable[[], Scheme]] = {
    "pvc": lambda: volume_source,
    "file": lambda: volume_source,
    "https": lambda: web_source,
    "http": lambda: web_source,
    "s3": _s3,
}


def obtain(
    source: Source, *, field: str, secret: str, run: Run, put: Put | None = None
) -> Obtained:
    """Return the local folder of a source; `secret` is the prefix of its credentials' names.

    With `put` the source may be a single file: a file on a volume is returned as it is, a file that
    was fetched is moved into a folder.
    """
    scheme = source.uri.partition("://")[0]
    if scheme not in SOURCES:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"{field}.uri {source.uri!r} has a scheme that this trainer does not know",
            "Use pvc://CLAIM/PATH, s3://BUCKET/PREFIX, https:// of an archive, or file:// locally.",
        )
    return SOURCES[scheme]().obtain(source, field=field, secret=secret, run=run, put=put)


def find_file(uri: str, *, field: str, secret: str, run: Run) -> Path | None:
    """Return one file of a folder on a volume or in a bucket; None if it is not there."""
    scheme = uri.partition("://")[0]
    if scheme not in SOURCES:
        return None
    return SOURCES[scheme]().find_file(uri, field=field, secret=secret, run=run)
