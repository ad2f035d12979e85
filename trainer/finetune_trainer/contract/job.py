"""`spec.output`, and the whole job as the trainer reads it."""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from finetune_trainer.contract.dataset import Dataset
from finetune_trainer.contract.model import Model
from finetune_trainer.contract.training import Training
from finetune_trainer.contract.values import BUCKET, CLAIM, Rules, SecretRef, Struct, Uri


class Output(Struct, forbid_unknown_fields=True):
    """The place of the model: `URI/NAME/UID/`; `URI/NAME/latest.json` names the newest one."""

    uri: Uri
    """`pvc://CLAIM/PATH` or `s3://BUCKET/PREFIX`."""
    secret_ref: SecretRef | None = None
    """Secret with AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where needed, AWS_SESSION_TOKEN,
    AWS_REGION and AWS_ENDPOINT_URL for `s3://`. These credentials must allow writing."""
    formats: Annotated[tuple[Literal["mxnet", "onnx"], ...], Meta(min_length=1, max_length=2)] = (
        "mxnet",
        "onnx",
    )
    """Formats of the model. mxnet: a symbol with its parameters. onnx: model.onnx, whose answers
    are compared with MXNet's on every validation image."""
    tensorboard: bool | None = None
    """True: write the curves of history.csv as an event file for TensorBoard, too."""

    cel: ClassVar[Rules] = (
        (
            f"self.uri.matches('^({CLAIM}|{BUCKET})$')",
            "uri must be pvc://CLAIM/PATH with the name of a PersistentVolumeClaim, or "
            "s3://BUCKET/PREFIX",
        ),
        (
            "!has(self.secretRef) || self.uri.startsWith('s3://')",
            "secretRef is for s3:// only: remove it",
        ),
    )


class Job(Struct, kw_only=True):
    """A FineTuneJob as the trainer reads it: the value of the environment variable FINETUNE_JOB.

    Unknown fields of `model`, `dataset`, `training` and `output` are refused: an image that does
    not know a setting must not train without it.
    """

    name: str
    namespace: str
    uid: str
    attempt: int
    pod_uid: str
    model: Model = msgspec.field(default_factory=Model)
    dataset: Dataset
    training: Training = msgspec.field(default_factory=Training)
    output: Output | None = None


class JobRef(Struct):
    """The job and pod of a report. Readers discard reports with other ids: pod addresses are
    reused."""

    uid: str
    attempt: int
    pod_uid: str
