"""Finds the files of the pretrained network, and fetches them if they are not on this machine.

Imports no MXNet.
"""

import dataclasses
import re
import shutil
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, urlsplit

from finetune_trainer.contract import ExitCode, Job, Model, ModelSource, Source, TrainerError
from finetune_trainer.dataset.preprocessing import PREPROCESSING
from finetune_trainer.model import catalogue, earlier
from finetune_trainer.model.earlier import EarlierModel, only_folder
from finetune_trainer.model.formats.foreign import explain, foreign
from finetune_trainer.model.formats.table import (
    FORMATS,
    is_zip_of_weights,
    recognise,
)
from finetune_trainer.run.context import Run
from finetune_trainer.run.hidden_files import visible
from finetune_trainer.storage import sources
from finetune_trainer.storage.archive import Put

FIELD = "model.source"
SYMBOL = "symbol.json"
WEIGHTS = frozenset().union(*(fmt.suffixes for fmt in FORMATS.values()))


@dataclasses.dataclass(frozen=True)
class Origin:
    """The files of a pretrained network."""

    name: str
    weights: Path | None
    """The weights file; None if it is in a Python package, or converted already."""
    format: str = "torch"
    """The format's name in FORMATS."""
    symbol: Path | None = None
    """The symbol that belongs to weights in MXNet's format."""
    earlier: EarlierModel | None = None
    """The earlier job's model that these files are."""


def check(job: Job) -> None:
    """Raise InvalidSpec for a model that the API server refuses or that is not in the catalogue."""
    model = job.model
    resumed = job.training.resume_from
    if [model.name, model.source, resumed].count(None) != 2:
        raise _invalid("set exactly one of model.name, model.source and training.resumeFrom")
    if resumed and model != Model():
        raise _invalid(
            "the network of training.resumeFrom has its own input size and normalization",
            "Remove model.inputSize, model.normalization and model.replaceAfter.",
        )
    names = {"model.name": model.name}
    if source := model.source:
        names = {f"{FIELD}.architecture": source.architecture}
        known = FORMATS.get(source.format)  # None for "auto"
        if known and known.needs_architecture and not source.architecture:
            raise _without_architecture()
    for field, name in names.items():
        if name is not None:
            catalogue.find(name, field=field)


def obtain(run: Run) -> Origin:
    """Return the files on this machine; they are fetched into the workspace once."""
    model = run.job.model
    if resumed := run.job.training.resume_from:
        before = earlier.obtain(resumed, run)
        return Origin(before.name, before.params, "mxnet", before.symbol, before)
    if model.source:
        return _of_source(model.source, run)
    name = model.name or ""
    entry = catalogue.find(name)
    bundled = (run.paths.models / name / PREPROCESSING).is_file()
    if entry.download is None or bundled or _is_installed(entry):
        return Origin(name, None)
    return Origin(name, _downloaded(entry.download, run))


def _is_installed(entry: catalogue.Entry) -> bool:
    return entry.package is not None and catalogue.find_installed(entry.package) is not None


def _of_source(source: ModelSource, run: Run) -> Origin:
    place = _symbol_of_prefix(source, run) or _place(source, run)
    name = _last_step(source) or urlsplit(source.uri).netloc
    kind = source.format if source.format != "auto" else _format(place)
    if kind == "mxnet":
        symbol, params = _pair(place)
        return Origin(name, params, kind, symbol)
    if FORMATS[kind].needs_architecture and not source.architecture:
        raise _without_architecture()
    return Origin(name, _single_file(place), kind)


def _place(source: Source, run: Run) -> Path:
    """Return the folder or the file that the URI names."""
    name = _last_step(source) or "weights"

    def move(file: Path, folder: Path) -> None:
        shutil.move(file, folder / name)

    put = Put(move, lambda file: is_zip_of_weights(file) or foreign(file) is not None)
    place = sources.obtain(source, field=FIELD, secret="MODEL_", run=run, put=put).path
    return only_folder(place)


def _last_step(source: Source) -> str:
    return PurePosixPath(unquote(urlsplit(source.uri).path)).name


def _symbol_of_prefix(source: Source, run: Run) -> Path | None:
    """Return the symbol on a volume that the URI names without its ending, as MXNet's tools do."""
    if not source.uri.startswith(("pvc://", "file://")):
        return None
    path = run.paths.local(source.uri, field=f"{FIELD}.uri")
    symbol = path.with_name(f"{path.name}-symbol.json")
    if not symbol.is_file():
        return None
    if source.sha256:
        raise _invalid(
            f"{FIELD}.sha256 is of one file, but {FIELD}.uri names two: {path.name}-symbol.json "
            "and its params",
            f"Remove {FIELD}.sha256, or name an archive of both.",
        )
    return symbol


def _downloaded(download: catalogue.Download, run: Run) -> Path:
    """Return the released file, its digest checked."""

    def move(file: Path, folder: Path) -> None:
        catalogue.check_download(file, download)
        shutil.move(file, folder / "weights.pth")

    put = Put(move, is_zip_of_weights)
    source = Source(uri=download.uri)
    try:
        folder = sources.obtain(source, field="model.name", secret="MODEL_", run=run, put=put)
    except TrainerError as error:
        hint = f"Else put the file on a volume and name it in {FIELD} with its architecture."
        if error.code not in (ExitCode.InputNotFound, ExitCode.PermissionDenied):
            hint = f"{error.hint} {hint}"
        raise TrainerError(error.code, error.message, hint) from error
    return folder.path / "weights.pth"


def _format(place: Path) -> str:
    """Return the name of the format, by the files of a folder or the content of a file."""
    if place.is_dir() and any(path.name.endswith(SYMBOL) for path in visible(place)):
        return "mxnet"
    file = _single_file(place)
    if not foreign(file) and (kind := recognise(file)):
        return kind
    raise explain(file, field=FIELD)


def _single_file(place: Path) -> Path:
    """Return the file, or the one weights file of the folder, or the one file of any kind."""
    if place.is_file():
        return place
    files = sorted(path for path in visible(place) if path.suffix in WEIGHTS)
    if not files:
        files = sorted(path for path in visible(place) if path.is_file())
    if len(files) != 1:
        raise _not_one(place, "weights file", files)
    return files[0]


def _pair(place: Path) -> tuple[Path, Path]:
    """Return a symbol and the parameters that belong to it: those named, else the last epoch's."""
    folder = place if place.is_dir() else place.parent
    symbols = sorted(path for path in visible(folder) if path.name.endswith(SYMBOL))
    if place.name.endswith(SYMBOL):
        symbols = [place]
    elif place.is_file():
        prefix = re.sub(r"(-\d{4})?\.params$", "", place.name)
        symbols = [path for path in symbols if path.name == f"{prefix}-symbol.json"] or symbols
    if len(symbols) != 1:
        raise _not_one(folder, "NAME-symbol.json", symbols)
    if place.suffix == ".params":
        return symbols[0], place
    prefix = symbols[0].name.removesuffix(SYMBOL)
    params = sorted(folder.glob(f"{prefix or 'model'}*.params"))
    if not params:
        raise _not_one(folder, f"{prefix or 'model'}*.params", params)
    return symbols[0], params[-1]


def _not_one(folder: Path, what: str, files: list[Path]) -> TrainerError:
    names = ", ".join(path.name for path in (files or sorted(folder.iterdir()))[:8]) or "nothing"
    return TrainerError(
        ExitCode.InvalidData,
        f"{FIELD}: {len(files) or 'no'} {what} found, one is needed; there is: {names}",
        "Name the file itself, or give a folder or an archive with the one model.",
    )


def _without_architecture() -> TrainerError:
    return _invalid(
        f"{FIELD} has weights alone, without the network that they belong to",
        f"Set {FIELD}.architecture to one of: {', '.join(catalogue.entries())}.",
    )


def _invalid(message: str, hint: str = "") -> TrainerError:
    return TrainerError(ExitCode.InvalidSpec, message, hint)
