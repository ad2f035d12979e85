"""Reads tensors from a safetensors file: the length of a JSON header, the header, the numbers."""

import json
import math
from pathlib import Path
from typing import Any, BinaryIO

from numpy.typing import NDArray

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model.formats.pytorch import BFLOAT16, decode

MAX_HEADER = 100_000_000
"""The format's own limit of the header, in bytes."""
DTYPES = {
    "F64": ("<f8", 8),
    "F32": ("<f4", 4),
    "F16": ("<f2", 2),
    "BF16": (BFLOAT16, 2),
    "I64": ("<i8", 8),
    "I32": ("<i4", 4),
    "I16": ("<i2", 2),
    "I8": ("|i1", 1),
    "U8": ("|u1", 1),
    "BOOL": ("|b1", 1),
}


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors by name."""
    try:
        with open(path, "rb") as file:
            return _read(file)
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        what = f"no {error}" if isinstance(error, KeyError) else error
        raise TrainerError(
            ExitCode.InvalidData,
            f"{path.name} is not a safetensors file: {what}",
            "Download it again, and set sha256 to notice a damaged copy.",
        ) from error


def _read(file: BinaryIO) -> dict[str, NDArray[Any]]:
    length = int.from_bytes(file.read(8), "little")
    if length > MAX_HEADER:
        raise ValueError(f"its header would have {length} bytes")
    header = json.loads(file.read(length))
    header.pop("__metadata__", None)
    content = file.read()
    return {name: _tensor(name, entry, content) for name, entry in header.items()}


def _tensor(name: str, entry: dict[str, Any], content: bytes) -> NDArray[Any]:
    if entry["dtype"] not in DTYPES:
        raise ValueError(f"{name} is of the unknown type {entry['dtype']}")
    dtype, size = DTYPES[entry["dtype"]]
    (start, end), shape = entry["data_offsets"], entry["shape"]
    if not 0 <= start <= end <= len(content):
        raise ValueError(f"it ends before {name} does")
    if min(shape, default=0) < 0 or end - start != size * math.prod(shape):
        raise ValueError(f"{name} has {end - start} bytes, which is not its shape")
    return decode(content[start:end], dtype).reshape(shape)
