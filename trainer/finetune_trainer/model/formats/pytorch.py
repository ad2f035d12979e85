"""Reads tensors from a PyTorch state dict file without PyTorch.

A .pth file is a pickle, bare (before PyTorch 1.6) or in a zip, and a pickle can name any function
and have it called. This reader has stand-ins for the few names that a state dict needs, and refuses
all others: no code from the file ever runs.
"""

import collections
import dataclasses
import math
import pickle
import zipfile
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from finetune_trainer.contract import ExitCode, TrainerError

MAGIC = 0x1950A86A20F9469CFC6C
PROTOCOL = 1001
BFLOAT16 = "bfloat16"
DTYPES = {
    "FloatStorage": "<f4",
    "DoubleStorage": "<f8",
    "HalfStorage": "<f2",
    "BFloat16Storage": BFLOAT16,
    "LongStorage": "<i8",
    "IntStorage": "<i4",
    "ShortStorage": "<i2",
    "CharStorage": "|i1",
    "ByteStorage": "|u1",
    "BoolStorage": "|b1",
}
WRAPPINGS = ("state_dict", "model_state_dict", "model")
"""The keys under which training scripts keep the state dict in their checkpoints."""
PREFIX = "module."
"""The prefix of all names in a network that was trained on several GPUs."""


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
        if math.prod(self.shape) > values.size:
            raise ValueError("a tensor is larger than its storage")
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


def _parameter(data: _Tensor, *_: object) -> _Tensor:
    """Stand in for torch._utils._rebuild_parameter."""
    return data


_STAND_INS = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _tensor,
    ("torch._utils", "_rebuild_parameter"): _parameter,
}


class _Unpickler(pickle.Unpickler):
    """An unpickler that builds only the stand-ins above."""

    def __init__(self, file: Any) -> None:
        super().__init__(file)
        self.storages: dict[str, str] = {}
        """The dtypes of the storages by key."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _STAND_INS:
            return _STAND_INS[module, name]
        if module == "torch" and name in DTYPES:
            return _StorageType(DTYPES[name])
        raise pickle.UnpicklingError(f"it names {module}.{name}, which no weights file needs")

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _location, size, *view = pid
        if kind != "storage" or any(view) or not isinstance(storage_type, _StorageType):
            raise pickle.UnpicklingError("it holds something other than tensors")
        self.storages[key] = storage_type.dtype
        return _Storage(key, storage_type.dtype, size)


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Return the tensors of a state dict by name."""
    try:
        with open(path, "rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            return _read_zip(file) if zipped else _read_bare(file)
    # A damaged pickle can fail in almost any way; a wrong file is the user's to replace.
    except (pickle.UnpicklingError, zipfile.BadZipFile, *_DAMAGE) as error:
        raise TrainerError(
            ExitCode.InvalidData,
            f"{path.name} is not a PyTorch weights file that can be read safely: {error}",
            "Save the weights alone, torch.save(model.state_dict(), FILE), or as safetensors.",
        ) from error


_DAMAGE = (
    EOFError, ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
    MemoryError, ImportError, RuntimeError, RecursionError,
)  # fmt: skip


def decode(data: bytes, dtype: str) -> NDArray[Any]:
    """Return the numbers in some bytes; those in bfloat16, which numpy lacks, as float32."""
    if dtype == BFLOAT16:
        return (np.frombuffer(data, "<u2").astype("<u4") << 16).view("<f4")
    return np.frombuffer(data, dtype)


def _read_bare(file: BinaryIO) -> dict[str, NDArray[Any]]:
    magic, protocol, _system = (_Unpickler(file).load() for _ in range(3))
    if magic != MAGIC or protocol != PROTOCOL:
        raise ValueError("its header is not PyTorch's")
    pickled = _Unpickler(file)
    tensors = _state_dict(pickled.load())
    keys = _Unpickler(file).load()
    storages = {key: _read_storage(file, pickled.storages[key]) for key in keys}
    return {name: tensor.view(storages[tensor.storage.key]) for name, tensor in tensors.items()}


def _read_storage(file: BinaryIO, dtype: str) -> NDArray[Any]:
    size = int.from_bytes(file.read(8), "little", signed=True)
    wanted = size * (2 if dtype == BFLOAT16 else np.dtype(dtype).itemsize)
    data = file.read(wanted) if size >= 0 else b""
    if len(data) != wanted:
        raise ValueError("it is cut off")
    return decode(data, dtype)


def _read_zip(file: BinaryIO) -> dict[str, NDArray[Any]]:
    with zipfile.ZipFile(file) as archive:
        pickles = [name for name in archive.namelist() if name.endswith("/data.pkl")]
        if len(pickles) != 1:
            raise ValueError("it is a zip, but not PyTorch's")
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise ValueError("it is a compressed zip, which PyTorch's are not")
        folder = pickles[0].removesuffix("/data.pkl")
        order = f"{folder}/byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("it was written on a big-endian machine")
        with archive.open(pickles[0]) as content:
            tensors = _state_dict(_Unpickler(content).load())
        storages = {
            key: decode(archive.read(f"{folder}/data/{key}"), dtype)
            for key, dtype in {t.storage.key: t.storage.dtype for t in tensors.values()}.items()
        }
    return {name: tensor.view(storages[tensor.storage.key]) for name, tensor in tensors.items()}


def _state_dict(value: object) -> dict[str, _Tensor]:
    """Return the state dict, taken out of a training script's checkpoint if it is in one."""
    for key in WRAPPINGS:
        if isinstance(value, dict) and isinstance(value.get(key), dict):
            value = value[key]
    if not isinstance(value, dict) or not value:
        raise ValueError("it is not a plain state dict")
    if not all(isinstance(k, str) and isinstance(t, _Tensor) for k, t in value.items()):
        raise ValueError("it is not a plain state dict: it has other things than tensors")
    common = PREFIX if all(name.startswith(PREFIX) for name in value) else ""
    return {name.removeprefix(common): tensor for name, tensor in value.items()}
