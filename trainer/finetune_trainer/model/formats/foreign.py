"""Files that people take for weights, by what they are, and the way from each to a file that can be
read. Imports no MXNet.
"""

import re
from pathlib import Path
from typing import NamedTuple

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.model.formats.table import FORMATS, first_bytes

_ONNX = "Convert it to ONNX: python -m tf2onnx.convert"
_WEIGHTS = ", ".join(sorted(frozenset().union(*(fmt.suffixes for fmt in FORMATS.values()))))


class Foreign(NamedTuple):
    """A kind of file that is no model of a known format."""

    magic: bytes
    """Regular expression of its first bytes, lower case."""
    kind: str
    hint: str
    suffixes: tuple[str, ...] = ("",)
    """Endings of its name."""


FOREIGN = (
    Foreign(
        rb"\s*<(!doctype|html|\?xml|!--)", "a web page, not the file itself",
        "Name the URI of the file itself: a browser shows what the URI gives. On GitHub that is "
        "the raw file, on Hugging Face the one with /resolve/.",
    ),
    Foreign(
        rb"version https://", "a pointer of Git LFS, not the file itself",
        "Run git lfs pull in its repository and copy the file, or name the URI by which it is "
        "downloaded.",
    ),
    Foreign(
        rb"\x89hdf", "an HDF5 file, as Keras writes it",
        f'{_ONNX} --saved-model FOLDER --output model.onnx, after model.export("FOLDER") in Keras.',
    ),
    Foreign(
        rb".{4}tfl3", "a model of TensorFlow Lite", f"{_ONNX} --tflite FILE --output model.onnx.",
    ),
    Foreign(
        rb"\n|\x08[\0-\2]", "a model of TensorFlow",
        f"{_ONNX} --saved-model FOLDER --output model.onnx.",
        (".pb", ".meta"),
    ),
    Foreign(
        rb"", "an archive of numpy arrays",
        "With the names and shapes of PyTorch: safetensors.numpy.save_file(dict(numpy.load(FILE)), "
        '"model.safetensors").',
        (".npz", ".npy"),
    ),
    Foreign(
        rb"pk", "a Keras model",
        f'{_ONNX} --saved-model FOLDER --output model.onnx, after model.export("FOLDER") in Keras.',
        (".keras",),
    ),
    Foreign(
        rb"\s*\{", "JSON, the list of the files that hold the weights",
        "Make one file of them: safetensors.torch.save_file({name: tensor for file in FILES for "
        "name, tensor in safetensors.torch.load_file(file).items()}, \"model.safetensors\").",
        (".index.json",),
    ),
    Foreign(
        rb"\x80[\x03-\x05]", "a pickle that torch.save did not write",
        "Load it where it was written and save its weights: torch.save(state_dict, FILE).",
    ),
)  # fmt: skip


def foreign(file: Path) -> Foreign | None:
    """Return the kind of a file that can never be read, or None."""
    start = first_bytes(file).lower()
    for kind in FOREIGN:
        if file.name.endswith(kind.suffixes) and re.match(kind.magic, start, re.DOTALL):
            return kind
    return None


def explain(file: Path, *, field: str) -> TrainerError:
    """Return the error for a file without a known format."""
    if kind := foreign(file):
        return TrainerError(ExitCode.InvalidData, f"{field}: {file.name} is {kind.kind}", kind.hint)
    if file.stat().st_size == 0:
        reason = "is empty"
    else:
        reason = f"has no format that is known: it begins with {first_bytes(file)!r}"
    return TrainerError(
        ExitCode.InvalidData,
        f"{field}: {file.name} {reason}",
        f"Give a file of the formats {_WEIGHTS}, or a folder with NAME-symbol.json and "
        "NAME-0000.params; if it should be one of these, copy or download it again.",
    )
