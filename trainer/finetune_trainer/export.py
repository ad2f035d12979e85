"""Writes the model to the job's output, whole or not at all (the stage `export`).

`URI/NAME/UID/` is this job's alone; `URI/NAME/latest.json` names the newest. Imports no MXNet.
"""

import errno
import hashlib
import shutil
import tempfile
from pathlib import Path

from finetune_trainer import files
from finetune_trainer.contract import ExitCode, OutputStatus, Struct, TrainerError
from finetune_trainer.handoff import EVALUATED, EXPORTED, FITTED, Evaluated, Exported, Fitted
from finetune_trainer.stage import Run

NAMES = {
    # As mx.mod.Module.load("model", 0) wants them.
    "symbol.json": "model-symbol.json",
    "model.params": "model-0000.params",
    "labels.txt": "labels.txt",
    "preprocessing.json": "preprocessing.json",
}
METRICS = "metrics.json"
MANIFEST = "manifest.json"
LATEST = "latest.json"


class Manifest(Struct):
    """The files of one exported model, by name with their sha256."""

    name: str
    namespace: str
    uid: str
    digest: str
    """sha256 of the lines `SHA256  NAME` of all files, as sha256sum prints them."""
    files: dict[str, str]


class Latest(Struct):
    """Which exported model is the newest, in the directory beside it."""

    uid: str
    digest: str
    accuracy: float


def export(run: Run) -> None:
    """Copy the fitted model, with its metrics and digests, to the output."""
    if run.job.output is None:
        run.hand_on(EXPORTED, Exported())
        return
    uri = f"{run.job.output.uri.rstrip('/')}/{run.job.name}/{run.job.uid}"
    parent = _directory(run.job.output.uri, run) / run.job.name
    fitted = files.read_json(run.paths.job / FITTED, Fitted)
    evaluated = files.read_json(run.paths.job / EVALUATED, Evaluated)
    try:
        manifest = _write(run, Path(fitted.directory), evaluated, parent=parent)
    except OSError as error:
        raise _not_written(uri, error) from error
    status = OutputStatus(uri=uri, digest=manifest.digest)
    run.hand_on(EXPORTED, Exported(status=status))


def check_output(run: Run) -> None:
    """Raise if the output cannot be written to; leaves nothing there."""
    if run.job.output is None:
        return
    directory = _directory(run.job.output.uri, run)
    there = next(path for path in (directory, *directory.parents) if path.exists())
    try:
        tempfile.TemporaryFile(dir=there).close()
    except OSError as error:
        raise _not_written(run.job.output.uri, error) from error


def _write(run: Run, best: Path, evaluated: Evaluated, *, parent: Path) -> Manifest:
    metrics = {metric.name: float(metric.value) for metric in evaluated.metrics}
    metrics["accuracy"] = float(evaluated.accuracy)

    files.clear_leftovers(parent, run.job.uid)
    with files.whole_directory(parent / run.job.uid, check=run.check_owner) as staged:
        for source, name in NAMES.items():
            shutil.copyfile(best / source, staged / name)
        files.write_json(staged / METRICS, metrics)
        manifest = _manifest(run, staged)
        files.write_json(staged / MANIFEST, manifest)
    latest = Latest(uid=run.job.uid, digest=manifest.digest, accuracy=metrics["accuracy"])
    run.check_owner()
    files.write_json(parent / LATEST, latest)
    return manifest


def _manifest(run: Run, directory: Path) -> Manifest:
    digests = {path.name: files.sha256_of(path) for path in sorted(directory.iterdir())}
    lines = "".join(f"{digest}  {name}\n" for name, digest in digests.items())
    return Manifest(
        name=run.job.name,
        namespace=run.job.namespace,
        uid=run.job.uid,
        digest=hashlib.sha256(lines.encode()).hexdigest(),
        files=digests,
    )


def _directory(uri: str, run: Run) -> Path:
    if not uri.startswith(("pvc://", "file://")):
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"output.uri: {uri!r} cannot be written to",
            "Use pvc://CLAIM/PATH.",
        )
    return run.paths.local(uri, field="output.uri")


_HINTS = {
    errno.EACCES: "The volume must be writable for the trainer's user: see fsGroup.",
    errno.EPERM: "The volume must be writable for the trainer's user: see fsGroup.",
    errno.EROFS: "The volume is mounted read-only: use another claim for output.uri.",
    errno.ENOSPC: "The volume is full: make room, or use a larger claim.",
    errno.EDQUOT: "The volume's quota is used up: make room, or use a larger claim.",
    errno.ENOTDIR: "A file is in the way: use another path.",
}


def _not_written(uri: str, error: OSError) -> TrainerError:
    # What is full today may have room at the next attempt; what is closed stays closed.
    passing = error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO)
    return TrainerError(
        ExitCode.InputOutputError if passing else ExitCode.OutputNotWritable,
        f"output.uri: the model could not be written to {uri}: {error.strerror or error}",
        _HINTS.get(error.errno or 0, "The model is kept in the workspace."),
    )
