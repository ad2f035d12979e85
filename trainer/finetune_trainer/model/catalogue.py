"""The pretrained networks that can be named in `model.name`. Imports no MXNet."""

from importlib.resources import files
from typing import Literal

import msgspec

from finetune_trainer.contract import ExitCode, Struct, TrainerError


class Weights(Struct, forbid_unknown_fields=True):
    """A weights file inside a Python package."""

    package: str
    """Name on the package index."""
    version: str
    module: str
    """Import name; the package is located, never imported."""
    path: str
    """Of the file, inside the package."""
    sha256: str


class Entry(Struct, forbid_unknown_fields=True):
    """One pretrained network."""

    task: Literal["image-classification"]
    weights: Weights
    licence: str
    builder: Literal["efficientnet-lite"]
    """Which of our symbol builders fits the weights."""
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    head: str
    """The layer that a fine-tuning job replaces."""
    top1: str
    """Published ImageNet accuracy in percent."""


def entries() -> dict[str, Entry]:
    """Return the catalogue by name."""
    text = files("finetune_trainer.model").joinpath("catalogue.yaml").read_bytes()
    return msgspec.yaml.decode(text, type=dict[str, Entry])


def find(name: str) -> Entry:
    """Return the entry that `model.name` names; empty: it is not set."""
    catalogue = entries()
    if name not in catalogue:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"model.name: {name!r} is not in the catalogue" if name else "model.name is not set",
            f"Use one of: {', '.join(catalogue)}.",
        )
    return catalogue[name]
