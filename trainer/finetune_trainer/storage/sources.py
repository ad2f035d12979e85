"""Turns URIs into local folders (for the stage `fetch`).

Nothing here looks into an image: that is `dataset`. Room is left for more schemes: each one is a
function in a module of its own.
"""

from pathlib import Path

from finetune_trainer.contract import ExitCode, Source, TrainerError
from finetune_trainer.run.context import Run
from finetune_trainer.storage.archive import Obtained, Put, is_archive, unpacked
from finetune_trainer.storage.volume_source import find_local
from finetune_trainer.storage.web_source import fetch_remote


def obtain(
    source: Source, *, field: str, secret: str, run: Run, put: Put | None = None
) -> Obtained:
    """Return the local folder of a source; `secret` is the prefix of its credentials' names.

    With `put` a file need not be an archive: one that is on a volume is returned as it is, one
    that was fetched is put into a folder.
    """
    match source.uri.partition("://")[0]:
        case "pvc" | "file":
            found = find_local(source, field=field, paths=run.paths)
            if found.is_dir() or (put and not is_archive(found)):
                return Obtained(found)
            return unpacked(found, field=field, run=run)
        case "https" | "http":
            return fetch_remote(source, field=field, secret=secret, run=run, put=put)
        case "s3":
            # Imported when it is needed: the S3 client takes a second.
            from finetune_trainer.storage.s3_source import fetch_s3

            return fetch_s3(source, field=field, secret=secret, run=run, put=put)
    raise TrainerError(
        ExitCode.InvalidSpec,
        f"{field}.uri {source.uri!r} has a scheme that this trainer does not know",
        "Use pvc://CLAIM/PATH, s3://BUCKET/PREFIX, https:// of an archive, or file:// locally.",
    )


def find_file(uri: str, *, field: str, secret: str, run: Run) -> Path | None:
    """Return one file of a folder on a volume or in a bucket; None if it is not there."""
    match uri.partition("://")[0]:
        case "pvc" | "file":
            path = run.paths.local(uri, field=f"{field}.uri")
            return path if path.is_file() else None
        case "s3":
            from finetune_trainer.storage.s3_source import fetch_object

            return fetch_object(uri, field=field, secret=secret, run=run)
    return None
