"""The reports of the trainer: progress while it runs, and the termination message at its end."""

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from finetune_trainer.contract.job import JobRef
from finetune_trainer.contract.values import Struct


class Metric(Struct):
    """A number with a name; the value is a decimal in a string, as Kubernetes APIs have no
    floats."""

    name: Annotated[str, Meta(max_length=63)]
    value: Annotated[str, Meta(max_length=63)]


class TrainerStatus(Struct):
    """Progress with the names and types of Kubeflow's KEP-2779."""

    progress_percentage: Annotated[int, Meta(ge=0, le=100)] | None = None
    estimated_remaining_seconds: Annotated[int, Meta(ge=0)] | None = None
    metrics: Annotated[tuple[Metric, ...], Meta(max_length=64)] = ()
    last_updated_time: str | None = None


class DatasetStatus(Struct):
    """The counts of the packed data set."""

    classes: int
    train_images: int
    validation_images: int
    rejected_images: int
    digest: str
    duplicate_images: int = 0
    """Copies of another photo; all copies are in the same split."""
    near_duplicates: int = 0
    """Pairs of photos that are almost the same."""
    label_conflicts: int = 0
    """Photos left out because the same image is in two classes."""
    other_files: int = 0
    """Files that are no images: ignored ones, and lists that were read."""
    missing_images: int = 0
    """Images that a list names and that are not there; rejectedImages counts them, too."""


class ModelStatus(Struct):
    """The pretrained network, and the layers that the new one replaces."""

    name: str
    sha256: str
    head: str


class CheckpointStatus(Struct):
    """The newest checkpoint in the workspace."""

    epoch: int
    step: int
    time: str


class OutputStatus(Struct):
    """The place of the saved model."""

    uri: str
    digest: str


class Progress(Struct):
    """The body of GET /progress, at most 64 KiB. `step` changes whenever work was done."""

    job: JobRef
    stage: Literal["fetch", "prepare", "model", "fit", "evaluate", "export", "report", "done"]
    step: int
    trainer_status: TrainerStatus = msgspec.field(default_factory=TrainerStatus)
    dataset: DatasetStatus | None = None
    model: ModelStatus | None = None
    checkpoint: CheckpointStatus | None = None
    log_tail: tuple[str, ...] = ()


class Result(Struct):
    """The result of a trained job: result.json in the workspace, and in the termination
    message."""

    accuracy: str
    """Exact top-1 accuracy on the validation images, 4 decimals."""
    recipe: str
    """The recipe that ran; with auto, the one that it chose."""
    metrics: tuple[Metric, ...] = ()
    dataset: DatasetStatus | None = None
    model: ModelStatus | None = None
    checkpoint: CheckpointStatus | None = None
    output: OutputStatus | None = None


class Error(Struct):
    """The reason why an attempt ended without a result."""

    reason: str
    message: str
    hint: str = ""
    log_tail: tuple[str, ...] = ()
    """The last lines of output of a crash, a bug or a stall."""


class Termination(Struct):
    """The termination message: JSON of at most 4,096 bytes with a result, an error, or both
    (AccuracyBelowMinimum keeps the accuracy); in the role prepare, with `prepared` or an error."""

    job: JobRef
    result: Result | None = None
    error: Error | None = None
    prepared: DatasetStatus | None = None
    """The data set that the role prepare has packed in the workspace."""
    checkpoint: CheckpointStatus | None = None
    """Without a result: the checkpoint that the next attempt resumes from."""
