"""Runs an ONNX file with onnxruntime. Imports no MXNet."""

from pathlib import Path

import numpy as np
import onnxruntime
from numpy.typing import NDArray

from finetune_trainer.contract import ExitCode, TrainerError


class Session:
    """A loaded classifier, which returns probabilities."""

    def __init__(self, path: Path, *, threads: int) -> None:
        try:
            self._session = open_session(path, threads=threads)
        except Exception as error:  # onnxruntime has a dozen types without a common base
            raise TrainerError(
                ExitCode.InvalidData,
                f"{path} cannot be read: {error}",
                "Copy the model again; manifest.json has the digests.",
            ) from error
        (self._input,) = (value.name for value in self._session.get_inputs())

    def run(self, data: NDArray[np.float32]) -> NDArray[np.float32]:
        """Return the probabilities [N,classes] of normalised images [N,3,S,S]."""
        (probabilities,) = self._session.run(None, {self._input: data})
        return np.asarray(probabilities, dtype=np.float32)


def open_session(model: Path | bytes, *, threads: int) -> onnxruntime.InferenceSession:
    """Load a file or its content; raises one of onnxruntime's own errors."""
    onnxruntime.set_default_logger_severity(3)  # no warnings about GPUs that a container lacks
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads  # its default ignores cgroup quotas
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
