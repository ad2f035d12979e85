"""The shapes that a network's parameters must have, and the check of given ones against them."""

from collections.abc import Mapping
from typing import Any

import mxnet as mx

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model.network import reason_of

SHOWN = 4
"""Misfits that an error names."""


def shapes_of(symbol: mx.sym.Symbol, size: int) -> dict[str, tuple[int, ...]]:
    """Return the shapes of all parameters, by name, for images of size x size."""
    try:
        arguments, _, states = symbol.infer_shape(data=(1, 3, size, size))
    except mx.MXNetError as error:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"model.inputSize: the network does not take images of {size} x {size}: "
            f"{reason_of(error)}",
            "Set it to the size that the network was trained with.",
        ) from error
    shapes = dict(zip(symbol.list_arguments(), arguments, strict=True))
    shapes |= dict(zip(symbol.list_auxiliary_states(), states, strict=True))
    return {n: s for n, s in shapes.items() if n not in ("data", "softmax_label")}


def check_shapes(symbol: mx.sym.Symbol, params: Mapping[str, Any], *, size: int) -> None:
    """Raise InvalidData if parameters have other shapes than the network needs."""
    shapes = shapes_of(symbol, size)
    misfits = [
        f"{name} is {as_text(value.shape)}, not {as_text(shapes[name])}"
        for name, value in params.items()
        if value.shape != shapes[name]
    ]
    if misfits:
        raise TrainerError(
            ExitCode.InvalidData,
            f"the weights do not fit the network for images of {size} x {size}: {len(misfits)} of "
            f"{len(params)} have another shape: {'; '.join(misfits[:SHOWN])}",
            "Give the symbol and the params file of the same network, and its model.inputSize.",
        )


def as_text(shape: tuple[int, ...]) -> str:
    """Return a shape as 64x3x7x7, with N for 0, any number."""
    return "x".join(str(side or "N") for side in shape) or "a number"
