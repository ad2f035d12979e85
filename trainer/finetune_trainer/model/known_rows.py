"""The rows of the new layer for classes that an earlier model knows: it starts from them."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mxnet as mx
import numpy as np
from numpy.typing import NDArray

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model.network import Network, save_arrays
from finetune_trainer.model.surgery import Surgery

KNOWN_ROWS = "head.params"
"""The file beside model.params with the new layer's weight and bias, NaN for new classes."""

Array = NDArray[np.float32]


def save_known_rows(
    directory: Path, before: Network, surgery: Surgery, *, old: Sequence[str], new: Sequence[str]
) -> int:
    """Write the rows of the classes that the network before the surgery knows, and return their
    number. `old` and `new` are the names of the classes before and after it.
    """
    weight, bias = _last_layer(before, surgery, classes=len(old))
    place = {name: row for row, name in enumerate(old)}
    known = {row: place[name] for row, name in enumerate(new) if name in place}
    rows: dict[str, Array] = {}
    for name, values in (("weight", weight), ("bias", bias)):
        rows[name] = np.full((len(new), *values.shape[1:]), np.nan, np.float32)
        rows[name][list(known)] = values[list(known.values())]
    arrays = {name: mx.nd.array(values) for name, values in rows.items()}
    save_arrays(directory / KNOWN_ROWS, arrays)
    return len(known)


def _last_layer(before: Network, surgery: Surgery, *, classes: int) -> tuple[Array, Array]:
    """Return the weight and bias that the surgery has cut off."""
    values = {name: before.args[name].asnumpy() for name in surgery.dropped}
    weights = [value for value in values.values() if value.ndim == 2]
    biases = [value for value in values.values() if value.ndim == 1]
    if len(weights) != 1 or len(biases) != 1 or len(weights[0]) != classes:
        raise TrainerError(
            ExitCode.InvalidData,
            f"training.resumeFrom: labels.txt names {classes} classes, but the last layer is "
            f"{', '.join(f'{name} {value.shape}' for name, value in values.items())}",
            "Copy the whole folder of the model again.",
        )
    return weights[0], biases[0]


def with_known_rows(network: Network, directory: Path, initializer: Any, *, seed: int) -> Network:
    """Return the network with a new layer of the known rows, and of rows from the initializer for
    new classes. Without known rows, return it as it is.
    """
    if not (directory / KNOWN_ROWS).is_file():
        return network
    mx.random.seed(seed)
    layer = network.symbol.get_children()[0].name
    started = {
        f"{layer}_{leaf}": _filled(f"{layer}_{leaf}", rows, initializer)
        for leaf, rows in mx.nd.load(str(directory / KNOWN_ROWS)).items()
    }
    return Network(network.symbol, network.args | started, network.aux)


def _filled(name: str, rows: Any, initializer: Any) -> Any:
    values = mx.nd.empty(rows.shape)
    initializer(mx.init.InitDesc(name), values)
    known = rows.asnumpy()
    return mx.nd.array(np.where(np.isnan(known), values.asnumpy(), known))


def shifted(network: Network, *, mean: Array, scale: float) -> dict[str, Any]:
    """Return the new layer's parameters that give the same outputs for features that are shifted
    and scaled to (x - mean) / scale; nothing if it has no parameters yet.
    """
    layer = network.symbol.get_children()[0].name
    weight, bias = f"{layer}_weight", f"{layer}_bias"
    if weight not in network.args:
        return {}
    shift = mx.nd.dot(network.args[weight], mx.nd.array(mean))
    return {weight: network.args[weight] * scale, bias: network.args[bias] + shift}
