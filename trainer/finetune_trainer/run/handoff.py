"""The files by which one stage hands its work to the next, in the job's directory."""

from finetune_trainer.contract import (
    CheckpointStatus,
    DatasetStatus,
    Framing,
    ModelStatus,
    OutputStatus,
    Struct,
)

FETCHED = "fetched.json"
PACKED = "packed.json"
BUILT = "built.json"
FITTED = "fitted.json"
EVALUATION = "evaluation.json"
"""evaluate.metrics.Evaluation: all figures, for the output, its report and the result."""
MODEL_ONNX = "model.onnx"
"""The fitted network for onnxruntime; evaluation.json says whether it is any good."""
EXPORTED = "exported.json"
RESULT = "result.json"
"""contract.Result with the job's ids; an attempt that finds it re-emits it and exits 0."""
OWNER = "owner"
"""Pod uid of the attempt that may write here; checked before each rename."""


class Fetched(Struct):
    """fetch -> prepare: local directories that hold the images (read-only).

    For a key that finds a packed data set again: a version, where there is one, stands for the
    path, size and content of every file (S3: path, size and ETag; an archive: its sha256 or ETag).
    Without one, stat the files. Files from S3 have the object's size and LastModified, so that
    their stat is the same after each download; files of an archive have the time of unpacking.
    """

    train: str
    validation: str | None = None
    train_version: str | None = None
    validation_version: str | None = None


class Packed(Struct):
    """prepare -> all: a packed data set, complete and verified.

    `directory` holds train.rec, train.idx, val.rec, val.idx and dataset.lock.json. Records are
    JPEG of RGB as `framing` and `Image.resize_short` say; label = index into `classes`.
    """

    directory: str
    classes: tuple[str, ...]
    framing: Framing
    status: DatasetStatus


class Built(Struct):
    """model -> fit: the pretrained network with its new head.

    `directory` holds `symbol.json` (data [N,3,S,S] float32 normalised RGB -> SoftmaxOutput named
    `softmax` on FullyConnected `fc1`) and `model.params` (pretrained arg:/aux: entries, without
    the new head's). `features` names the symbol's internal output that feeds the head.
    """

    directory: str
    features: str
    input_size: int
    mean: tuple[float, float, float]
    """Of R, G, B in 0..255."""
    std: tuple[float, float, float]
    status: ModelStatus


class Fitted(Struct):
    """fit -> evaluate: the model that is reported.

    `directory` (job/best) holds symbol.json, model.params, labels.txt and preprocessing.json.
    """

    directory: str
    recipe: str
    epochs: int
    checkpoint: CheckpointStatus | None = None
    """The newest, which is of this model."""
    reason: str = ""
    """Why this recipe ran, for people."""
    settings: dict[str, str] = {}
    """The recipe's numbers by name, for people."""


class Exported(Struct):
    """export -> report: where the model was written; None without an output."""

    status: OutputStatus | None = None
