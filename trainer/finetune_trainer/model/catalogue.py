"""The pretrained networks that can be named in `model.name`. Imports no MXNet."""

from importlib.resources import files
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from finetune_trainer.contract import ExitCode, Struct, TrainerError


class Package(Struct, forbid_unknown_fields=True):
    """A weights file inside a Python package."""

    package: str
    """Name on the package index."""
    version: str
    module: str
    """Import name; the package is located, never imported."""
    path: str
    """Of the file, inside the package."""
    sha256: str


class Download(Struct, forbid_unknown_fields=True):
    """A released weights file on the web, fetched when its model is asked for."""

    uri: str
    sha256_prefix: Annotated[str, Meta(pattern="^[0-9a-f]{8,64}$")]
    """As the file's name has it."""
    megabytes: int


class Entry(Struct, forbid_unknown_fields=True):
    """One pretrained network. Its weights are in a package, or on the web, or either."""

    task: Literal["image-classification"]
    licence: str
    architecture: str
    """What the weights are put into."""
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    head: str
    """The layer that a fine-tuning job replaces."""
    top1: str
    """Published ImageNet accuracy in percent."""
    millions: str
    """Parameters, in millions."""
    gigamacs: str
    """Multiplications and additions for one image, in billions."""
    package: Package | None = None
    download: Download | None = None


def entries() -> dict[str, Entry]:
    """Return the catalogue by name."""
    text = files("finetune_trainer.model").joinpath("catalogue.yaml").read_bytes()
    return msgspec.yaml.decode(text, type=dict[str, Entry])


def find(name: str, *, field: str = "model.name") -> Entry:
    """Return the entry of this name; empty: the field is not set."""
    catalogue = entries()
    if name not in catalogue:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"{field}: {name!r} is not in the catalogue" if name else f"{field} is not set",
            f"Use one of: {', '.join(catalogue)}.",
        )
    return catalogue[name]
