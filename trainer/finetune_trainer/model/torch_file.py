"""Reads tensors from a PyTorch state dict file without PyTorch.

A .pth file is a pickle, and a pickle can name any function and have it called. This reader knows
the four names that a state dict needs, gives its own stand-ins for them and refuses all others:
no code from the file ever runs. Legacy format only (before PyTorch 1.6: no zip).
"""

import collections
import dataclasses
import pickle
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.contract import ExitCode, TrainerError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}


@dataclasses.dataclass(frozen=True)
class _StorageType:
    dtype: str


@dataclasses.dataclass(frozen=True)
class _Storage:
    key: str
    dtype: str
    size: int


@dataclasses.dataclass(frozen=True)
class _Tensor:
    storage: _Storage
    offset: int
    shape: tuple[int, ...]
    strides: tuple[int, ...]

    def view(self, values: NDArray[Any]) -> NDArray[Any]:
        """Copy this tensor out of its storage's values, whatever its memory order."""
        last = self.offset + sum((n - 1) * s for n, s in zip(self.shape, self.strides, strict=True))
        if not 0 <= self.offset <= last < values.size or min(self.strides, default=0) < 0:
            raise ValueError("a tensor points outside of its storage")
        strides = tuple(step * values.itemsize for step in self.strides)
        window = np.lib.stride_tricks.as_strided(values[self.offset :], self.shape, strides)
        return np.ascontiguousarray(window).reshape(self.shape)


def _tensor(
    storage: _Storage, offset: int, shape: tuple[int, ...], strides: tuple[int, ...], *_: object
) -> _Tensor:
    """Stand in for torch._utils._rebuild_tensor_v2."""
    return _Tensor(storage, offset, shape, strides)


class _Unpickler(pickle.Unpickler):
    """Builds only the stand-ins above."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) == ("collections", "OrderedDict"):
            return collections.OrderedDict
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if module == "torch" and name in DTYPES:
            return _StorageType(DTYPES[name])
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no weights file needs")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _location, size, view = pid
        if kind != "storage" or view is not None or not isinstance(storage_type, _StorageType):
            raise pickle.UnpicklingError("it holds something other than tensors")
        return _Storage(key, storage_type.dtype, size)


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a state dict by name."""
    try:
        with open(path, "rb") as file:
            return _read(file)
    # A damaged pickle can fail in almost any way; a wrong file is the user's to replace.
    except (pickle.UnpicklingError, *_DAMAGE) as error:
        raise TrainerError(
            ExitCode.InvalidData,
            f"{path.name} is not a PyTorch weights file that can be read safely: {error}",
            "save it with torch.save(model.state_dict(), ..., "
            "_use_new_zipfile_serialization=False)",
        ) from error


_DAMAGE = (
    EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
    MemoryError, ImportError,
)  # fmt: skip


def _read(file: BinaryIO) -> dict[str, NDArray[Any]]:
    if file.read(4) == b"PK\x03\x04":
        raise ValueError("it is in the zip format of PyTorch 1.6 and later")
    file.seek(0)
    magic, protocol, _system, tensors, keys = (_Unpickler(file).load() for _ in range(5))
    if magic != MAGIC or protocol != PROTOCOL:
        raise ValueError("its header is not PyTorch's")
    if not isinstance(tensors, dict) or not all(isinstance(t, _Tensor) for t in tensors.values()):
        raise ValueError("it is not a plain state dict")
    dtypes = {tensor.storage.key: tensor.storage.dtype for tensor in tensors.values()}
    storages = {key: _read_storage(file, dtypes[key]) for key in keys}
    return {name: tensor.view(storages[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_storage(file: BinaryIO, dtype: str) -> NDArray[Any]:
    size = int.from_bytes(file.read(8), "little", signed=True)
    wanted = size * np.dtype(dtype).itemsize
    data = file.read(wanted) if size >= 0 else b""
    if len(data) != wanted:
        raise ValueError("it is cut off")
    return np.frombuffer(data, dtype)
