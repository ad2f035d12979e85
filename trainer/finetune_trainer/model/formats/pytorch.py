"""Reads tensors from a PyTorch state dict file without PyTorch.

A .pth file is a pickle, bare (before PyTorch 1.6) or in a zip, and a pickle can name any function
and have it called. This reader has stand-ins for the few names that a state dict needs, and for all
others an object that does nothing: no code from the file ever runs, and nothing is imported.
"""

import collections
import dataclasses
import math
import pickle
import zipfile
from collections.abc import Iterator
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
_COMMANDS = frozenset(
    {
        "builtins.__import__", "builtins.compile", "builtins.eval", "builtins.exec",
        "builtins.open", "__builtin__.eval", "__builtin__.execfile", "__builtin__.open",
    }
)  # fmt: skip
_COMMAND_MODULES = frozenset(
    {
        "os", "posix", "nt", "subprocess", "sys", "shutil", "socket", "runpy", "importlib", "pty",
        "ctypes", "webbrowser", "code", "pip", "commands", "requests", "urllib",
    }
)  # fmt: skip
"""Names that only a malicious file has. They would not be run either: whoever has such a file
should know."""


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


class _Opaque(dict[Any, Any]):
    """An object of any other class, which is not looked at: arguments of a script, optimizers,
    settings. It keeps only what it is given as a dict, such as a state dict of a class of its own.
    """

    kind = ""
    """The name of the class in the file."""
    __hash__ = object.__hash__  # type: ignore[assignment]

    def __init__(self, *_: object, **__: object) -> None:
        super().__init__()

    def __call__(self, *_: object) -> "_Opaque":
        return self

    def __setstate__(self, state: object) -> None:
        """Drop the attributes."""

    def add(self, item: object) -> None:
        """Drop an item of a set or a list."""

    append = extend = add


class _Unpickler(pickle.Unpickler):
    """An unpickler that builds only the stand-ins above."""

    def __init__(self, file: Any) -> None:
        super().__init__(file, encoding="latin1")  # Python 2 pickled numpy's bytes as text
        self.storages: dict[str, str] = {}
        """The dtypes of the storages by key."""

    def find_class(self, module: str, name: str) -> Any:
        if (module, name) in _STAND_INS:
            return _STAND_INS[module, name]
        if module == "torch" and name in DTYPES:
            return _StorageType(DTYPES[name])
        kind = f"{module}.{name}"
        if kind in _COMMANDS or module.partition(".")[0] in _COMMAND_MODULES:
            raise pickle.UnpicklingError(f"it names {kind}, which no weights file needs")
        return type("Opaque", (_Opaque,), {"kind": kind})

    def persistent_load(self, pid: Any) -> _Storage:
        kind, storage_type, key, _location, size, *view = pid
        if kind != "storage" or any(view) or not isinstance(storage_type, _StorageType):
            raise pickle.UnpicklingError("it holds something other than tensors")
        self.storages[key] = storage_type.dtype
        return _Storage(key, storage_type.dtype, size)


def read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    """Return all named tensors of a file; those of a dict in a dict are named KEY.NAME.

    Optimizers name their tensors by numbers, so these are left out.
    """
    try:
        with open(path, "rb") as file:
            zipped = file.read(4) == b"PK\x03\x04"
            file.seek(0)
            return _read_zip(file) if zipped else _read_bare(file)
    except _Unusable as error:
        raise _invalid(path, str(error), error.hint) from error
    except (zipfile.BadZipFile, EOFError) as error:
        raise _invalid(path, str(error) or "it is cut off", _AGAIN) from error
    # A damaged pickle can fail in almost any way; a wrong file is the user's to replace.
    except (pickle.UnpicklingError, *_DAMAGE) as error:
        raise _invalid(path, str(error), _ALONE) from error


def _invalid(path: Path, reason: str, hint: str) -> TrainerError:
    return TrainerError(
        ExitCode.InvalidData,
        f"{path.name} is not a PyTorch weights file that can be read safely: {reason}",
        hint,
    )


class _Unusable(Exception):
    """A file of torch.save without a state dict, with the way to one."""

    def __init__(self, reason: str, hint: str) -> None:
        super().__init__(reason)
        self.hint = hint


_ALONE = "Save the weights alone, torch.save(model.state_dict(), FILE), or as safetensors."
_AGAIN = (
    "Copy or download it again: it is damaged or not complete. model.source.sha256 finds that out "
    "at once."
)
_DENSE = (
    "Save the network before it is quantized or made sparse, torch.save(model.state_dict(), FILE)."
)
_SCRIPT = "Save its weights: torch.save(torch.jit.load(FILE).state_dict(), NEW_FILE)."
_OF_OBJECT = (
    "Save its weights where its code is installed: "
    "torch.save(torch.load(FILE, weights_only=False)KEY.state_dict(), NEW_FILE)."
)
_DAMAGE = (
    ValueError, TypeError, KeyError, IndexError, AttributeError, OverflowError,
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
    tensors = _named_tensors(pickled.load())
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
        if any("/code/" in name or name.endswith("/constants.pkl") for name in archive.namelist()):
            raise _Unusable("it is a TorchScript archive, a program with its weights", _SCRIPT)
        if len(pickles) != 1:
            raise ValueError("it is a zip, but not PyTorch's")
        if any(info.compress_type != zipfile.ZIP_STORED for info in archive.infolist()):
            raise ValueError("it is a compressed zip, which PyTorch's are not")
        folder = pickles[0].removesuffix("/data.pkl")
        order = f"{folder}/byteorder"
        if order in archive.namelist() and archive.read(order) != b"little":
            raise ValueError("it was written on a big-endian machine")
        with archive.open(pickles[0]) as content:
            tensors = _named_tensors(_Unpickler(content).load())
        storages = {
            key: decode(archive.read(f"{folder}/data/{key}"), dtype)
            for key, dtype in {t.storage.key: t.storage.dtype for t in tensors.values()}.items()
        }
    return {name: tensor.view(storages[tensor.storage.key]) for name, tensor in tensors.items()}


def _named_tensors(value: object) -> dict[str, _Tensor]:
    """Return the tensors of a state dict, or of the dicts and lists that a checkpoint consists of.

    Each of these is visited once: a file can repeat one without end.
    """
    tensors = dict(_walk("", value, visited=set()))
    if tensors and "" not in tensors:
        return tensors
    if "" in tensors:
        raise _Unusable("it is a single tensor without a name", _ALONE)
    if isinstance(value, _Opaque):
        raise _Unusable(
            f"it is a whole pickled object of {value.kind}", _OF_OBJECT.replace("KEY", "")
        )
    objects = {k: v for k, v in _items(value) if isinstance(v, _Opaque)}
    named = ", ".join(f"{key!r} is a pickled object of {v.kind}" for key, v in objects.items())
    if objects:
        key = f"[{next(iter(objects))!r}]"
        raise _Unusable(f"it has no state dict: {named}", _OF_OBJECT.replace("KEY", key))
    raise _Unusable("it is not a plain state dict: it has no tensors with names", _ALONE)


def _walk(path: str, value: object, *, visited: set[int]) -> Iterator[tuple[str, _Tensor]]:
    if isinstance(value, _Tensor):
        yield path, value
    elif isinstance(value, _Opaque) and value.kind.startswith("torch._utils._rebuild"):
        raise _Unusable(f"{path} is no plain tensor, but one of {value.kind}", _DENSE)
    elif id(value) not in visited:
        visited.add(id(value))
        for key, item in _items(value):
            yield from _walk(f"{path}.{key}" if path else key, item, visited=visited)


def _items(value: object) -> list[tuple[str, object]]:
    """Return the items of a dict, a list or a tuple that are named, a list's by their number."""
    if isinstance(value, dict):
        return [(key, item) for key, item in value.items() if isinstance(key, str)]
    if isinstance(value, list | tuple):
        return [(str(number), item) for number, item in enumerate(value)]
    return []
