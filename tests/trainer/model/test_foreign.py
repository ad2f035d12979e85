"""Files that people take for weights are named, with the way to a file that can be read."""

from pathlib import Path

import pytest
from finetune_trainer.contract import ExitCode
from finetune_trainer.model.formats.foreign import explain, foreign
from finetune_trainer.model.formats.table import recognise

from tests.trainer.support import onnx_files

FILES = {
    "page.pth": (b"<!DOCTYPE html>", "a web page", "/resolve/"),
    "page.bin": (b"\n <html>", "a web page", "/resolve/"),
    "pointer.pth": (b"version https://git-lfs.github.com", "Git LFS", "git lfs pull"),
    "net.h5": (b"\x89HDF\r\n\x1a\n", "HDF5", "--saved-model FOLDER"),
    "net.tflite": (b"\x1c\0\0\0TFL3", "TensorFlow Lite", "--tflite FILE"),
    "saved_model.pb": (b"\x08\x01\x12\x9a", "TensorFlow", "--saved-model FOLDER"),
    "frozen.pb": (b"\n\x1c\n\x05input", "TensorFlow", "--saved-model FOLDER"),
    "net.npz": (b"PK\x03\x04", "numpy arrays", "safetensors.numpy.save_file"),
    "net.keras": (b"PK\x03\x04", "a Keras model", "--saved-model FOLDER"),
    "model.safetensors.index.json": (b'{"weight_map": {}}', "the list of", "save_file"),
    "state.pkl": (b"\x80\x04\x95", "a pickle that torch.save did not write", "torch.save("),
    "empty.pth": (b"", "is empty", "download it again"),
    "other.pth": (b"12345", "begins with b'12345'", "download it again"),
}


@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_no_model_is_named_with_a_remedy(name: str, tmp_path: Path) -> None:
    content, kind, remedy = FILES[name]
    (tmp_path / name).write_bytes(content)
    error = explain(tmp_path / name, field="model.source")
    assert error.code == ExitCode.InvalidData
    assert error.message.startswith(f"model.source: {name} ")
    assert kind in error.message
    assert remedy in error.hint


def test_an_onnx_file_may_end_in_pb(tmp_path: Path) -> None:
    path = tmp_path / "model.pb"
    path.write_bytes(onnx_files.relu_classifier())
    assert foreign(path) is None
    assert recognise(path) == "onnx"
