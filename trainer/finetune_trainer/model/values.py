"""The values that weights must have: a network with others trains to nothing, or to nonsense."""

from collections.abc import Collection, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.contract import ExitCode, TrainerError

SHOWN = 4
_VARIANCES = ("running_var", "moving_var")
"""Endings of the names of variances, in PyTorch and in MXNet."""


def check_values(
    weights: Mapping[str, NDArray[Any]], *, head: str = "", variances: Collection[str] = ()
) -> None:
    """Raise InvalidData for weights that no trained network has, with their names.

    `variances` are the names of variances that do not end like those of PyTorch and MXNet; `head`
    is the last layer, whose weights may be zero.
    """
    integers = [name for name, values in weights.items() if values.dtype.kind != "f"]
    if integers:
        raise _unusable(
            f"{len(integers)} of {len(weights)} tensors are integers, such as "
            f"{integers[0]} ({weights[integers[0]].dtype}): the network is quantized",
            "Give the network as it was before, in float32, float16 or bfloat16.",
        )
    faults = [
        f"{name} {fault}"
        for name, values in weights.items()
        if (fault := _fault(values, name.endswith(_VARIANCES) or name in variances))
    ]
    if faults:
        raise _unusable(
            f"{len(faults)} of {len(weights)} tensors have values that no trained network has: "
            f"{'; '.join(faults[:SHOWN])}",
            "Give the weights of an epoch before the training diverged; if they are right where "
            "they come from, copy the file again.",
        )
    layers = [values for name, values in weights.items() if not (head and f"{head}." in name)]
    matrices = [values for values in layers if values.ndim > 1]
    if matrices and not any(values.any() for values in matrices):
        raise _unusable(
            f"all weights of the network are 0: {', '.join(list(weights)[:SHOWN])}, ...",
            "Save them after they were loaded or trained: a new network may be all zeros.",
        )


def _unusable(message: str, hint: str) -> TrainerError:
    return TrainerError(ExitCode.InvalidData, message, hint)


def _fault(values: NDArray[Any], is_variance: bool) -> str:
    """Return what is wrong with a tensor; empty if nothing is."""
    with np.errstate(over="ignore"):
        values = np.asarray(values, np.float32)
    if bad := int(values.size - np.isfinite(values).sum()):
        return f"has {bad} of {values.size} values that are NaN or infinite"
    if is_variance and values.size and values.min() < 0:
        return f"is a variance, and has the value {values.min():g}"
    return ""
