"""The model that an earlier FineTuneJob wrote, to start from. Imports no MXNet."""

import dataclasses
from pathlib import Path, PurePosixPath
from typing import TypeVar

import msgspec

from finetune_trainer.contract import ExitCode, Source, Struct, TrainerError
from finetune_trainer.dataset.preprocessing import LABELS, PREPROCESSING
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
class EarlierModel:
    """The model that an earlier FineTuneJob wrote, with all files that its manifest lists."""

    name: str
    """The name of the job that wrote it."""
    directory: Path

    @property
    def symbol(self) -> Path:
        """The file with its network."""
        return self.directory / SYMBOL

    @property
    def params(self) -> Path:
        """The file with its weights."""
        return self.directory / PARAMS

    @property
    def classes(self) -> tuple[str, ...]:
        """The names of its classes, in the order of its last layer."""
        return tuple((self.directory / LABELS).read_text().splitlines())


class Resumed(Struct):
    """The model that all attempts of a job start from, even if a newer one is written meanwhile."""

    uri: str


def obtain(source: Source, run: Run) -> EarlierModel:
    """Return the model that the URI names; of a folder of models the one that was the newest at
    the job's first attempt. It is fetched into the workspace once.
    """
    pinned = run.paths.job / RESUMED
    if not pinned.exists():
        run.hand_on(RESUMED, Resumed(uri=_uri_of_newest(source.uri, run)))
    source = msgspec.structs.replace(source, uri=files.read_json(pinned, Resumed).uri)
    place = sources.obtain(source, field=FIELD, secret=SECRET, run=run).path
    directory = _newest(only_folder(place))
    if not (directory / MANIFEST).is_file():
        raise TrainerError(
            ExitCode.InvalidData,
            f"{FIELD}: {source.uri} is no model of a FineTuneJob: it has no {MANIFEST}",
            "Name the folder in status.output.uri of that job, or the one above it for its newest "
            "model. Name a network from elsewhere in model.source.",
        )
    manifest = _read(directory / MANIFEST, ModelManifest)
    for name in (SYMBOL, PARAMS, LABELS, PREPROCESSING):
        _check(directory / name, manifest)
    return EarlierModel(manifest.name, directory)


def only_folder(place: Path) -> Path:
    """Return the inner folder where an archive has all its files in one."""
    while place.is_dir():
        inner = list(visible(place))
        if len(inner) != 1 or not inner[0].is_dir():
            break
        place = inner[0]
    return place


def _uri_of_newest(uri: str, run: Run) -> str:
    """Return the URI of the newest model in a folder of models, else the URI itself."""
    folder = uri.rstrip("/")
    latest = sources.find_file(f"{folder}/{LATEST}", field=FIELD, secret=SECRET, run=run)
    return f"{folder}/{_uid_of_newest(latest)}" if latest else uri


def _newest(folder: Path) -> Path:
    """Return the newest model in a fetched folder of models, else the folder itself."""
    latest = folder / LATEST
    return folder / _uid_of_newest(latest) if latest.is_file() else folder


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
            "A job can start only from a model whose output.formats had mxnet. Its model.onnx can "
            "be named in model.source, and then starts with an untrained last layer.",
        )
    if not manifest.has(path):
        raise _damaged(path, f"it is missing, or its sha256 is not the one in {MANIFEST}")


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
