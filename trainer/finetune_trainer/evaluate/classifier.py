"""A model's directory as a classifier: pictures in, probabilities out."""

import dataclasses
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import Literal

import msgspec
import numpy as np

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.photo import Encoded, Packing, encode_photo
from finetune_trainer.dataset.preprocessing import LABELS, PREPROCESSING, Preprocessing
from finetune_trainer.dataset.stored_size import stored_size
from finetune_trainer.evaluate.metrics import Floats
from finetune_trainer.run import files

Format = Literal["auto", "mxnet", "onnx"]
FILES = {"onnx": "model.onnx", "mxnet": "model-symbol.json"}
_PACKAGES = {"onnx": "onnxruntime", "mxnet": "mxnet"}
BATCH_SIZE = 32

Photo = tuple[Path, int | None]
"""A file and None, or a record file and the byte at which the record begins."""


@dataclasses.dataclass(frozen=True)
class Classifier:
    """A fitted model that classifies pictures."""

    labels: tuple[str, ...]
    preprocessing: Preprocessing
    probabilities: Callable[[Floats], Floats]
    """Function from normalised pixels [N,3,S,S] to probabilities [N,classes]."""
    threads: int

    def classify(self, photos: Sequence[Photo]) -> Iterator[tuple[Encoded, Floats]]:
        """Yield each picture as it would be packed, and its probabilities: an empty array for a
        picture that cannot be read.
        """
        with ThreadPoolExecutor(self.threads) as pool:
            # One batch at a time is read: there may be thousands of photos.
            remaining = iter(photos)
            while batch := list(islice(remaining, BATCH_SIZE)):
                pictures = list(pool.map(self.read, batch))
                good = [self.preprocessing.centre_of(p.jpeg) for p in pictures if not p.reason]
                rows = iter(self.probabilities(np.stack(good)) if good else ())
                for picture in pictures:
                    yield picture, np.zeros(0, np.float32) if picture.reason else next(rows)

    def read(self, photo: Photo) -> Encoded:
        """Return the picture as it would be packed, or the reason why it is rejected."""
        path, offset = photo
        size = self.preprocessing.input_size
        short = max(size, self.preprocessing.resize_short or stored_size(size))
        packing = Packing(self.preprocessing.framing, short, self.preprocessing.jpeg_quality)
        return encode_photo(str(path), packing, offset=offset)


def open_classifier(directory: Path, *, kind: Format = "auto", threads: int) -> Classifier:
    """Open the directory of an exported model. `auto` prefers ONNX, which starts in a tenth of
    MXNet's time.
    """
    chosen = _choose(directory, kind)
    labels, preprocessing = _read(directory)
    run: Callable[[Floats], Floats]
    if chosen == "onnx":
        from finetune_trainer.model.formats.onnx.session import Session

        run = Session(directory / FILES["onnx"], threads=threads).run
    else:
        from finetune_trainer.evaluate.mxnet_classifier import load

        run = load(directory, preprocessing, batch_size=BATCH_SIZE)
    return Classifier(labels, preprocessing, run, threads)


def _choose(directory: Path, kind: Format) -> str:
    present = [name for name, file in FILES.items() if (directory / file).is_file()]
    wanted = [name for name in present if kind in ("auto", name)]
    if not wanted:
        needed = " or ".join(FILES[name] for name in FILES if kind in ("auto", name))
        raise TrainerError(
            ExitCode.InputNotFound,
            f"{directory} holds no {needed}",
            "Give the directory of a model, such as output/NAME/UID, with a manifest.json.",
        )
    usable = [name for name in wanted if importlib.util.find_spec(_PACKAGES[name])]
    if not usable:
        missing = " or ".join(_PACKAGES[name] for name in wanted)
        raise TrainerError(
            ExitCode.InputNotFound,
            f"the model needs the Python package {missing}, which is not installed",
            f"pip install {_PACKAGES[wanted[0]]}",
        )
    return usable[0]


def _read(directory: Path) -> tuple[tuple[str, ...], Preprocessing]:
    try:
        labels = (directory / LABELS).read_text(encoding="utf-8").splitlines()
        return tuple(labels), files.read_json(directory / PREPROCESSING, Preprocessing)
    except FileNotFoundError as error:
        raise TrainerError(
            ExitCode.InputNotFound,
            f"{error.filename} is missing",
            "Copy the whole directory of the model.",
        ) from error
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise TrainerError(
            ExitCode.InvalidData,
            f"{directory}: {LABELS} or {PREPROCESSING} cannot be read: {error}",
            "Copy the directory of the model again.",
        ) from error
