"""The table of model formats. Imports no MXNet."""

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

from finetune_trainer.model.formats import pytorch, safetensors
from finetune_trainer.model.formats.onnx.file import read_graph


@dataclasses.dataclass(frozen=True)
class Format:
    """A model format: how its files are recognised and read."""

    magic: bytes
    """Regular expression of a file's first bytes."""
    suffixes: frozenset[str]
    """Suffixes of files with weights, by which one is picked from a folder."""
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

LONGEST_MAGIC = 16


def recognise(name: str, start: bytes) -> str | None:
    """Return the format of a file with this name and these first bytes; None if it has none."""
    for kind, fmt in FORMATS.items():
        if name.endswith(fmt.endings) or re.match(fmt.magic, start, re.DOTALL):
            return kind
    return None
