"""The size of the images that the pretrained network takes, known before a photo is packed.

Imports no MXNet.
"""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec

from finetune_trainer.contract import ExitCode, Job, Model, TrainerError
from finetune_trainer.dataset.preprocessing import PREPROCESSING, Preprocessing
from finetune_trainer.dataset.stored_size import INPUT_SIZE, stored_size
from finetune_trainer.model import catalogue
from finetune_trainer.model.formats.table import read_graph
from finetune_trainer.model.origin import Origin
from finetune_trainer.run import files


def check_spec(job: Job) -> None:
    """Raise InvalidSpec if the spec alone shows that photos are stored too small."""
    if size := known_size(job.model):
        check_size(job, size)


def check_size(job: Job, size: int) -> None:
    """Raise InvalidSpec if photos are stored smaller than the network's images."""
    short = job.dataset.image.resize_short
    if short is not None and size > short:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"the network takes images of {size} pixels, but dataset.image.resizeShort is {short}",
            f"Remove resizeShort: photos are then stored in {stored_size(size)} pixels.",
        )


def known_size(model: Model) -> int | None:
    """Return the size that the spec shows without the network's files; None if it does not."""
    if model.input_size:
        return model.input_size
    name = model.source.architecture if model.source else model.name
    return catalogue.find(name).input_size if name else None


def find_size(model: Model, origin: Origin) -> int:
    """Return the size that the spec or the network's files show, else INPUT_SIZE."""
    if known := known_size(model):
        return known
    file = origin.symbol or origin.weights
    assert file  # a network of the catalogue has a known size
    if given := given_with(file):
        return given.input_size
    return declared_size(file) if origin.symbol else read_graph(file).size or INPUT_SIZE


def given_with(file: Path) -> Preprocessing | None:
    """Return the preprocessing.json that an earlier job has exported beside its model."""
    path = file.with_name(PREPROCESSING)
    try:
        return files.read_json(path, Preprocessing) if path.is_file() else None
    except msgspec.DecodeError as error:
        raise TrainerError(
            ExitCode.InvalidData,
            f"model.source: the {PREPROCESSING} beside {file.name} is not from an earlier job:"
            f" {error}",
            "Remove it, and set model.normalization.",
        ) from error


def declared_size(symbol: Path) -> int:
    """Return the height of the images that a symbol's input declares, else INPUT_SIZE."""
    try:
        shapes = list(_shapes_of_inputs(json.loads(symbol.read_bytes())))
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise TrainerError(
            ExitCode.InvalidData,
            f"the symbol {symbol.name} in {symbol.parent} cannot be read: {error!r}",
            "Copy it again: the file is damaged, or has another format.",
        ) from error
    heights = (shape[2] for shape in shapes if len(shape) == 4 and shape[2] > 0)
    return next(heights, INPUT_SIZE)


def _shapes_of_inputs(graph: dict[str, Any]) -> Iterator[list[int]]:
    """Yield the declared shapes of the variables that operators compute from: an operator's first
    input. Its others are parameters, which Gluon declares, too."""
    nodes = graph["nodes"]
    first = {node["inputs"][0][0] for node in nodes if node["inputs"]}
    for number in sorted(first):
        attributes = nodes[number].get("attrs") or nodes[number].get("attr") or {}
        if nodes[number]["op"] == "null" and (shape := attributes.get("__shape__")):
            yield [int(side) for side in shape.strip("()[] ").split(",") if side.strip()]
