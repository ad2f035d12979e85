"""Weights files as torch.save and safetensors write them, written without either."""

import collections
import contextlib
import io
import json
import pickle
import sys
import types
import zipfile
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from finetune_trainer.model.formats.pytorch import MAGIC, PROTOCOL


class FloatStorage:
    """A storage that is pickled as torch.FloatStorage."""

    def __init__(self, values: Any) -> None:
        self.values = np.array(values, dtype="<f4").ravel()


class Tensor:
    """A tensor that is pickled as a call of torch._utils._rebuild_tensor_v2, as in torch.save."""

    def __init__(self, storage: FloatStorage, *layout: Any) -> None:
        self.call = (storage, *layout, False, collections.OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.call


class _Pickler(pickle.Pickler):
    def persistent_id(self, value: object) -> tuple[Any, ...] | None:
        if isinstance(value, FloatStorage):
            return ("storage", FloatStorage, str(id(value)), "cpu", value.values.size)
        return None


class _OldPickler(_Pickler):
    """The pickler before PyTorch 1.6, when a storage could be a view of another one."""

    def persistent_id(self, value: object) -> tuple[Any, ...] | None:
        storage = super().persistent_id(value)
        return (*storage, None) if storage else None


@contextlib.contextmanager
def torch_names() -> Iterator[None]:
    """Let pickle find the names that it writes."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2() -> None: ...

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    torch.FloatStorage = FloatStorage  # type: ignore[attr-defined]
    own = FloatStorage.__module__
    FloatStorage.__module__ = "torch"
    sys.modules |= {"torch": torch, "torch._utils": utils}
    try:
        yield
    finally:
        FloatStorage.__module__ = own
        del sys.modules["torch"], sys.modules["torch._utils"]


def bare_pth(state: object, *storages: FloatStorage) -> bytes:
    """Return a file as torch.save wrote it before it wrote zip files."""
    file = io.BytesIO()
    with torch_names():
        keys = [str(id(storage)) for storage in storages]
        for item in (MAGIC, PROTOCOL, {"little_endian": True}, state, keys):
            _OldPickler(file, protocol=2).dump(item)
    for storage in storages:
        file.write(storage.values.size.to_bytes(8, "little") + storage.values.tobytes())
    return file.getvalue()


def zipped_pth(
    state: object, *storages: FloatStorage, compression: int = zipfile.ZIP_STORED, **others: bytes
) -> bytes:
    """Return a file as torch.save writes it."""
    pickled, file = io.BytesIO(), io.BytesIO()
    with torch_names():
        _Pickler(pickled, protocol=2).dump(state)
    with zipfile.ZipFile(file, "w", compression) as archive:
        archive.writestr("weights/data.pkl", pickled.getvalue())
        for name, content in others.items():
            archive.writestr(f"weights/{name}", content)
        for storage in storages:
            archive.writestr(f"weights/data/{id(storage)}", storage.values.tobytes())
        archive.writestr("weights/version", b"3\n")
    return file.getvalue()


def pth(tensors: Mapping[str, Any]) -> bytes:
    """Return the .pth of arrays."""
    storages = {name: FloatStorage(value) for name, value in tensors.items()}
    state = collections.OrderedDict(
        (name, Tensor(storages[name], 0, value.shape, _strides(value)))
        for name, value in tensors.items()
    )
    return zipped_pth(state, *storages.values())


def _strides(value: Any) -> tuple[int, ...]:
    contiguous = np.zeros(value.shape, np.int8)
    return contiguous.strides


def safetensors(tensors: Mapping[str, Any], **changes: Any) -> bytes:
    """Return the safetensors file of float32 arrays, its header changed."""
    content = bytearray()
    header: dict[str, Any] = {"__metadata__": {"format": "pt"}}
    for name, value in tensors.items():
        start = len(content)
        content += np.asarray(value, "<f4").tobytes()
        entry = {"dtype": "F32", "shape": list(np.shape(value))}
        header[name] = entry | {"data_offsets": [start, len(content)]} | changes
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + content
