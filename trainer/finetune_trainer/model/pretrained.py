"""Loads the pretrained network that a job names, from the catalogue or from the user's files."""

import dataclasses
import os
from pathlib import Path

from finetune_trainer.contract import ExitCode, Model, TrainerError
from finetune_trainer.dataset.preprocessing import PREPROCESSING, Preprocessing
from finetune_trainer.dataset.stored_size import INPUT_SIZE
from finetune_trainer.model import catalogue
from finetune_trainer.model.architectures.assemble import assemble
from finetune_trainer.model.convert import convert
from finetune_trainer.model.formats.onnx.file import read_graph
from finetune_trainer.model.formats.onnx.translate import to_network
from finetune_trainer.model.formats.table import FORMATS
from finetune_trainer.model.input_size import find_size, given_with
from finetune_trainer.model.network import Network, load, load_pair, load_preprocessing
from finetune_trainer.model.origin import FIELD, Origin
from finetune_trainer.model.rewrites.single import in_float32
from finetune_trainer.model.values import check_values
from finetune_trainer.run import files


@dataclasses.dataclass(frozen=True)
class Pretrained:
    """A network as it was trained before, and the preprocessing that it expects."""

    network: Network
    preprocessing: Preprocessing
    sha256: str
    """The digest of its weights file."""


def load_pretrained(model: Model, origin: Origin, *, bundled: Path) -> Pretrained:
    """Load the network; raises InvalidData for files that are damaged or do not fit together."""
    if model.name and origin.weights is None:
        return _of_package(model, bundled)
    assert origin.weights
    digest = files.sha256_of(origin.weights)
    if origin.symbol:
        network = in_float32(load_pair(origin.symbol, origin.weights))
        check_values({n: v.asnumpy() for n, v in (network.args | network.aux).items()})
        size = find_size(model, origin)
        return Pretrained(network, _adapted(model, given_with(origin.symbol), size=size), digest)
    if origin.format == "onnx":
        return Pretrained(*_of_onnx(model, origin.weights), digest)
    entry = catalogue.find(model.name or (model.source and model.source.architecture) or "")
    given = Preprocessing(input_size=entry.input_size, mean=entry.mean, std=entry.std)
    preprocessing = _adapted(model, given, size=entry.input_size)
    tensors = FORMATS[origin.format].read(origin.weights)
    network = assemble(entry.architecture, tensors, size=preprocessing.input_size)
    return Pretrained(network, preprocessing, digest)


def _of_onnx(model: Model, path: Path) -> tuple[Network, Preprocessing]:
    graph, given = read_graph(path), given_with(path)
    check_values(graph.layers, variances=graph.variances)
    size = given.input_size if given else graph.size or INPUT_SIZE
    preprocessing = _adapted(model, given, size=size)
    return to_network(graph, size=preprocessing.input_size), preprocessing


def _of_package(model: Model, bundled: Path) -> Pretrained:
    name = model.name or ""
    entry, directory = catalogue.find(name), _locate(name, bundled)
    given = load_preprocessing(directory)
    digest = entry.package.sha256 if entry.package else ""
    adapted = _adapted(model, given, size=given.input_size)
    return Pretrained(load(directory), adapted, digest)


def _locate(name: str, bundled: Path) -> Path:
    """Return the directory of an entry's MXNet files: the image's, or the user's cache, into which
    they are converted once."""
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    cached = cache / "finetune-operator" / "models"
    for models in (bundled, cached):
        if (models / name / PREPROCESSING).is_file():
            return models / name
    return convert(name, cached)


def _adapted(model: Model, given: Preprocessing | None, *, size: int) -> Preprocessing:
    """Return the preprocessing, with what the job sets itself in place of what is given."""
    size = model.input_size or size
    if own := model.normalization:
        mean, std = ((float(r), float(g), float(b)) for r, g, b in (own.mean, own.std))
        return Preprocessing(input_size=size, mean=mean, std=std)
    if given:
        return Preprocessing(input_size=size, mean=given.mean, std=given.std)
    raise TrainerError(
        ExitCode.InvalidSpec,
        f"model.normalization is not set, and {FIELD} has no {PREPROCESSING}",
        "Set the mean and std of R, G and B, from 0 to 255, that the network was trained with.",
    )
