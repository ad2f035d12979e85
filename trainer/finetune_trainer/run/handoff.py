"""The files in the job's directory by which a stage hands its work on to later stages."""

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
"""The fitted network for onnxruntime; evaluation.json compares it with MXNet's."""
EXPORTED = "exported.json"
RECORD = "job.json"
"""JobRecord; written once, when the job's first attempt begins."""
LOCAL = "local.json"
"""Record of a local run, which no cluster knows."""
RESULT = "result.json"
"""contract.Result; an attempt that finds it reports it again and exits 0."""
OWNER = "owner"
"""Pod uid of the attempt that may write in the directory; checked before each rename."""


class JobRecord(Struct):
    """The job that a directory of the workspace belongs to: its name is the job's uid alone."""

    namespace: str
    name: str


class Fetched(Struct):
    """fetch -> prepare: local directories that hold the images (read-only).

    A version identifies the path, size and content of every file (S3: path, size and ETag; an
    archive: its sha256 or ETag). It goes into the key by which a packed data set is found again;
    without a version, the files' stat does. Files from S3 have the object's size and LastModified,
    so that their stat is the same after each download; files of an archive have the time of
    unpacking.
    """

    train: str
    validation: str | None = None
    train_version: str | None = None
    validation_version: str | None = None
    warnings: tuple[str, ...] = ()
    """Sentences for the user about what was fetched."""
    input_size: int | None = None
    """Height and width of the network's images, in pixels; None if the photos are packed without a
    network."""


class Packed(Struct):
    """prepare -> all: a packed data set, complete and verified.

    `directory` holds train.rec, train.idx, val.rec, val.idx and dataset.lock.json. Records are
    JPEG of RGB as `framing` and `resize_short` say; label = index into `classes`.
    """

    directory: str
    classes: tuple[str, ...]
    framing: Framing
    resize_short: int
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
    """Mean of R, G, B in 0..255."""
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
    """The newest checkpoint, which belongs to this model."""
    reason: str = ""
    """Human-readable reason why this recipe ran."""
    settings: dict[str, str] = {}
    """Human-readable settings of the recipe by name."""


class Exported(Struct):
    """export -> report: where the model was written; None without an output."""

    status: OutputStatus | None = None
