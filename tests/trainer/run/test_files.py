"""Files are whole or absent, even on a full disk."""

import contextlib
import errno
import os
from pathlib import Path

import mxnet as mx
import pytest
from finetune_trainer.contract import ExitCode
from finetune_trainer.model.network import load_params, save_params
from finetune_trainer.run.failure import explain
from finetune_trainer.run.files import whole_file, write_atomic


def test_a_failed_write_leaves_the_old_file_and_no_temporary_one(tmp_path: Path) -> None:
    path = tmp_path / "file"
    write_atomic(path, b"old")
    with contextlib.suppress(ZeroDivisionError), whole_file(path) as file:
        file.write(b"half of the n")
        raise ZeroDivisionError
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file"]


def test_parameters_are_written_as_mxnet_reads_them(tmp_path: Path) -> None:
    save_params({"w": mx.nd.arange(6).reshape((2, 3))}, {"m": mx.nd.ones(2)}, tmp_path / "params")
    args, aux = load_params(tmp_path / "params")
    assert args["w"].asnumpy().tolist() == [[0, 1, 2], [3, 4, 5]]
    assert list(aux) == ["m"]


@pytest.mark.parametrize("size", [1, 1_000_000])
def test_writing_parameters_to_a_full_disk_is_no_bug(size: int, tmp_path: Path) -> None:
    path = tmp_path / "params"
    path.symlink_to("/dev/full")
    with pytest.raises(OSError, match="No space left") as error:
        save_params({"w": mx.nd.ones(size)}, {}, path)
    assert explain(error.value).code == ExitCode.InputOutputError


@pytest.mark.parametrize(
    ("exception", "code"),
    [
        (OSError(errno.ESTALE, "Stale file handle", "/workspace/x"), ExitCode.InputOutputError),
        (OSError(errno.EIO, "Input/output error"), ExitCode.InputOutputError),
        (
            mx.MXNetError("cudaMalloc retry failed: out of memory"),
            ExitCode.DeviceOutOfMemory,
        ),
        (
            mx.MXNetError("CUDA: no kernel image is available for execution on the device"),
            ExitCode.UnsupportedHardware,
        ),
        (ValueError("out of memory"), ExitCode.InternalError),
    ],
)
def test_a_failure_has_the_code_of_its_cause(exception: Exception, code: ExitCode) -> None:
    error = explain(exception)
    assert error.code == code
    assert error.hint
