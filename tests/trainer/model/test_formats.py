"""The readers of weights files: exact, and no code of a pickle is run."""

import argparse
import collections
import importlib
import os
import pickle
import sys
import zipfile
from collections.abc import Callable
from datetime import datetime
from pathlib import Path, PurePosixPath
from typing import Any, get_args, get_type_hints

import numpy as np
import pytest
from finetune_trainer.contract import ExitCode, ModelSource, TrainerError
from finetune_trainer.model.formats import safetensors as safetensors_format
from finetune_trainer.model.formats.pytorch import decode, read_tensors
from finetune_trainer.model.formats.table import FORMATS

from tests.trainer.support.weight_files import (
    FloatStorage,
    Tensor,
    bare_pth,
    safetensors,
    zipped_pth,
)

WRITERS = pytest.mark.parametrize("saved", [bare_pth, zipped_pth])
Writer = Callable[..., bytes]


@WRITERS
def test_tensors_are_read_in_their_shape_whatever_their_memory_order(
    saved: Writer, tmp_path: Path
) -> None:
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


@WRITERS
def test_the_state_dict_is_taken_out_of_a_training_scripts_checkpoint(
    saved: Writer, tmp_path: Path
) -> None:
    weights, moments = FloatStorage([1, 2]), FloatStorage([7])
    checkpoint = {
        "epoch": 90,
        "optimizer": {"state": {0: Tensor(moments, 0, (1,), (1,))}, "lr": 0.1},
        "state_dict": {"module.fc.weight": Tensor(weights, 0, (2,), (1,))},
    }
    path = tmp_path / "weights.pth"
    path.write_bytes(saved(checkpoint, moments, weights))
    tensors = {name: t.tolist() for name, t in read_tensors(path).items()}
    assert tensors == {"state_dict.module.fc.weight": [1, 2]}


class Settings:
    """An object of a training script."""


@WRITERS
def test_what_a_training_script_saves_beside_the_weights_is_not_looked_at(
    saved: Writer, tmp_path: Path
) -> None:
    weights = FloatStorage([1, 2])
    checkpoint = {
        "args": argparse.Namespace(lr=0.1, out=PurePosixPath("/out")),
        "best": np.float64(91.2),
        "history": np.zeros(3),
        "saved": datetime(2020, 1, 1),
        "seen": {1, 2},
        "frozen": frozenset({"a"}),
        "settings": Settings(),
        "schedule": collections.Counter(a=1),
        "net": collections.defaultdict(None, {"weight": Tensor(weights, 0, (2,), (1,))}),
        "loss": [0.5, (0.25,)],
    }
    path = tmp_path / "weights.pth"
    path.write_bytes(saved(checkpoint, weights))
    assert {name: t.tolist() for name, t in read_tensors(path).items()} == {"net.weight": [1, 2]}


@WRITERS
def test_no_module_that_a_file_names_is_imported(
    saved: Writer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "imported_by_a_pickle.py").write_text("class Object: ...")
    monkeypatch.syspath_prepend(tmp_path)
    weights = FloatStorage([1, 2])
    kind = importlib.import_module("imported_by_a_pickle").Object
    content = saved({"object": kind(), "weight": Tensor(weights, 0, (2,), (1,))}, weights)
    monkeypatch.delitem(sys.modules, "imported_by_a_pickle")
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    assert list(read_tensors(path)) == ["weight"]
    assert "imported_by_a_pickle" not in sys.modules


def test_a_dict_that_holds_itself_is_read_once(tmp_path: Path) -> None:
    weights = FloatStorage([1, 2])
    state: dict[str, Any] = {"weight": Tensor(weights, 0, (2,), (1,))}
    state["again"] = state
    path = tmp_path / "weights.pth"
    path.write_bytes(zipped_pth(state, weights))
    assert list(read_tensors(path)) == ["weight"]


class Module:
    """An object that is pickled with its tensors, as a torch.nn.Module is."""

    def __init__(self, tensor: object) -> None:
        self.tensor = tensor


_WHOLE = "torch.save(torch.load(FILE, weights_only=False).state_dict(), NEW_FILE)"
_INNER = "torch.load(FILE, weights_only=False)['model'].state_dict()"


@pytest.mark.parametrize(
    ("wrap", "why", "remedy"),
    [
        (Module, r"whole pickled object of .*\.Module", _WHOLE),
        (lambda t: {"epoch": 1, "model": Module(t)}, "'model' is a pickled object", _INNER),
        (lambda t: t, "a single tensor without a name", "model.state_dict()"),
        (lambda t: {"state": {0: {"momentum": t}}}, "no tensors with names", "model.state_dict()"),
    ],
)
def test_a_file_without_a_state_dict_is_refused_with_the_way_to_one(
    wrap: Callable[[Any], Any], why: str, remedy: str, tmp_path: Path
) -> None:
    weights = FloatStorage([1, 2])
    path = tmp_path / "weights.pth"
    path.write_bytes(zipped_pth(wrap(Tensor(weights, 0, (2,), (1,))), weights))
    with pytest.raises(TrainerError, match=why) as error:
        read_tensors(path)
    assert remedy in error.value.hint


def test_a_torchscript_archive_is_refused_by_its_name(tmp_path: Path) -> None:
    path = tmp_path / "scripted.pt"
    path.write_bytes(zipped_pth({}, compression=zipfile.ZIP_STORED, **{"constants.pkl": b""}))
    with pytest.raises(TrainerError, match="a TorchScript archive") as error:
        read_tensors(path)
    assert "torch.jit.load(FILE).state_dict()" in error.value.hint


class Malicious:
    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.path}",)


@WRITERS
@pytest.mark.parametrize("hide", [lambda command: command, lambda command: {"weight": [command]}])
def test_a_file_that_wants_to_run_a_command_is_refused_before_it_can(
    hide: Any, saved: Writer, tmp_path: Path
) -> None:
    path, marker = tmp_path / "malicious.pth", tmp_path / "was-run"
    path.write_bytes(saved(hide(Malicious(marker))))
    with pytest.raises(TrainerError, match=r"malicious.pth .* it names posix.system") as error:
        read_tensors(path)
    assert error.value.code == ExitCode.InvalidData
    assert "safetensors" in error.value.hint
    assert not marker.exists()
    pickle.loads(pickle.dumps(Malicious(marker)))
    assert marker.exists(), "the command would have done it"


@WRITERS
@pytest.mark.parametrize(
    "layout",
    [(0, (3, 3), (3, 1)), (-1, (2,), (1,)), (0, (2,), (-1,)), (7, (1,), (1,)), (0, (9,), (0,))],
)
def test_a_tensor_that_reaches_outside_of_its_storage_is_refused(
    layout: tuple[Any, ...], saved: Writer, tmp_path: Path
) -> None:
    storage = FloatStorage([1, 2, 3, 4, 5, 6, 7])
    path = tmp_path / "weights.pth"
    path.write_bytes(saved({"weight": Tensor(storage, *layout)}, storage))
    with pytest.raises(TrainerError, match=r"outside of its storage|larger than its storage"):
        read_tensors(path)


@WRITERS
@pytest.mark.parametrize("length", [0, 1, 20, 60, 150, -1, -9, -27])
def test_a_file_that_is_cut_off_is_refused_in_words(
    length: int, saved: Writer, tmp_path: Path
) -> None:
    storage = FloatStorage([1, 2, 3, 4])
    path = tmp_path / "weights.pth"
    path.write_bytes(saved({"weight": Tensor(storage, 0, (4,), (1,))}, storage)[:length])
    with pytest.raises(TrainerError, match=r"weights.pth is not a PyTorch weights file") as error:
        read_tensors(path)
    assert error.value.code == ExitCode.InvalidData


def test_a_changed_byte_of_a_zip_is_noticed(tmp_path: Path) -> None:
    storage = FloatStorage([1, 2, 3, 4])
    content = bytearray(zipped_pth({"weight": Tensor(storage, 0, (4,), (1,))}, storage))
    content[content.index(storage.values.tobytes())] ^= 1
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(TrainerError, match="Bad CRC"):
        read_tensors(path)


_STORAGE = FloatStorage([1])
_STATE = {"weight": Tensor(_STORAGE, 0, (1,), (1,))}


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (b"PK\x03\x04rest", "not a zip file"),
        (b"<html>not found</html>", "not a PyTorch weights file"),
        (pickle.dumps({"weight": 1}) * 5, "header"),
        (bare_pth({"weight": 1}), "no tensors with names"),
        (zipped_pth({}), "not a plain state dict"),
        (zipped_pth(_STATE, _STORAGE, byteorder=b"big"), "big-endian"),
        (zipped_pth(_STATE, _STORAGE, compression=zipfile.ZIP_DEFLATED), "compressed zip"),
        (zipped_pth(_STATE), "no item named"),
    ],
)
def test_a_file_of_another_format_is_refused_with_a_reason(
    content: bytes, why: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.pth"
    path.write_bytes(content)
    with pytest.raises(TrainerError, match=why):
        read_tensors(path)


def test_bfloat16_is_the_upper_half_of_float32() -> None:
    values = np.array([1.0, -2.5, 0.15625], "<f4")
    halves = (values.view("<u4") >> 16).astype("<u2").tobytes()
    assert decode(halves, "bfloat16").tolist() == values.tolist()


def test_safetensors_are_read_as_they_were_written(tmp_path: Path) -> None:
    tensors = {
        "rows": np.arange(6).reshape(2, 3),
        "scalar": np.float32(7),
        "none": np.zeros((0, 2)),
    }
    path = tmp_path / "weights.safetensors"
    path.write_bytes(safetensors(tensors))
    read = safetensors_format.read_tensors(path)
    assert {n: t.tolist() for n, t in read.items()} == {n: t.tolist() for n, t in tensors.items()}


_GOOD = safetensors({"weight": np.zeros((2, 2))})


@pytest.mark.parametrize(
    ("content", "why"),
    [
        (_GOOD[:-1], "it ends before weight does"),
        (_GOOD[:40], "not a safetensors file"),
        (b"", "not a safetensors file"),
        (b"\xff" * 100, "header would have"),
        (b"<html>not found</html>", "header would have"),
        (safetensors({"weight": np.zeros(4)}, dtype="F8_E4M3"), "of the unknown type F8_E4M3"),
        (safetensors({"weight": np.zeros(4)}, shape=[5]), "which is not its shape"),
        (safetensors({"weight": np.zeros(4)}, shape=[-2, -2]), "which is not its shape"),
        (safetensors({"weight": np.zeros(4)}, data_offsets=[-16, 0]), "it ends before"),
        (safetensors({"weight": np.zeros(4)}, data_offsets="x"), "not a safetensors file"),
        ((2).to_bytes(8, "little") + b"[]", "not a safetensors file"),
        ((14).to_bytes(8, "little") + b'{"weight": {}}', "no 'dtype'"),
    ],
)
def test_a_damaged_safetensors_file_is_refused_with_a_reason(
    content: bytes, why: str, tmp_path: Path
) -> None:
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(TrainerError, match=why) as error:
        safetensors_format.read_tensors(path)
    assert error.value.code == ExitCode.InvalidData


def test_the_table_has_every_format_of_the_spec() -> None:
    assert {"auto", *FORMATS} == set(get_args(get_type_hints(ModelSource)["format"]))
