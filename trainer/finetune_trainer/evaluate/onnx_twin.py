"""The ONNX file of a model, compared with MXNet on every validation image."""

import logging
from pathlib import Path

import numpy as np

from finetune_trainer.evaluate.metrics import Floats, OnnxFile
from finetune_trainer.model.formats.onnx.export import OPSET, convert
from finetune_trainer.model.formats.onnx.session import Session
from finetune_trainer.model.network import Network, Preprocessing
from finetune_trainer.run import files

log = logging.getLogger(__name__)

TIE = 1e-4
"""Largest difference of two equal probabilities that is due to rounding alone."""


class Twin:
    """The ONNX file of a network, run on the same images as the network."""

    def __init__(self, path: Path, session: Session | None, result: OnnxFile) -> None:
        self._path, self._session = path, session
        self.result = result
        """The comparison so far."""

    @classmethod
    def of(
        cls, network: Network, path: Path, preprocessing: Preprocessing, *, threads: int
    ) -> "Twin":
        """Write the file. A network that cannot be converted has none; the model stays good."""
        path.unlink(missing_ok=True)
        try:
            model = convert(network, preprocessing)
            files.write_atomic(path, model.SerializeToString())
            return cls(path, Session(path, threads=threads), OnnxFile(opset=OPSET))
        except OSError:
            raise
        except Exception as error:
            log.warning("no ONNX file: the network cannot be converted: %s", error)
            return cls(
                path, None, OnnxFile(reason=f"the network cannot be converted: {error}"[:500])
            )

    def compare(self, data: Floats, expected: Floats) -> None:
        """Compare the answers for a batch with MXNet's, which are `expected`."""
        if self._session is None:
            return
        try:
            given = self._session.run(data).reshape(expected.shape)
        except Exception as error:  # onnxruntime fails, or the number of answers differs
            self._session = None
            self._path.unlink()
            reason = f"onnxruntime cannot run it: {error}"[:500]
            log.warning("no ONNX file: %s", reason)
            self.result = OnnxFile(reason=reason)
            return
        rows = np.arange(len(given))
        ours, theirs = expected.argmax(axis=1), given.argmax(axis=1)
        gap = expected[rows, ours] - expected[rows, theirs]
        before = self.result
        self.result = OnnxFile(
            opset=OPSET,
            images=before.images + len(given),
            differing=before.differing + int((ours != theirs).sum()),
            ties=before.ties + int(((ours != theirs) & (gap < TIE)).sum()),
            max_difference=max(before.max_difference, float(np.abs(given - expected).max())),
        )

    def conclude(self) -> OnnxFile:
        """Return the comparison; remove a file that classifies an image differently."""
        result = self.result
        if result.differing > result.ties:
            self._path.unlink()
            reason = f"it names another class for {result.differing} of {result.images} images"
            log.warning("no ONNX file: %s", reason)
            return OnnxFile(reason=reason)
        return result
