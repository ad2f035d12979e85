"""A network as files: symbol.json, model.params and preprocessing.json in one directory.

The three files are the same in the catalogue, between the stages, for the best epoch of a
checkpoint and in the output. MXNet does not write files atomically: callers write into a temporary
directory and rename it.
"""

import dataclasses
import os
import shutil
from collections.abc import Collection
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.preprocessing import LABELS as LABELS
from finetune_trainer.dataset.preprocessing import PREPROCESSING as PREPROCESSING
from finetune_trainer.dataset.preprocessing import Preprocessing as Preprocessing
from finetune_trainer.run import files

SYMBOL = "symbol.json"
PARAMS = "model.params"


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
    return load_pair(directory / SYMBOL, directory / PARAMS)


def load_pair(symbol: Path, params: Path) -> Network:
    """Read a symbol and its parameters, of any version of MXNet."""
    try:
        graph = mx.sym.load(str(symbol))
        return Network(graph, *load_params(params, states=graph.list_auxiliary_states()))
    except (mx.MXNetError, ValueError) as error:
        raise TrainerError(
            ExitCode.InvalidData,
            f"the model {symbol.name}, {params.name} in {params.parent} cannot be read: "
            f"{reason_of(error)}",
            "Copy it again: one of the files is damaged, or has another format.",
        ) from error


def save_params(args: dict[str, Any], aux: dict[str, Any], path: Path) -> None:
    """Write a .params file as MXNet's own tools do."""
    entries = {f"arg:{name}": value for name, value in sorted(args.items())}
    entries |= {f"aux:{name}": value for name, value in sorted(aux.items())}
    save_arrays(path, entries)


def save_arrays(path: Path, arrays: dict[str, Any]) -> None:
    """Write arrays by name in MXNet's format.

    MXNet writes into memory, because its errors do not name a full disk, and it does not notice one
    at all when it closes a file.
    """
    with open(os.memfd_create("arrays"), "rb") as memory, open(path, "wb") as file:
        mx.nd.save(f"/proc/self/fd/{memory.fileno()}", arrays)
        shutil.copyfileobj(memory, file)


def load_params(
    path: Path, *, states: Collection[str] = ()
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Read the arguments and the auxiliary states of a .params file.

    Gluon writes names without a prefix: `states` are the auxiliary ones among them.
    """
    entries = mx.nd.load(str(path))
    if not isinstance(entries, dict):
        raise ValueError("its arrays have no names")
    args: dict[str, Any] = {}
    aux: dict[str, Any] = {}
    for key, value in entries.items():
        kind, _, name = key.rpartition(":")
        (aux if kind == "aux" or name in states else args)[name] = value
    return args, aux


def load_preprocessing(directory: Path) -> Preprocessing:
    """Read preprocessing.json."""
    return files.read_json(directory / PREPROCESSING, Preprocessing)


def reason_of(error: Exception) -> str:
    """Return the last line of an error: MXNet puts a C++ traceback before it."""
    return str(error).strip().splitlines()[-1]


def is_finite(network: Network) -> bool:
    """Return True if no parameter is NaN or infinite."""
    values = (network.args | network.aux).values()
    return all(np.isfinite(value.asnumpy()).all() for value in values)
