"""The schemes pvc and file: claims that are mounted in the pod, and paths of a local run."""

import os
from pathlib import Path

from finetune_trainer.contract import ExitCode, Source, TrainerError
from finetune_trainer.run.context import Paths, Run
from finetune_trainer.run.files import sha256_of
from finetune_trainer.storage.archive import Obtained, Put, unpacked


def obtain(source: Source, *, field: str, secret: str, run: Run, put: Put | None) -> Obtained:
    """Return a folder as it is, an archive unpacked; a file that `put` takes as it is."""
    found = _find(source, field=field, paths=run.paths)
    if found.is_dir() or (put and put.takes(found)):
        return Obtained(found)
    return unpacked(found, field=field, run=run)


def find_file(uri: str, *, field: str, secret: str, run: Run) -> Path | None:
    """Return the file that the URI names; None if it is not there."""
    path = run.paths.local(uri, field=f"{field}.uri")
    return path if path.is_file() else None


def _find(source: Source, *, field: str, paths: Paths) -> Path:
    """Return the readable folder or archive that a pvc:// or file:// URI names."""
    path = paths.local(source.uri, field=f"{field}.uri")
    if source.uri.startswith("pvc://"):
        _check_mounted(source.uri, path, field=field, claims=paths.claims)
    if not path.exists():
        raise _not_found(source.uri, path, field)
    needed = os.R_OK | os.X_OK if path.is_dir() else os.R_OK
    if not os.access(path, needed, effective_ids=True):
        raise TrainerError(
            ExitCode.PermissionDenied,
            f"{field}.uri {source.uri}: user {os.geteuid()} may not read {path}",
            "Let the trainer's user read it, or set trainer.securityContext.runAsUser or fsGroup.",
        )
    if source.sha256:
        _check_digest(source, path, field)
    return path


def _check_mounted(uri: str, path: Path, *, field: str, claims: Path) -> None:
    claim = path.relative_to(claims).parts[:1]
    if not claim or not (claims / claim[0]).is_dir():
        raise TrainerError(
            ExitCode.InputNotFound,
            f"{field}.uri {uri}: the volume claim is not mounted in this pod",
            f"Name a claim of the job's namespace, as in pvc://CLAIM/PATH; "
            f"mounted here: {_names(claims)}.",
        )


def _not_found(uri: str, path: Path, field: str) -> TrainerError:
    parent = next(parent for parent in path.parents if parent.is_dir())
    return TrainerError(
        ExitCode.InputNotFound,
        f"{field}.uri {uri} does not exist: there is no {path.relative_to(parent).parts[0]!r}"
        f" in {parent}",
        f"Found there: {_names(parent)}.",
    )


def _names(directory: Path, most: int = 8) -> str:
    names = sorted(os.listdir(directory)) if directory.is_dir() else []
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return (", ".join(names[:most]) + more) or "nothing"


def _check_digest(source: Source, path: Path, field: str) -> None:
    if path.is_dir():
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"{field}.sha256 is set, but {source.uri} is a folder",
            "Name an archive, or remove sha256: the data set's own digest is in the result.",
        )
    check_sha256(path, expected=source.sha256 or "", shown=source.uri, field=field)


def check_sha256(path: Path, *, expected: str, shown: str, field: str) -> None:
    """Raise InvalidData unless the file has the digest that the user gave."""
    if (found := sha256_of(path)) != expected:
        raise TrainerError(
            ExitCode.InvalidData,
            f"{field}: {shown} has the sha256 {found}, not {expected}",
            f"If the file was meant to change, set {field}.sha256 to its new digest.",
        )
