"""The reader of PyTorch's files: exact, and deaf to what a pickle asks to be run."""

import collections
import io
import os
import pickle
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model.torch_file import MAGIC, PROTOCOL, read_tensors


class FloatStorage:
    """Pickled as torch.FloatStorage."""

    def __init__(self, values: list[float]) -> None:
        self.values = np.array(values, dtype="<f4")


class Tensor:
    """Pickled as a call of torch._utils._rebuild_tensor_v2, as torch.save does it."""

    def __init__(self, storage: FloatStorage, *layout: Any) -> None:
        self.call = (storage, *layout, False, collections.OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return sys.modules["torch._utils"]._rebuild_tensor_v2, self.call


class Pickler(pickle.Pickler):
    def persistent_id(self, value: object) -> tuple[Any, ...] | None:
        if isinstance(value, FloatStorage):
            return ("storage", FloatStorage, str(id(value)), "cpu", value.values.size, None)
        return None


@pytest.fixture
def _torch_names(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pickle find the names that it writes down."""
    torch, utils = types.ModuleType("torch"), types.ModuleType("torch._utils")

    def _rebuild_tensor_v2() -> None: ...

    _rebuild_tensor_v2.__module__ = "torch._utils"
    _rebuild_tensor_v2.__qualname__ = "_rebuild_tensor_v2"
    utils._rebuild_tensor_v2 = _rebuild_tensor_v2  # type: ignore[attr-defined]
    torch.FloatStorage = FloatStorage  # type: ignore[attr-defined]
    monkeypatch.setattr(FloatStorage, "__module__", "torch")
    monkeypatch.setitem(sys.modules, "torch", torch)
    monkeypatch.setitem(sys.modules, "torch._utils", utils)


def saved(state: object, *storages: FloatStorage) -> bytes:
    """Return what torch.save wrote before it wrote zip files."""
    file = io.BytesIO()
    for part in (MAGIC, PROTOCOL, {"little_endian": True}, state, [str(id(s)) for s in storages]):
        Pickler(file, protocol=2).dump(part)
    for storage in storages:
        file.write(storage.values.size.to_bytes(8, "little") + storage.values.tobytes())
    return file.getvalue()


@pytest.mark.usefixtures("_torch_names")
def test_tensors_come_out_in_their_shape_whatever_their_memory_order(tmp_path: Path) -> None:
    storage = FloatStorage([0, 1, 2, 3, 4, 5, 6])
    state = collections.OrderedDict(
        rows=Tensor(storage, 1, (2, 3), (3, 1)),
        columns=Tensor(storage, 1, (2, 3), (1, 2)),
        scalar=Tensor(storage, 6, (), ()),
    )
    path = tmp_path / "weights.pth"
    path.write_bytes(saved(state, storage))
    tensors = read_tensors(path)
    assert tensors["rows"].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert tensors["columns"].tolist() == [[1, 3, 5], [2, 4, 6]]
    assert tensors["scalar"].shape == ()


class Evil:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@pytest.mark.parametrize("hide", [lambda evil: evil, lambda evil: {"weight": [evil]}])
def test_a_file_that_wants_to_run_a_command_is_refused_before_it_can(
    hide: Any, tmp_path: Path
) -> None:
    path, marker = tmp_path / "evil.pth", tmp_path / "was-run"
    path.write_bytes(saved(hide(Evil(marker))))
    with pytest.raises(TrainerError, match=r"evil.pth .* it names posix.system") as error:
        read_tensors(path)
    assert error.value.code == ExitCode.InvalidData
    assert not marker.exists()
    pickle.loads(pickle.dumps(Evil(marker)))
    assert marker.exists(), "the command would have done it"


@pytest.mark.usefixtures("_torch_names")
@pytest.mark.parametrize(
    "layout", [(0, (3, 3), (3, 1)), (-1, (2,), (1,)), (0, (2,), (-1,)), (7, (1,), (1,))]
)
def test_a_tensor_that_reaches_outside_of_its_storage_is_refused(
    layout: tuple[Any, ...], tmp_path: Path
) -> None:
    storage = FloatStorage([1, 2, 3, 4, 5, 6, 7])
    path = tmp_path / "weights.pth"
    path.write_bytes(saved({"weight": Tensor(storage, *layout)}, storage))
    with pytest.raises(TrainerError, match="outside of its storage"):
        read_tensors(path)


@pytest.mark.usefixtures("_torch_names")
@pytest.mark.parametrize("length", [0, 1, 20, 60, 150, -1, -9, -27])
def test_a_file_that_is_cut_off_is_refused_in_words(length: int, tmp_path: Path) -> None:
    storage = FloatStorage([1, 2, 3, 4])
    path = tmp_path / "weights.pth"
    path.write_bytes(saved({"weight": Tensor(storage, 0, (4,), (1,))}, storage)[:length])
    with pytest.raises(TrainerError, match=r"weights.pth is not a PyTorch weights file"):
        read_tensors(path)


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"PK\x03\x04rest", "zip format of PyTorch 1.6"),
        (b"<html>not found</html>", "not a PyTorch weights file"),
        (pickle.dumps({"weight": 1}) * 5, "header"),
    ],
)
def test_a_file_of_another_format_is_refused_in_words(
    content: bytes, why: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(TrainerError, match=why):
        read_tensors(path)
