"""The trainer contract: the job it is given, what it reports while it runs, and how it ends.

The types of `model`, `dataset`, `training` and `output` are also the source of that half of the
FineTuneJob CRD (bounds and rules are in the metadata). Imports no MXNet: the supervisor, the CLI
and the CRD generator all read this module.
"""

import enum
from typing import Annotated, ClassVar, Literal, dataclass_transform

import msgspec
from msgspec import Meta

Decimal = Annotated[
    str,
    Meta(
        pattern=r"^[0-9]{1,9}(\.[0-9]{1,9})?$",
        max_length=19,
        extra={
            "cel": (
                (
                    r"self.matches('^[0-9]{1,9}(\\.[0-9]{1,9})?$')",
                    'must be a decimal number in quotes, such as "0.01"',
                ),
            )
        },
    ),
]
Fraction = Annotated[
    str,
    Meta(
        pattern=r"^(0(\.[0-9]{1,9})?|1(\.0{1,9})?)$",
        max_length=11,
        extra={
            "cel": (
                (
                    r"self.matches('^(0(\\.[0-9]{1,9})?|1(\\.0{1,9})?)$')",
                    'must be a decimal number from 0 to 1 in quotes, such as "0.8"',
                ),
            )
        },
    ),
]
Sha256 = Annotated[
    str,
    Meta(
        pattern=r"^[0-9a-f]{64}$",
        max_length=64,
        extra={
            "cel": (("self.matches('^[0-9a-f]{64}$')", "must be 64 lower-case hex digits"),),
        },
    ),
]
Rules = tuple[tuple[str, str], ...]
"""CEL rules of the CRD, each with the message the user reads."""
_SUBDOMAIN = "[a-z0-9]([-a-z0-9]*[a-z0-9])?([.][a-z0-9]([-a-z0-9]*[a-z0-9])?)*"
_CLAIM = f"pvc://{_SUBDOMAIN}(/.*)?"
_ARCHIVE = "https?://[^/].*"
_BUCKET = "s3://[a-z0-9][-.a-z0-9]{1,61}[a-z0-9](/.*)?"
Uri = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=1024,
        extra={
            "cel": (
                (
                    "!self.matches('(^|/)[.][.](/|$)')",
                    "must not contain '..': name the folder itself",
                ),
                (
                    "!self.matches('[[:cntrl:]]')",
                    "must not contain line breaks or other control characters: remove them",
                ),
            )
        },
    ),
]


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Struct(msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True):
    """A frozen value with camelCase field names on the wire, as Kubernetes has them."""


class SecretRef(Struct, forbid_unknown_fields=True):
    """A Secret in the job's namespace."""

    name: Annotated[
        str,
        Meta(
            min_length=1,
            max_length=253,
            extra={
                "cel": (
                    (
                        f"self.matches('^{_SUBDOMAIN}$')",
                        "must be the name of a Secret: lower-case letters, digits, '-' and '.'",
                    ),
                )
            },
        ),
    ]
    """Name of the Secret."""


def _source_rules(what: str) -> Rules:
    return (
        (
            f"self.uri.matches('^({_CLAIM}|{_ARCHIVE}|{_BUCKET}|file://.*)$')",
            "uri must be pvc://CLAIM/PATH with the name of a PersistentVolumeClaim, "
            f"s3://BUCKET/PREFIX, or {what}",
        ),
        (
            "!self.uri.startsWith('file://')",
            "uri is file://, which is for local runs: put the files into a claim and write "
            "pvc://CLAIM/PATH",
        ),
        (
            "!self.uri.startsWith('http://') || has(self.sha256)",
            "uri is http://, which can be tampered with: use https://, or set sha256",
        ),
        (
            "!self.uri.matches('^https?://[^/]*@')",
            "uri must not contain a password: put USERNAME and PASSWORD into a Secret and name it "
            "in secretRef",
        ),
        (
            "!has(self.secretRef) || self.uri.matches('^(https|s3)://')",
            "secretRef is for https:// and s3:// only: remove it",
        ),
    )


class Source(Struct, forbid_unknown_fields=True):
    """Where files come from."""

    uri: Uri
    """`pvc://CLAIM/PATH`, `s3://BUCKET/PREFIX`, or `https://` of a .tar, .tar.gz, .tar.zst or .zip
    archive. `http://` needs sha256; `file://` is for local runs."""
    sha256: Sha256 | None = None
    """Digest of the file that the URI names; checked before it is used."""
    secret_ref: SecretRef | None = None
    """Secret with TOKEN, or USERNAME and PASSWORD, for an `https://` source; with
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where needed, AWS_SESSION_TOKEN, AWS_REGION and
    AWS_ENDPOINT_URL for an `s3://` source."""

    cel: ClassVar[Rules] = _source_rules("https:// of an archive")


CatalogueName = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=63,
        extra={
            "cel": (
                (
                    "self.matches('^[a-z0-9]([-a-z0-9._]*[a-z0-9])?$')",
                    "must be an entry of the model catalogue, such as efficientnet-lite0",
                ),
            )
        },
    ),
]


class ModelSource(Source, forbid_unknown_fields=True):
    """A pretrained network of one's own."""

    uri: Uri
    """`pvc://CLAIM/PATH`, `s3://BUCKET/KEY` or `https://`: a weights file; or a folder, or an
    archive of one, with NAME-symbol.json and NAME-0000.params. `http://` needs sha256; `file://`
    is for local runs."""
    sha256: Sha256 | None = None
    """Digest of the file that the URI names; checked before it is used."""
    secret_ref: SecretRef | None = None
    """Secret with TOKEN, or USERNAME and PASSWORD, for an `https://` source; with
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where needed, AWS_SESSION_TOKEN, AWS_REGION and
    AWS_ENDPOINT_URL for an `s3://` source."""
    format: Literal["auto", "mxnet", "torch", "safetensors"] = "auto"
    """mxnet: a symbol with its parameters. torch: a state dict saved by torch.save; no code in it
    is run. safetensors: a state dict. auto: told by the content."""
    architecture: CatalogueName | None = None
    """Network that a state dict is of, as the model catalogue calls it, such as resnet-50."""

    cel: ClassVar[Rules] = (
        *_source_rules("https:// of a weights file or an archive"),
        (
            "!has(self.architecture) || !has(self.format) || self.format != 'mxnet'",
            "a symbol says what network it is: remove architecture",
        ),
        (
            "has(self.architecture) || !has(self.format) || self.format in ['auto', 'mxnet']",
            "weights alone do not say what network they are of: set architecture, such as "
            "resnet-50",
        ),
    )


Rgb = Annotated[tuple[Decimal, ...], Meta(min_length=3, max_length=3)]


class Normalization(Struct, forbid_unknown_fields=True):
    """What the network was trained with: it sees (pixel - mean) / std."""

    mean: Rgb
    """Of R, G and B, of pixels from 0 to 255."""
    std: Rgb
    """Of R, G and B, of pixels from 0 to 255."""

    cel: ClassVar[Rules] = (
        (
            "self.mean.all(x, !x.matches('^0*[.]0*[1-9]'))",
            "mean must be of pixels from 0 to 255: multiply one of pixels from 0 to 1, such as "
            "0.485, by 255",
        ),
        (
            "self.std.all(x, x.matches('^0*[1-9]'))",
            "std must be of pixels from 0 to 255, at least 1: multiply one of pixels from 0 to 1, "
            "such as 0.229, by 255",
        ),
    )


class Model(Struct, forbid_unknown_fields=True):
    """The pretrained network whose last layer is replaced."""

    name: CatalogueName | None = None
    """Entry of the trainer's model catalogue."""
    source: ModelSource | None = None
    """A network that is not in the catalogue."""
    replace_after: Annotated[str, Meta(min_length=1, max_length=253)] | None = None
    """Last layer that is kept; all behind it is replaced. Default: the layer before the last one
    with weights, found from the network's output."""
    input_size: Annotated[int, Meta(ge=32, le=1024)] | None = None
    """Height and width of the images it takes, in pixels. Default: the catalogue's or the
    symbol's, else 224."""
    normalization: Normalization | None = None
    """How pixels are scaled before the network sees them. Default: the catalogue's."""

    cel: ClassVar[Rules] = (
        (
            "has(self.name) != has(self.source)",
            "set exactly one of name, of the model catalogue, such as efficientnet-lite0, and "
            "source, a network of your own",
        ),
        (
            "!has(self.source) || has(self.normalization)",
            "set normalization: mean and std of R, G and B, from 0 to 255, that the network of "
            "source was trained with",
        ),
    )


class Split(Struct, forbid_unknown_fields=True):
    """How validation images are set apart: stratified by class and seeded. At most one of
    trainPerClass and trainFraction."""

    train_per_class: Annotated[int, Meta(ge=1, le=1000000)] | None = None
    """Images of each class that train; the rest of the class validates."""
    train_fraction: Fraction | None = None
    """Part of each class that trains, between 0 and 1."""
    seed: Annotated[int, Meta(ge=0, le=2147483647)] = 0
    """Same seed, same pictures: same split, on every machine."""

    cel: ClassVar[Rules] = (
        (
            "!(has(self.trainPerClass) && has(self.trainFraction))",
            "set trainPerClass or trainFraction, not both",
        ),
        (
            "!has(self.trainFraction) || self.trainFraction.matches('^0[.]0*[1-9]')",
            "trainFraction must be above 0 and below 1: else a side of the split is empty",
        ),
    )


class Image(Struct, forbid_unknown_fields=True):
    """How images are stored in the packed data set."""

    resize_short: Annotated[int, Meta(ge=32, le=4096)] = 256
    """Length of the shorter side after resizing, in pixels."""
    jpeg_quality: Annotated[int, Meta(ge=1, le=100)] = 90
    """Quality of the stored JPEG."""


class BadImages(Struct, forbid_unknown_fields=True):
    """What happens to files that are not readable images."""

    policy: Literal["Skip", "Fail"] = "Skip"
    """Skip leaves them out and names them in the result; Fail ends the job at the first one."""
    max_fraction: Fraction = "0.05"
    """With Skip: the job fails if more than this part of all images is unreadable."""


_COLUMN = Annotated[str, Meta(min_length=1, max_length=253)]


class Csv(Struct, forbid_unknown_fields=True):
    """A list of photos and their classes; what is not set is found by name."""

    file: (
        Annotated[
            str,
            Meta(
                min_length=1,
                max_length=253,
                extra={
                    "cel": (
                        (
                            "!self.startsWith('/') && !self.matches('(^|/)[.][.](/|$)')",
                            "must be a path within the source, such as labels.csv",
                        ),
                    )
                },
            ),
        ]
        | None
    ) = None
    """Path of the list within the source. Default: its only .csv, or train.csv and val.csv."""
    path_column: _COLUMN | None = None
    """Column with the paths of the photos, relative to the list or to the source. Default: found
    by usual names, such as path, file or image."""
    label_column: _COLUMN | None = None
    """Column with the classes. Default: found by usual names, such as label, class or category."""


class Dataset(Struct, forbid_unknown_fields=True):
    """The photos and their classes."""

    source: Source
    """Folder, or archive of a folder, in one of the layouts."""
    validation_source: Source | None = None
    """Images that validate, of the same classes; then nothing is split off."""
    layout: Literal["Auto", "Folder", "Split", "Csv", "Lst", "RecordIO"] = "Auto"
    """Folder: one folder for each class. Split: such folders below train/ and val/. Csv: a list of
    paths and labels. Lst: im2rec's list. RecordIO: packed by im2rec. Auto: found out. A file
    classes.txt may name the classes, one a line, in the order of the labels."""
    csv: Csv | None = None
    """How to read the list of the layout Csv."""
    split: Split = msgspec.field(default_factory=Split)
    """How validation images are chosen. Default: trainFraction 0.8."""
    image: Image = msgspec.field(default_factory=Image)
    """How images are stored."""
    bad_images: BadImages = msgspec.field(default_factory=BadImages)
    """What to do with unreadable files."""
    prepare: Literal["Auto", "Separate", "Inline"] = "Auto"
    """Where the photos are packed. Separate: in a Job of its own without GPUs, and only then is
    the training Job made, so that no GPU waits for it; needs a workspace. Inline: in the training
    pod. Auto: Separate if there are GPUs and a workspace, else Inline."""

    cel: ClassVar[Rules] = (
        (
            "!has(self.validationSource) || !has(self.split) || "
            "!(has(self.split.trainPerClass) || has(self.split.trainFraction))",
            "with validationSource nothing is split off: remove split.trainPerClass and "
            "split.trainFraction, or validationSource",
        ),
        (
            "!has(self.layout) || self.layout != 'Split' || !(has(self.validationSource) || "
            "has(self.split) && (has(self.split.trainPerClass) || has(self.split.trainFraction)))",
            "the layout Split has a side that validates: remove validationSource, "
            "split.trainPerClass and split.trainFraction",
        ),
        (
            "!has(self.csv) || !has(self.layout) || self.layout in ['Auto', 'Csv']",
            "csv is for the layout Csv: remove it, or set layout to Csv",
        ),
    )


_Beta = Annotated[
    Fraction, Meta(extra={"cel": (("!self.matches('^1')", 'must be below 1, such as "0.9"'),)})
]


class Optimizer(Struct, forbid_unknown_fields=True):
    """The optimizer; what is not set is the recipe's."""

    name: Literal["sgd", "nag", "adam", "adamw", "rmsprop", "lamb"] | None = None
    """MXNet's name of the optimizer."""
    learning_rate: (
        Annotated[
            Decimal,
            Meta(extra={"cel": (("self.matches('[1-9]')", 'must be above 0, such as "0.01"'),)}),
        ]
        | None
    ) = None
    """Learning rate."""
    momentum: (
        Annotated[
            Decimal,
            Meta(extra={"cel": (("!self.matches('^0*[1-9]')", 'must be below 1, such as "0.9"'),)}),
        ]
        | None
    ) = None
    """Momentum of sgd and nag."""
    weight_decay: Decimal | None = None
    """Weight decay (MXNet's wd)."""
    beta1: _Beta | None = None
    """Decay of the mean of the gradients, of adam, adamw and lamb."""
    beta2: _Beta | None = None
    """Decay of the mean of their squares, of adam, adamw and lamb."""
    epsilon: Decimal | None = None
    """What keeps adam, adamw, rmsprop and lamb from dividing by zero."""

    cel: ClassVar[Rules] = (
        (
            "!has(self.momentum) || !has(self.name) || self.name in ['sgd', 'nag']",
            "momentum is of sgd and nag: remove it, or choose one of them",
        ),
        (
            "!(has(self.beta1) || has(self.beta2)) || !has(self.name) ||"
            " self.name in ['adam', 'adamw', 'lamb']",
            "beta1 and beta2 are of adam, adamw and lamb: remove them, or choose one of these",
        ),
        (
            "!has(self.epsilon) || !has(self.name) || !(self.name in ['sgd', 'nag'])",
            "epsilon is not of sgd and nag: remove it",
        ),
    )


class Schedule(Struct, forbid_unknown_fields=True):
    """How the learning rate changes during the fit; what is not set is the recipe's."""

    name: Literal["constant", "step", "cosine", "onecycle"] | None = None
    """constant; step: multiplied by `factor` after each of `stepEpochs`; cosine: down to zero;
    onecycle: up for three tenths of the fit, then down to zero."""
    warmup_epochs: Decimal | None = None
    """Epochs, or a part of one, in which the rate rises from zero before that."""
    step_epochs: Annotated[
        tuple[Annotated[int, Meta(ge=1, le=1000)], ...], Meta(max_length=20)
    ] = ()
    """Epochs done at which `step` lowers the rate."""
    factor: Fraction | None = None
    """What `step` multiplies the rate by; 0.1 if it is not set."""

    cel: ClassVar[Rules] = (
        (
            "(has(self.name) && self.name == 'step') == has(self.stepEpochs)",
            "stepEpochs and the name step belong together: set both, or neither",
        ),
        (
            "!has(self.factor) || has(self.stepEpochs)",
            "factor is of the name step: remove it, or set stepEpochs",
        ),
    )


SAGEMAKER = (
    *("epochs", "mini_batch_size", "augmentation_type", "optimizer", "learning_rate", "momentum"),
    *("weight_decay", "beta_1", "beta_2", "eps", "lr_scheduler_step", "lr_scheduler_factor"),
    *("num_classes", "num_training_samples", "checkpoint_frequency", "kv_store", "top_k"),
    *("use_pretrained_model", "multi_label", "use_weighted_loss", "precision_dtype"),
    "early_stopping",
)
"""Names of SageMaker's hyperparameters that are taken over, or needless at one value."""


class Training(Struct, forbid_unknown_fields=True):
    """How the network is fitted; what is not set is the recipe's."""

    recipe: Literal["auto", "tutorial", "features", "full"] = "auto"
    """auto picks for the hardware and the data; tutorial repeats MXNet's fine-tuning tutorial
    number by number; features computes the trunk's features once and trains the head on them;
    full trains all layers from there, the pretrained ones more slowly."""
    epochs: Annotated[int, Meta(ge=1, le=1000)] | None = None
    """Passes over the training images."""
    batch_size_per_device: Annotated[int, Meta(ge=1, le=4096)] | None = None
    """Images of one step on one GPU; without GPUs the machine is one device."""
    seed: Annotated[int, Meta(ge=0, le=2147483647)] = 0
    """Seed of initialisation, order and augmentation."""
    optimizer: Optimizer = msgspec.field(default_factory=Optimizer)
    """The optimizer."""
    schedule: Schedule = msgspec.field(default_factory=Schedule)
    """How the learning rate changes."""
    augmentation: Literal["none", "crop", "color", "strong"] | None = None
    """How much training images are changed each time: none; crop: a random place, mirrored or not;
    color: and other light; strong: and another size, shape and angle. Of recipes that train on
    images."""
    label_smoothing: Fraction | None = None
    """Share of each target that is spread over all classes, such as "0.1"."""
    mixup: Fraction | None = None
    """alpha of the Beta distribution that two images are mixed by, such as "0.2"."""
    class_weights: Literal["none", "balanced"] = "none"
    """balanced: every class counts alike, however many images it has."""
    hyperparameters: Annotated[
        dict[str, Annotated[str, Meta(max_length=64)]],
        Meta(
            max_length=len(SAGEMAKER),
            extra={
                "cel": (
                    (
                        f"self.all(name, name in {list(SAGEMAKER)})",
                        "names must be those of SageMaker's Image Classification that are known"
                        " here: see docs/training.md",
                    ),
                )
            },
        ),
    ] = msgspec.field(default_factory=dict)
    """Hyperparameters of SageMaker's Image Classification (MXNet) by their names there, each in
    quotes, such as learning_rate: "0.01". Nothing may be set under both names."""
    min_accuracy: Fraction | None = None
    """The job fails with AccuracyBelowMinimum (and keeps the accuracy) below this, 0 to 1."""

    cel: ClassVar[Rules] = (
        (
            "!has(self.augmentation) || self.recipe in ['tutorial', 'full']",
            "augmentation is of recipes that train on images: remove it, or set recipe to full or"
            " tutorial",
        ),
    )


class Output(Struct, forbid_unknown_fields=True):
    """Where the model goes: `URI/NAME/UID/`, with `URI/NAME/latest.json` naming the newest."""

    uri: Uri
    """`pvc://CLAIM/PATH` or `s3://BUCKET/PREFIX`."""
    secret_ref: SecretRef | None = None
    """Secret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where needed, AWS_SESSION_TOKEN,
    AWS_REGION and AWS_ENDPOINT_URL for `s3://`; they must be allowed to write."""
    formats: Annotated[tuple[Literal["mxnet", "onnx"], ...], Meta(min_length=1, max_length=2)] = (
        "mxnet",
        "onnx",
    )
    """mxnet: a symbol with its parameters. onnx: model.onnx, compared with MXNet's answers on
    every validation image."""

    cel: ClassVar[Rules] = (
        (
            f"self.uri.matches('^({_CLAIM}|{_BUCKET})$')",
            "uri must be pvc://CLAIM/PATH with the name of a PersistentVolumeClaim, or "
            "s3://BUCKET/PREFIX",
        ),
        (
            "!has(self.secretRef) || self.uri.startsWith('s3://')",
            "secretRef is for s3:// only: remove it",
        ),
    )


class Job(Struct):
    """A FineTuneJob as the trainer sees it: the value of the environment variable FINETUNE_JOB.

    Unknown fields of `model`, `dataset`, `training` and `output` are refused: an image that does
    not know a setting must not train without it.
    """

    name: str
    namespace: str
    uid: str
    attempt: int
    pod_uid: str
    model: Model
    dataset: Dataset
    training: Training = msgspec.field(default_factory=Training)
    output: Output | None = None


class JobRef(Struct):
    """Whose report this is; a reader discards one with other ids (pod addresses are reused)."""

    uid: str
    attempt: int
    pod_uid: str


class Metric(Struct):
    """One figure by name; the value is a decimal, as Kubernetes APIs have no floats."""

    name: Annotated[str, Meta(max_length=63)]
    value: Annotated[str, Meta(max_length=63)]


class TrainerStatus(Struct):
    """Progress with the names and types of Kubeflow's KEP-2779."""

    progress_percentage: Annotated[int, Meta(ge=0, le=100)] | None = None
    estimated_remaining_seconds: Annotated[int, Meta(ge=0)] | None = None
    metrics: Annotated[tuple[Metric, ...], Meta(max_length=64)] = ()
    last_updated_time: str | None = None


class DatasetStatus(Struct):
    """What was found in the photos."""

    classes: int
    train_images: int
    validation_images: int
    rejected_images: int
    digest: str
    duplicate_images: int = 0
    """Copies of another photo; all copies are on one side of the split."""
    near_duplicates: int = 0
    """Pairs of photos that look alike."""
    label_conflicts: int = 0
    """Photos left out because the same picture is in two classes."""


class ModelStatus(Struct):
    """Which pretrained network was used and where its head was replaced."""

    name: str
    sha256: str
    head: str


class CheckpointStatus(Struct):
    """The newest checkpoint in the workspace."""

    epoch: int
    step: int
    time: str


class OutputStatus(Struct):
    """Where the model was written."""

    uri: str
    digest: str


class Progress(Struct):
    """The body of GET /progress, at most 64 KiB. `step` differs whenever work was done."""

    job: JobRef
    stage: Literal["fetch", "prepare", "model", "fit", "evaluate", "export", "report", "done"]
    step: int
    trainer_status: TrainerStatus = msgspec.field(default_factory=TrainerStatus)
    dataset: DatasetStatus | None = None
    model: ModelStatus | None = None
    checkpoint: CheckpointStatus | None = None
    log_tail: tuple[str, ...] = ()


class Result(Struct):
    """The end of a job that fitted: result.json in the workspace, and the termination message."""

    accuracy: str
    """Exact top-1 accuracy on the validation images, 4 decimals."""
    recipe: str
    """The recipe that ran (what auto picked)."""
    metrics: tuple[Metric, ...] = ()
    dataset: DatasetStatus | None = None
    model: ModelStatus | None = None
    checkpoint: CheckpointStatus | None = None
    output: OutputStatus | None = None


class Error(Struct):
    """Why an attempt ended without a result, in the user's terms."""

    reason: str
    message: str
    hint: str = ""
    log_tail: tuple[str, ...] = ()
    """The last lines of output, where they help: a crash, a bug."""


class Termination(Struct):
    """The termination message: JSON of at most 4,096 bytes, with a result, an error, or both
    (AccuracyBelowMinimum keeps the accuracy); in the role prepare, with `prepared` or an error."""

    job: JobRef
    result: Result | None = None
    error: Error | None = None
    prepared: DatasetStatus | None = None
    """What the role prepare has packed in the workspace."""
    checkpoint: CheckpointStatus | None = None
    """Without a result: what the next attempt resumes from."""


class ExitCode(enum.IntEnum):
    """Exit codes of the trainer (sysexits where one fits); the operator's retry policy reads
    them. The name is the reason."""

    Complete = 0
    InvalidSpec = 64
    InvalidData = 65
    InputNotFound = 66
    UnsupportedHardware = 69
    InternalError = 70
    OutputNotWritable = 73
    InputOutputError = 74
    TemporaryFailure = 75
    PermissionDenied = 77
    AccuracyBelowMinimum = 80
    Diverged = 81
    Stalled = 82
    PeerLost = 83
    DeviceOutOfMemory = 84
    Interrupted = 143


class TrainerError(Exception):
    """An end that the user can act on: `message` says what is wrong, `hint` what to change."""

    def __init__(self, code: ExitCode, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.hint = hint
