"""The FineTuneJob: the types of its spec and status. Only here its raw body is read.

The operator owns `trainer`, `workspace`, the lifecycle fields and `status`; these types are the
source of their part of the CRD. The other sections go to the trainer unread, except for their URIs.
Rules (`cel`) become CEL validations of the API server.
"""

from typing import Annotated, Any, ClassVar, Literal, get_args

import msgspec
from msgspec import Meta

from finetune_operator.api import constants as c
from finetune_operator.api.gitops import Mark, find_mark
from finetune_operator.api.kubernetes import Condition, Metadata, Object, Time
from finetune_operator.api.trainer import Trainer
from finetune_operator.api.validation import Name, Rules, Seconds, Size, Strict, rules

Section = dict[str, Any]


class Workspace(Strict):
    """Storage of packed data and checkpoints between attempts: an existing claim, or one that the
    operator creates as NAME-workspace. A claim of that name that an earlier FineTuneJob left is
    used again unchanged.
    """

    claim_name: Name | None = None
    """An existing PersistentVolumeClaim."""
    size: Size | None = None
    """Size of the claim to create."""
    storage_class_name: Name | None = None
    """StorageClass of the claim to create. Default: the cluster's."""
    access_modes: (
        Annotated[
            tuple[Literal["ReadWriteOnce", "ReadWriteMany", "ReadWriteOncePod"], ...],
            Meta(min_length=1, max_length=2, extra={"schema": {"x-kubernetes-list-type": "set"}}),
            rules(
                (
                    "!('ReadWriteOncePod' in self) || size(self) == 1",
                    "ReadWriteOncePod excludes the other modes: remove them or it",
                )
            ),
        ]
        | None
    ) = None
    """Access modes of the claim to create. Default: ReadWriteOnce."""
    reclaim_policy: Literal["Retain", "Delete"] | None = None
    """Retain keeps the created claim when the FineTuneJob is deleted. Default: Retain."""

    cel: ClassVar[Rules] = (
        (
            "has(self.claimName) != has(self.size)",
            "set exactly one of claimName (an existing claim) and size (a claim to create)",
        ),
        (
            "!has(self.claimName) || !(has(self.storageClassName) || has(self.accessModes) || "
            "has(self.reclaimPolicy))",
            "storageClassName, accessModes and reclaimPolicy are for a claim to create: remove "
            "them, or set size instead of claimName",
        ),
    )


_ONE_NODE = "!has(self.trainer) || !has(self.trainer.numNodes) || self.trainer.numNodes == 1"
_HAS_GPUS = "!has(self.trainer) || !has(self.trainer.gpusPerNode) || self.trainer.gpusPerNode > 0"


class Spec(Object, kw_only=True):
    """The model to fine-tune, the photos, and the settings of the training."""

    suspend: bool = False
    """true stops the job: its pod saves a checkpoint and ends. false resumes it."""
    backoff_limit: Annotated[int, Meta(ge=0, le=100)] = 3
    """Number of failures that are retried, each from the last checkpoint. Disruptions (eviction,
    preemption, lost node) do not count while checkpoints advance."""
    active_deadline_seconds: Seconds | None = None
    """Seconds that the job may be active, from the start of its first attempt. Time in a queue does
    not count."""
    startup_deadline_seconds: Seconds = 1800
    """Seconds until the Job of an attempt must be created if it is refused, and then until its pods
    must run: a free node, the volumes, the image. Time in a queue does not count."""
    stall_deadline_seconds: Annotated[int, Meta(ge=60, le=2147483647)] = 900
    """Seconds without progress after which a running attempt is ended as Stalled and retried. A
    change reaches the trainer's own watchdog with the next attempt."""
    ttl_seconds_after_finished: Annotated[int, Meta(ge=0, le=2147483647)] | None = None
    """Seconds after its end until the FineTuneJob is deleted. Not set: it is kept. One that a
    GitOps tool or Helm manages stays, as it would be created again; its Jobs are deleted."""
    model: Section = {}
    dataset: Section
    training: Section = {}
    output: Section | None = None
    trainer: Trainer = msgspec.field(default_factory=Trainer)
    """The pods that train."""
    workspace: Workspace | None = None
    """Storage of packed data and checkpoints between attempts. Without it attempts start over."""

    immutable: ClassVar[tuple[str, ...]] = (
        "model",
        "dataset",
        "training",
        "output",
        "trainer",
        "workspace",
    )
    cel: ClassVar[Rules] = (
        (
            "has(self.workspace) || has(self.output)",
            "set workspace or output.uri: without either the model would be lost",
        ),
        (
            "has(self.workspace) || !has(self.dataset.prepare) || "
            "self.dataset.prepare != 'Separate'",
            "dataset.prepare Separate hands the packed data over in the workspace: set workspace, "
            "or choose Inline",
        ),
        (
            f"{_ONE_NODE} || "
            "has(self.workspace) && (has(self.workspace.claimName) || "
            "has(self.workspace.accessModes) && 'ReadWriteMany' in self.workspace.accessModes)",
            "the pods of numNodes > 1 share a workspace: set workspace.claimName to a "
            "ReadWriteMany claim, or workspace.size with accessModes [ReadWriteMany]",
        ),
        (
            f"{_ONE_NODE} || "
            "!has(self.training) || !has(self.training.onDivergence) || "
            "self.training.onDivergence != 'Retry'",
            "training.onDivergence Retry is not for numNodes > 1: remove it",
        ),
        (
            f"{_ONE_NODE} || !has(self.training) || !has(self.training.earlyStopping)",
            "training.earlyStopping is not for numNodes > 1: remove it",
        ),
        (
            f"{_HAS_GPUS} || !has(self.training) || !has(self.training.precision) || "
            "self.training.precision == 'float32'",
            "training.precision float16 needs GPUs: remove it, or set trainer.gpusPerNode",
        ),
        (
            f"{_HAS_GPUS} || !has(self.training) || !has(self.training.hyperparameters) || "
            "!('precision_dtype' in self.training.hyperparameters) || "
            "self.training.hyperparameters['precision_dtype'] == 'float32'",
            "training.hyperparameters.precision_dtype float16 needs GPUs: remove it, or set "
            "trainer.gpusPerNode",
        ),
        (
            "(has(self.model) && (has(self.model.name) || has(self.model.source))) != "
            "(has(self.training) && has(self.training.resumeFrom))",
            "set exactly one of model.name, of the model catalogue, such as efficientnet-lite0, "
            "model.source, a network of your own, and training.resumeFrom, an earlier job's model",
        ),
        (
            "!has(self.training) || !has(self.training.resumeFrom) || !has(self.model) || "
            "!(has(self.model.inputSize) || has(self.model.normalization) || "
            "has(self.model.replaceAfter))",
            "training.resumeFrom says how its network sees images: remove model.inputSize, "
            "model.normalization and model.replaceAfter",
        ),
    )

    @property
    def locations(self) -> dict[str, Section]:
        """Everything that the pod reads or writes by URI, by its use."""
        found = {
            "dataset": self.dataset.get("source"),
            "validation": self.dataset.get("validationSource"),
            "model": self.model.get("source"),
            "resume": self.training.get("resumeFrom"),
            "output": self.output,
        }
        return {use: location for use, location in found.items() if location}


class Metric(Object):
    """One metric."""

    name: str
    """Name of the metric."""
    value: str
    """Its value, a decimal number."""


class TrainerStatus(Object):
    """Progress with the names and types of Kubeflow's KEP-2779."""

    progress_percentage: int | None = None
    """0 to 100."""
    estimated_remaining_seconds: int | None = None
    """Estimated time to the end."""
    metrics: tuple[Metric, ...] = ()
    """Newest values."""
    last_updated_time: str | None = None
    """Time of the last progress, by the pod's clock."""


class DatasetStatus(Object):
    """The data set that was made from the photos."""

    classes: int = 0
    """Number of class folders with images."""
    train_images: int = 0
    """Number of training images."""
    validation_images: int = 0
    """Number of validation images."""
    rejected_images: int = 0
    """Number of files left out; the trainer's log and dataset.lock.json name them."""
    digest: str = ""
    """Digest of the packed data set."""
    duplicate_images: int = 0
    """Number of copies of another photo; all copies of a photo are in the same split."""
    near_duplicates: int = 0
    """Number of pairs of similar photos."""
    label_conflicts: int = 0
    """Number of photos left out because the same picture is in two classes."""
    other_files: int = 0
    """Number of files that are no images: ignored ones, and lists that were read."""
    missing_images: int = 0
    """Number of images that a list names and that are not there; rejectedImages counts them, too.
    """


class ModelStatus(Object):
    """The pretrained network."""

    name: str = ""
    """Catalogue entry."""
    sha256: str = ""
    """Digest of its weights."""
    head: str = ""
    """Layer that was replaced."""


class CheckpointStatus(Object):
    """The newest checkpoint in the workspace."""

    epoch: int = 0
    """Number of complete epochs in it."""
    step: int = 0
    """Number of weight updates in it, since the first epoch."""
    time: str = ""
    """Time at which it was written."""


class OutputStatus(Object):
    """The place of the finished model."""

    uri: str = ""
    """Directory of the model."""
    digest: str = ""
    """Digest of its manifest."""


class CurrentAttempt(Object, kw_only=True):
    """The current attempt: its Job exists, or is about to be created."""

    number: int
    """1 for the first."""
    prepare: bool = False
    """true if the attempt only prepares the data set; such attempts have their own counters."""
    job_name: str
    """Name of its batch/v1 Job."""
    start_time: Time | None = None
    """Time at which it was created."""
    node: str = ""
    """Node of its pod; of pod 0 if it has several."""


class AttemptRecord(Object, kw_only=True):
    """An ended attempt."""

    number: int
    """1 for the first."""
    prepare: bool = False
    """true if the attempt only prepared the data set."""
    reason: str
    """Reason of its end, a CamelCase word."""
    start_time: Time | None = None
    """Time at which it was created."""
    end_time: Time | None = None
    """Time at which it ended."""
    checkpoint_epoch: int | None = None
    """Number of epochs in the newest checkpoint at its end."""
    checkpoint_step: int | None = None
    """Number of weight updates in that checkpoint."""
    node: str = ""
    """Node of its pod, or of the pod that failed first."""
    message: str = ""
    """Message, cut to 256 characters; status.failure has all of it until the next attempt."""


class Failure(Object):
    """The failure, or the thing that an attempt waits for, and what the user can do."""

    reason: str
    """Reason, a CamelCase word for programs."""
    message: str = ""
    """Message for humans."""
    hint: str = ""
    """Advice: what to change."""
    exit_code: int | None = None
    """Exit code of the trainer."""
    pod: str = ""
    """Name of the pod."""
    log_tail: tuple[str, ...] = ()
    """Last lines of the pod's log."""


class Preparation(Object, frozen=False):  # type: ignore[misc]  # StatusUpdate edits it
    """The preparation of the data set, in Jobs without GPUs, before the training."""

    image: str = ""
    """Image of its pods, resolved once."""
    attempts: int = 0
    """Number of attempts started."""
    failures: int = 0
    """Number of failures that count against backoffLimit."""
    disruptions: int = 0
    """Number of disrupted attempts, which do not count as failures."""
    completion_time: Time | None = None
    """Time at which the data set was ready."""


Phase = Literal[
    "Pending", "Queued", "Preparing", "Starting", "Training", "Suspended", "Complete", "Failed"
]
"""The phases that this operator writes. It reads others, of a newer one, as none of them."""


class Status(Object, frozen=False):  # type: ignore[misc]  # StatusUpdate edits it
    """The observed state of the job. Only the operator writes it."""

    phase: Annotated[str, Meta(extra={"schema": {"enum": [*get_args(Phase)]}})] | None = None
    """Human-readable summary of the state. The conditions say more."""
    conditions: tuple[Condition, ...] = ()
    """Types: Suspended, DatasetReady, PodsReady, Running, MetricsAvailable, Complete, Failed; for
    kstatus also Reconciling (True until the job is at rest) and Stalled (True if it failed)."""
    observed_generation: int = 0
    """Generation of the spec that this status belongs to; -1 until the job was observed."""
    observed_uid: str = ""
    """The uid of the FineTuneJob that this status is about; a restored status has another one."""
    start_time: Time | None = None
    """Time at which the operator first observed the job."""
    active_since: Time | None = None
    """Start of the clock of activeDeadlineSeconds; not set while a queue suspends the job."""
    active_seconds: int = 0
    """Seconds on that clock before it was last started."""
    refused_since: Time | None = None
    """Time since which the next attempt cannot be created; not set once its Job exists."""
    fit_start_time: Time | None = None
    """Time of the first report of the fit, in whichever attempt."""
    completion_time: Time | None = None
    """Time at which the job completed or failed."""
    image: str = ""
    """Trainer image, resolved once for all attempts."""
    image_id: str = msgspec.field(default="", name="imageID")
    """Image that the newest pod ran, with its digest, as its node reported it."""
    accuracy: Annotated[str, Meta(extra={"schema": {"pattern": r"^(0(\.[0-9]+)?|1(\.0+)?)?$"}})] = (
        ""
    )
    """Exact accuracy on the validation images."""
    eta: str = ""
    """Estimated time to the end."""
    trainer_status: TrainerStatus | None = None
    """Progress as the trainer reported it."""
    preparation: Preparation | None = None
    """The preparation of the data set in its own Jobs; see dataset.prepare."""
    attempts: int = 0
    """Number of attempts started."""
    failures: int = 0
    """Number of failures that count against backoffLimit."""
    disruptions: int = 0
    """Number of disrupted attempts, which do not count as failures."""
    current_attempt: CurrentAttempt | None = None
    """The current attempt."""
    history: tuple[AttemptRecord, ...] = ()
    """The last 10 ended attempts."""
    dataset: DatasetStatus | None = None
    """The data set that was made from the photos."""
    model: ModelStatus | None = None
    """The pretrained network."""
    checkpoint: CheckpointStatus | None = None
    """The newest checkpoint in the workspace."""
    output: OutputStatus | None = None
    """The place of the finished model."""
    failure: Failure | None = None
    """Reason of the job's failure, or the thing that it waits for."""

    @property
    def finished(self) -> bool:
        """True if the job is Complete or Failed: nothing is created for it any more.

        A phase that only a newer operator knows may be an end, too: that has a time.
        """
        return self.phase in ("Complete", "Failed") or self.completion_time is not None

    @property
    def prepares(self) -> bool:
        """True if the next attempt prepares the data set; valid once the job was observed."""
        return self.preparation is not None and self.preparation.completion_time is None

    @property
    def suspending(self) -> bool:
        """True while an attempt of a suspended job saves and ends."""
        condition = self.condition(c.SUSPENDED)
        return condition is not None and condition.reason == c.SUSPENDING

    def condition(self, type: str) -> Condition | None:
        """Return the condition of this type, true or not."""
        return next((each for each in self.conditions if each.type == type), None)


class FineTuneJobMetadata(Metadata):
    annotations: dict[str, str] = {}
    finalizers: tuple[str, ...] = ()


class FineTuneJob(Object):
    """A FineTuneJob fine-tunes an image classifier on photos."""

    metadata: FineTuneJobMetadata
    spec: Spec
    status: Status = msgspec.field(default_factory=Status)

    @property
    def has_restored_status(self) -> bool:
        """True if the status is about an earlier object: a backup of it was restored."""
        return self.status.observed_uid not in ("", self.metadata.uid)

    def job_name(self, number: int, *, prepare: bool = False) -> str:
        """Return the name of an attempt's batch/v1 Job; no two FineTuneJobs share one."""
        return (
            f"{self.metadata.name}-{number}-prepare"
            if prepare
            else f"{self.metadata.name}-{number}"
        )

    @property
    def kept_by(self) -> Mark | None:
        """The mark of a tool that would create a deleted job again, if it has one."""
        return find_mark(self.metadata.labels, self.metadata.annotations)

    @property
    def prepares_separately(self) -> bool:
        """True if Jobs without GPUs prepare the data set first."""
        wish = self.spec.dataset.get("prepare", "Auto")
        return wish == "Separate" or (
            wish == "Auto"
            and self.spec.trainer.gpus_per_node > 0
            and self.spec.workspace is not None
        )

    @property
    def prepares_next(self) -> bool:
        """True if the next attempt prepares the data set; fixed when the job is first observed."""
        return self.status.prepares if self.status.start_time else self.prepares_separately

    @property
    def gang_service(self) -> str | None:
        """Name of the headless Service through which the pods of a gang find their leader."""
        return f"{self.metadata.name}-gang" if self.spec.trainer.num_nodes > 1 else None

    @property
    def workspace_claim(self) -> str | None:
        """Name of the workspace's claim, whether the user or the operator creates it."""
        workspace = self.spec.workspace
        return (workspace.claim_name or f"{self.metadata.name}-workspace") if workspace else None
