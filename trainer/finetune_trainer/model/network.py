"""A network as files: symbol.json, model.params and preprocessing.json in one directory.

The same three everywhere: in the bundled catalogue, between the stages, in checkpoints' best and
in the output. MXNet's own save is not atomic: callers write into a temporary directory and rename.
"""

import dataclasses
import os
import shutil
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

from finetune_trainer import files
from finetune_trainer.contract import ExitCode, Struct, TrainerError

SYMBOL = "symbol.json"
PARAMS = "model.params"
PREPROCESSING = "preprocessing.json"
LABELS = "labels.txt"


class Preprocessing(Struct):
    """What is done to an image before the network sees it; travels with the weights.

    Resize the shorter side to `resizeShort`, cut the centre `inputSize` x `inputSize`, RGB,
    (pixel - mean) / std, channels first.
    """

    input_size: int
    mean: tuple[float, float, float]
    """Of R, G, B in 0..255."""
    std: tuple[float, float, float]
    resize_short: int | None = None
    """Comes with the data set that the network was fitted to."""


@dataclasses.dataclass(frozen=True)
class Network:
    """A symbol with its parameters, as mx.mod.Module takes them."""

    symbol: mx.sym.Symbol
    args: dict[str, Any]
    aux: dict[str, Any]


def save(network: Network, directory: Path) -> None:
    """Write symbol.json and model.params."""
    (directory / SYMBOL).write_text(network.symbol.tojson())
    save_params(network.args, network.aux, directory / PARAMS)


def load(directory: Path) -> Network:
    """Read what `save` wrote."""
    try:
        symbol = mx.sym.load(str(directory / SYMBOL))
        return Network(symbol, *load_params(directory / PARAMS))
    except mx.MXNetError as error:
        raise TrainerError(
            ExitCode.InvalidData,
            f"the model in {directory} cannot be read: {_reason(error)}",
        ) from error


def save_params(args: dict[str, Any], aux: dict[str, Any], path: Path) -> None:
    """Write a .params file as MXNet's own tools have it."""
    entries = {f"arg:{name}": value for name, value in sorted(args.items())}
    entries |= {f"aux:{name}": value for name, value in sorted(aux.items())}
    save_arrays(path, entries)


def save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays by name in MXNet's format.

    By way of memory: MXNet tells no full disk from other failures, and does not notice one at all
    when it closes the file.
    """
    with open(os.memfd_create("arrays"), "rb") as memory, open(path, "wb") as file:
        mx.nd.save(f"/proc/self/fd/{memory.fileno()}", arrays)
        shutil.copyfileobj(memory, file)


def load_params(path: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the arguments and the auxiliary states of a .params file."""
    entries = mx.nd.load(str(path))
    args = {name[4:]: value for name, value in entries.items() if name.startswith("arg:")}
    aux = {name[4:]: value for name, value in entries.items() if name.startswith("aux:")}
    return args, aux


def load_preprocessing(directory: Path) -> Preprocessing:
    """Read preprocessing.json."""
    return files.read_json(directory / PREPROCESSING, Preprocessing)


def _reason(error: Exception) -> str:
    return str(error).strip().splitlines()[-1]


def is_finite(network: Network) -> bool:
    """Tell whether no parameter is NaN or infinite."""
    values = (network.args | network.aux).values()
    return all(np.isfinite(value.asnumpy()).all() for value in values)
