"""The table of model formats. Imports no MXNet."""

import contextlib
import dataclasses
import re
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetune_trainer.model.formats import pytorch, safetensors


def read_graph(file: Path) -> Any:
    """Read an ONNX file."""
    # A fifth of a second that other networks need not wait.
    from finetune_trainer.model.formats.onnx import file as onnx_file

    return onnx_file.read_graph(file)


@dataclasses.dataclass(frozen=True)
class Format:
    """A model format: how its files are recognised and read."""

    magic: bytes
    """Regular expression of a file's first bytes."""
    suffixes: frozenset[str]
    """Suffixes of files with weights, by which one is picked from a folder."""
    zip_member: str = ""
    """Ending of a member's name by which a zip is a file of this format."""
    endings: tuple[str, ...] = ()
    """Endings of names that are enough to recognise a file, whatever its first bytes."""
    needs_architecture: bool = False
    """True if a file has weights alone, without the network that they belong to."""
    read: Callable[[Path], Any] = lambda file: None
    """Reads a file, and raises InvalidData for one that cannot be used. Only MXNet reads its own
    format, so nothing is done there."""


FORMATS = {
    "mxnet": Format(
        magic=rb"\x12\x01\0{6}", suffixes=frozenset({".params"}), endings=("symbol.json",)
    ),
    "torch": Format(
        magic=rb"PK\x03\x04|\x80\x02",
        suffixes=frozenset({".pth", ".pt", ".bin"}),
        zip_member="/data.pkl",
        needs_architecture=True,
        read=pytorch.read_tensors,
    ),
    "safetensors": Format(
        magic=rb".{6}\0\0\{",
        suffixes=frozenset({".safetensors"}),
        needs_architecture=True,
        read=safetensors.read_tensors,
    ),
    # An ONNX file begins with its version, then who made it, the graph, or the opsets.
    "onnx": Format(
        magic=rb"\x08[\x03-\x1f][\x12\x3a\x42]",
        suffixes=frozenset({".onnx"}),
        endings=(".onnx",),
        read=read_graph,
    ),
}
"""By the names of `model.source.format`."""

MAGIC_BYTES = 20


def recognise(file: Path) -> str | None:
    """Return the format of a file, by its name or its content; None if it has none."""
    by_name = (kind for kind, fmt in FORMATS.items() if file.name.endswith(fmt.endings))
    start = first_bytes(file)
    by_magic = (kind for kind, fmt in FORMATS.items() if re.match(fmt.magic, start, re.DOTALL))
    return next(by_name, None) or _format_of_zip(file) or next(by_magic, None)


def first_bytes(file: Path) -> bytes:
    """Return the bytes by which a format is recognised."""
    with open(file, "rb") as content:
        return content.read(MAGIC_BYTES)


def is_zip_of_weights(file: Path) -> bool:
    """Return True for a model file that is a zip: it must not be unpacked as an archive."""
    return _format_of_zip(file) is not None


def _format_of_zip(file: Path) -> str | None:
    if not first_bytes(file).startswith(b"PK"):
        return None
    with contextlib.suppress(zipfile.BadZipFile), zipfile.ZipFile(file) as archive:
        names = archive.namelist()
        for kind, fmt in FORMATS.items():
            if fmt.zip_member and any(name.endswith(fmt.zip_member) for name in names):
                return kind
    return None
