"""The model that an earlier FineTuneJob wrote, as a network to go on from. Imports no MXNet."""

import dataclasses
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec

from finetune_trainer.contract import ExitCode, Source, Struct, TrainerError
from finetune_trainer.dataset.preprocessing import LABELS, PREPROCESSING, Preprocessing
from finetune_trainer.model.exported import LATEST, MANIFEST, NAMES, Latest, ModelManifest
from finetune_trainer.run import files
from finetune_trainer.run.context import Run
from finetune_trainer.run.hidden_files import visible
from finetune_trainer.storage import sources

T = TypeVar("T")
FIELD, SECRET = "training.resumeFrom", "RESUME_"
RESUMED = "resumed.json"
SYMBOL, PARAMS = NAMES["symbol.json"], NAMES["model.params"]


@dataclasses.dataclass(frozen=True)
class Earlier:
    """A whole model, of the digests that its manifest has."""

    name: str
    """Of the job that wrote it."""
    directory: Path

    @property
    def symbol(self) -> Path:
        """Return the file of its network."""
        return self.directory / SYMBOL

    @property
    def params(self) -> Path:
        """Return the file of its weights."""
        return self.directory / PARAMS

    @property
    def preprocessing(self) -> Preprocessing:
        """Return how it sees images."""
        return files.read_json(self.directory / PREPROCESSING, Preprocessing)

    @property
    def classes(self) -> tuple[str, ...]:
        """Return the names of its classes, in the order of its last layer."""
        return tuple((self.directory / LABELS).read_text().splitlines())


class Resumed(Struct):
    """What all attempts of a job go on from, whatever becomes the newest meanwhile."""

    uri: str


def obtain(source: Source, run: Run) -> Earlier:
    """Return the model that the URI names, or the newest in that folder when this was first asked
    for the job; it is fetched into the workspace once.
    """
    pinned = run.paths.job / RESUMED
    if not pinned.exists():
        run.hand_on(RESUMED, Resumed(uri=_uri_of_newest(source.uri, run)))
    source = msgspec.structs.replace(source, uri=files.read_json(pinned, Resumed).uri)
    found = sources.obtain(source, field=FIELD, secret=SECRET, run=run).path
    directory = _newest(unwrapped(found))
    if not (directory / MANIFEST).is_file():
        raise TrainerError(
            ExitCode.InvalidData,
            f"{FIELD}: {source.uri} is no model of a FineTuneJob: it has no {MANIFEST}",
            "Name the folder that status.output.uri of that job says, or the one above it for "
            "its newest model. A network of another origin belongs into model.source.",
        )
    manifest = _read(directory / MANIFEST, ModelManifest)
    for name in (SYMBOL, PARAMS, LABELS, PREPROCESSING):
        _check(directory / name, manifest)
    return Earlier(manifest.name, directory)


def unwrapped(found: Path) -> Path:
    """Step into the one folder that an archive has everything in."""
    while found.is_dir():
        inner = list(visible(found))
        if len(inner) != 1 or not inner[0].is_dir():
            break
        found = inner[0]
    return found


def _uri_of_newest(uri: str, run: Run) -> str:
    """Step from the folder of a job's name to its newest model, before anything is fetched."""
    folder = uri.rstrip("/")
    latest = sources.find_file(f"{folder}/{LATEST}", field=FIELD, secret=SECRET, run=run)
    return f"{folder}/{_uid_of_newest(latest)}" if latest else uri


def _newest(found: Path) -> Path:
    """Do the same in an archive."""
    latest = found / LATEST
    return found / _uid_of_newest(latest) if latest.is_file() else found


def _uid_of_newest(latest: Path) -> str:
    uid = _read(latest, Latest).uid
    if PurePosixPath(uid).parts != (uid,) or uid == "..":
        raise _damaged(latest, f"{uid!r} is no uid")
    return uid


def _check(path: Path, manifest: ModelManifest) -> None:
    if path.name not in manifest.files:
        raise TrainerError(
            ExitCode.InvalidData,
            f"{FIELD}: the model of {manifest.name} was written without {path.name}",
            "Only a model whose output.formats had mxnet can be gone on from; its model.onnx can "
            "be named in model.source, and then starts with an untrained last layer.",
        )
    if not manifest.has(path):
        raise _damaged(path, f"it is not the file that {MANIFEST} has the sha256 of")


def _read(path: Path, kind: type[T]) -> T:
    try:
        return files.read_json(path, kind)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise _damaged(path, str(error)) from error


def _damaged(path: Path, reason: str) -> TrainerError:
    return TrainerError(
        ExitCode.InvalidData,
        f"{FIELD}: {path.name} is damaged: {reason}",
        "Copy the whole folder of the model again.",
    )
