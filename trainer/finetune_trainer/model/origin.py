"""Where the files of the pretrained network are, fetched if need be. Imports no MXNet."""

import dataclasses
import re
import shutil
from collections.abc import Callable
from pathlib import Path, PurePosixPath
from typing import Any, Literal
from urllib.parse import unquote, urlsplit

from finetune_trainer.contract import ExitCode, Job, Model, ModelSource, Source, TrainerError
from finetune_trainer.dataset.preprocessing import PREPROCESSING
from finetune_trainer.model import catalogue, earlier
from finetune_trainer.model.earlier import Earlier, unwrapped
from finetune_trainer.model.formats import pytorch, safetensors
from finetune_trainer.model.formats.onnx.file import read_graph
from finetune_trainer.model.packages import find_installed
from finetune_trainer.run.context import Run
from finetune_trainer.run.files import sha256_of
from finetune_trainer.run.hidden_files import visible
from finetune_trainer.storage import sources

FIELD = "model.source"
SYMBOLS = ("symbol.json", "-symbol.json")
WEIGHTS = frozenset({".pth", ".pt", ".bin", ".safetensors", ".params", ".onnx"})
PARAMS_MAGIC = (0x112).to_bytes(8, "little")
PICKLE_2 = b"\x80\x02"
ONNX = re.compile(rb"\x08[\x03-\x1f][\x12\x3a\x42]")
"""The version of the format, then who made it, the graph, or the opsets."""

Format = Literal["mxnet", "torch", "safetensors", "onnx"]
READERS = {"torch": pytorch.read_tensors, "safetensors": safetensors.read_tensors}
"""Of the formats that are weights alone."""
CHECKS: dict[str, Callable[[Path], Any]] = {**READERS, "onnx": read_graph}
"""What reads a file without MXNet."""


@dataclasses.dataclass(frozen=True)
class Origin:
    """Files of a pretrained network."""

    name: str
    weights: Path | None
    """None: they are in a Python package, or converted already."""
    format: Format = "torch"
    symbol: Path | None = None
    """Of the format mxnet."""
    earlier: Earlier | None = None
    """It is an earlier job's model."""


def check(job: Job) -> None:
    """Raise InvalidSpec for what the API server refuses and for what only the trainer knows."""
    model = job.model
    resumed = job.training.resume_from
    if [model.name, model.source, resumed].count(None) != 2:
        raise _invalid("set exactly one of model.name, model.source and training.resumeFrom")
    if resumed and model != Model():
        raise _invalid(
            "training.resumeFrom says how its network sees images",
            "Remove model.inputSize, model.normalization and model.replaceAfter.",
        )
    names = {"model.name": model.name}
    if source := model.source:
        names = {f"{FIELD}.architecture": source.architecture}
        if source.format in ("torch", "safetensors") and not source.architecture:
            raise _without_architecture()
    for field, name in names.items():
        if name is not None:
            catalogue.find(name, field=field)
    if size := _known_size(model):
        _check_size(job, size, "a smaller model.inputSize")


def fetch(run: Run) -> None:
    """Obtain the files; weights that cannot be read are refused at once."""
    found = obtain(run)
    if found.earlier:
        size = found.earlier.preprocessing.input_size
        _check_size(run.job, size, "start from another model")
    if found.weights and found.format in CHECKS:
        CHECKS[found.format](found.weights)


def obtain(run: Run) -> Origin:
    """Return where the files are on this machine; they are fetched into the workspace once."""
    model = run.job.model
    if resumed := run.job.training.resume_from:
        found = earlier.obtain(resumed, run)
        return Origin(found.name, found.params, "mxnet", found.symbol, found)
    if model.source:
        return _of_source(model.source, run)
    name = model.name or ""
    entry = catalogue.find(name)
    here = (run.paths.models / name / PREPROCESSING).is_file()
    if entry.download is None or here or (entry.package and find_installed(entry.package)):
        return Origin(name, None)
    return Origin(name, _downloaded(entry.download, run))


def _of_source(source: ModelSource, run: Run) -> Origin:
    found = _pair_by_prefix(source, run) or _place(source, run)
    name = _last_step(source) or urlsplit(source.uri).netloc
    kind = source.format if source.format != "auto" else _format(found)
    if kind == "mxnet":
        symbol, params = _pair(found)
        return Origin(name, params, "mxnet", symbol)
    if kind in READERS and not source.architecture:
        raise _without_architecture()
    return Origin(name, _single_file(found), kind)


def _place(source: Source, run: Run) -> Path:
    """Return the folder or the file."""
    name = _last_step(source) or "weights"

    def put(file: Path, folder: Path) -> None:
        shutil.move(file, folder / name)

    return unwrapped(sources.obtain(source, field=FIELD, secret="MODEL_", run=run, put=put).path)


def _last_step(source: Source) -> str:
    return PurePosixPath(unquote(urlsplit(source.uri).path)).name


def _pair_by_prefix(source: Source, run: Run) -> Path | None:
    """Return the symbol that a path on a volume names without its ending, as MXNet's tools do."""
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
    """Return the released file, of the digest that its name has."""

    def put(file: Path, folder: Path) -> None:
        check_download(file, download)
        shutil.move(file, folder / "weights.pth")

    source = Source(uri=download.uri)
    try:
        folder = sources.obtain(source, field="model.name", secret="MODEL_", run=run, put=put)
    except TrainerError as error:
        hint = f"{error.hint} Without the internet: put the file on a volume and name it in {FIELD}"
        raise TrainerError(error.code, error.message, f"{hint} with its architecture.") from error
    return folder.path / "weights.pth"


def check_download(file: Path, download: catalogue.Download) -> None:
    """Raise InvalidData unless the file has the digest that was published with it."""
    if not (found := sha256_of(file)).startswith(download.sha256_prefix):
        raise TrainerError(
            ExitCode.InvalidData,
            f"{download.uri} has the sha256 {found}, which does not begin with "
            f"{download.sha256_prefix}",
            "The file was changed on the way, or its server answered with something else.",
        )


def _format(found: Path) -> Format:
    if found.is_dir():
        if any(path.name.endswith(SYMBOLS) for path in visible(found)):
            return "mxnet"
        found = _single_file(found)
    with open(found, "rb") as file:
        head = file.read(16)
    if found.name.endswith(SYMBOLS) or head.startswith(PARAMS_MAGIC):
        return "mxnet"
    if head.startswith((b"PK\x03\x04", PICKLE_2)):
        return "torch"
    if head[8:9] == b"{" and head[6:8] == b"\0\0":
        return "safetensors"
    if found.suffix == ".onnx" or ONNX.match(head):
        return "onnx"
    raise TrainerError(
        ExitCode.InvalidData,
        f"{FIELD}: {found.name} is not a model that is known here: it begins with {head!r}",
        "Give a .pth, .safetensors, .onnx, or a folder with NAME-symbol.json and NAME-0000.params; "
        "a browser shows whether the URI gives the file itself or a page about it.",
    )


def _single_file(found: Path) -> Path:
    if found.is_file():
        return found
    files = sorted(path for path in visible(found) if path.suffix in WEIGHTS)
    if not files:
        files = sorted(path for path in visible(found) if path.is_file())
    if len(files) != 1:
        raise _not_one(found, "weights file", files)
    return files[0]


def _pair(found: Path) -> tuple[Path, Path]:
    """Return the symbol and the parameters that belong to it: those of the last epoch, or the ones
    that were named."""
    folder = found if found.is_dir() else found.parent
    symbols = sorted(path for path in visible(folder) if path.name.endswith(SYMBOLS))
    if found.name.endswith(SYMBOLS):
        symbols = [found]
    elif found.is_file():
        prefix = re.sub(r"(-\d{4})?\.params$", "", found.name)
        symbols = [path for path in symbols if path.name == f"{prefix}-symbol.json"] or symbols
    if len(symbols) != 1:
        raise _not_one(folder, "NAME-symbol.json", symbols)
    if found.suffix == ".params":
        return symbols[0], found
    prefix = symbols[0].name.removesuffix("symbol.json")
    params = sorted(folder.glob(f"{prefix or 'model'}*.params"))
    if not params:
        raise _not_one(folder, f"{prefix or 'model'}*.params", params)
    return symbols[0], params[-1]


def _check_size(job: Job, size: int, otherwise: str) -> None:
    short = job.dataset.image.resize_short
    if size > short:
        raise _invalid(
            f"the network takes images of {size} pixels, but dataset.image.resizeShort is {short}",
            f"Set it to {round(size * 256 / 224)}, or {otherwise}.",
        )


def _known_size(model: Model) -> int | None:
    if model.input_size:
        return model.input_size
    name = model.source.architecture if model.source else model.name
    return catalogue.find(name).input_size if name else None


def _not_one(folder: Path, what: str, found: list[Path]) -> TrainerError:
    names = ", ".join(path.name for path in (found or sorted(folder.iterdir()))[:8]) or "nothing"
    return TrainerError(
        ExitCode.InvalidData,
        f"{FIELD}: {len(found) or 'no'} {what} found, one is needed; there is: {names}",
        "Name the file itself, or give a folder or an archive with the one model.",
    )


def _without_architecture() -> TrainerError:
    return _invalid(
        f"{FIELD} has weights alone, which do not say what network they are of",
        f"Set {FIELD}.architecture to one of: {', '.join(catalogue.entries())}.",
    )


def _invalid(message: str, hint: str = "") -> TrainerError:
    return TrainerError(ExitCode.InvalidSpec, message, hint)
