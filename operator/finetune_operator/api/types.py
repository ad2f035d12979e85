"""FineTuneJob as the operator sees it: the only place that reads its raw bodies.

The operator owns `trainer`, `workspace`, the lifecycle fields and `status`, and these types are
the source of that half of the CRD. The other sections pass through to the trainer unread, except
for the URIs in them. Rules (`cel`) become CEL validations of the API server.
"""

from typing import Annotated, Any, ClassVar, Literal

import msgspec
from msgspec import Meta

from finetune_operator.api.kubernetes import Condition, Metadata, Object, Time
from finetune_operator.api.trainer import Trainer
from finetune_operator.api.validation import Name, Rules, Seconds, Size, Strict, rules

Section = dict[str, Any]


class Workspace(Strict):
    """Where packed data and checkpoints are kept between attempts: an existing claim, or one that
    the operator creates as NAME-workspace. A claim of that name that an earlier FineTuneJob of
    the same name left is used again as it is.
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
    """Whether the created claim outlives the FineTuneJob. Default: Retain."""

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
    """What to fine-tune, on which photos, and how."""

    suspend: bool = False
    """true deletes the running pod with grace (it saves) and starts none; false resumes."""
    backoff_limit: Annotated[int, Meta(ge=0, le=100)] = 3
    """Failures that are retried, each from the last checkpoint. Disruptions (eviction, preemption,
    lost node) do not count while checkpoints advance."""
    active_deadline_seconds: Seconds | None = None
    """Time the job may be active, from the start of its first attempt, without what it waits in a
    queue."""
    startup_deadline_seconds: Seconds = 1800
    """Time until an attempt's pod must run (image, volumes, a free node)."""
    stall_deadline_seconds: Annotated[int, Meta(ge=60, le=2147483647)] = 900
    """Time without any work after which a running attempt is ended as Stalled and retried. A change
    reaches the trainer's own watchdog with the next attempt."""
    ttl_seconds_after_finished: Annotated[int, Meta(ge=0, le=2147483647)] | None = None
    """Delete the FineTuneJob this long after it finished. Not set: keep it."""
    model: Section = {}
    dataset: Section
    training: Section = {}
    output: Section | None = None
    trainer: Trainer = msgspec.field(default_factory=Trainer)
    """The pods that train."""
    workspace: Workspace | None = None
    """Where packed data and checkpoints are kept between attempts. Without one an attempt starts
    over."""

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
    name: str
    """What was measured."""
    value: str
    """Its value, a decimal."""


class TrainerStatus(Object):
    """Progress with the names and types of Kubeflow's KEP-2779."""

    progress_percentage: int | None = None
    """0 to 100."""
    estimated_remaining_seconds: int | None = None
    """Estimated time to the end."""
    metrics: tuple[Metric, ...] = ()
    """Newest figures."""
    last_updated_time: str | None = None
    """When the trainer reported this."""


class DatasetStatus(Object):
    """What was found in the photos."""

    classes: int = 0
    """Class folders with images."""
    train_images: int = 0
    """Images that train."""
    validation_images: int = 0
    """Images that validate."""
    rejected_images: int = 0
    """Files left out; the trainer's log and dataset.lock.json name them."""
    digest: str = ""
    """Digest of the packed data set."""
    duplicate_images: int = 0
    """Copies of another photo; all copies are on one side of the split."""
    near_duplicates: int = 0
    """Pairs of photos that look alike."""
    label_conflicts: int = 0
    """Photos left out because the same picture is in two classes."""


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
    """Epochs that are complete in it."""
    step: int = 0
    """Updates of the weights that are complete in it, from the first epoch on."""
    time: str = ""
    """When it was written."""


class OutputStatus(Object):
    """Where the model was written."""

    uri: str = ""
    """Directory of the model."""
    digest: str = ""
    """Digest of its manifest."""


class CurrentAttempt(Object, kw_only=True):
    """The attempt that is live, or about to be."""

    number: int
    """1 for the first."""
    prepare: bool = False
    """Whether it only prepares the data set; such attempts are counted apart."""
    job_name: str
    """Name of its batch/v1 Job."""
    start_time: Time | None = None
    """When it was created."""


class AttemptRecord(Object, kw_only=True):
    """An ended attempt."""

    number: int
    """1 for the first."""
    prepare: bool = False
    """Whether it only prepared the data set."""
    reason: str
    """Why it ended."""
    start_time: Time | None = None
    """When it was created."""
    end_time: Time | None = None
    """When it ended."""
    checkpoint_epoch: int | None = None
    """Epochs in the newest checkpoint at its end."""
    checkpoint_step: int | None = None
    """Updates in it, from the first epoch on."""
    node: str = ""
    """Node of its pod, or of the pod that failed first."""
    message: str = ""
    """What happened, cut to 256 characters; status.failure has all of it until the next attempt."""


class Failure(Object):
    """What went wrong, or what an attempt is waiting for, in the user's terms."""

    reason: str
    """CamelCase word for programs."""
    message: str = ""
    """What happened."""
    hint: str = ""
    """What to change."""
    exit_code: int | None = None
    """Exit code of the trainer."""
    pod: str = ""
    """Pod it happened to."""
    log_tail: tuple[str, ...] = ()
    """Last lines of its log."""


class Preparation(Object, frozen=False):  # type: ignore[misc]  # edited in a update
    """Preparing the data set in Jobs of its own, without GPUs, before any training."""

    image: str = ""
    """Image of its pods, resolved once."""
    attempts: int = 0
    """Attempts started."""
    failures: int = 0
    """Failures that count against backoffLimit."""
    disruptions: int = 0
    """Attempts that were disrupted and not counted as failures."""
    completion_time: Time | None = None
    """When the data set was ready."""


Phase = Literal[
    "Pending", "Queued", "Preparing", "Starting", "Training", "Suspended", "Complete", "Failed"
]


class Status(Object, frozen=False):  # type: ignore[misc]  # msgspec allows it: a update is edited
    """What is known of the job. Written only by the operator."""

    phase: Phase | None = None
    """One word for people, derived from the conditions."""
    conditions: tuple[Condition, ...] = ()
    """Suspended, DatasetReady, PodsReady, Running, MetricsAvailable, Complete, Failed."""
    observed_generation: int = 0
    """Generation of the spec that this status is about."""
    start_time: Time | None = None
    """When the operator first saw the job."""
    active_since: Time | None = None
    """Start of the activeDeadlineSeconds clock; none while a queue holds the job."""
    active_seconds: int = 0
    """What had passed on that clock before."""
    completion_time: Time | None = None
    """When the job completed or failed."""
    image: str = ""
    """Trainer image, resolved once for all attempts."""
    accuracy: Annotated[str, Meta(extra={"schema": {"pattern": r"^(0(\.[0-9]+)?|1(\.0+)?)?$"}})] = (
        ""
    )
    """Exact accuracy on the validation images."""
    eta: str = ""
    """Estimated time to the end."""
    trainer_status: TrainerStatus | None = None
    """Progress as the trainer reported it."""
    preparation: Preparation | None = None
    """Preparing the data set in Jobs of its own; see dataset.prepare."""
    attempts: int = 0
    """Attempts started."""
    failures: int = 0
    """Failures that count against backoffLimit."""
    disruptions: int = 0
    """Attempts that were disrupted and not counted as failures."""
    current_attempt: CurrentAttempt | None = None
    """The live attempt."""
    history: tuple[AttemptRecord, ...] = ()
    """The last 10 ended attempts."""
    dataset: DatasetStatus | None = None
    """What was found in the photos."""
    model: ModelStatus | None = None
    """The pretrained network."""
    checkpoint: CheckpointStatus | None = None
    """The newest checkpoint in the workspace."""
    output: OutputStatus | None = None
    """Where the model was written."""
    failure: Failure | None = None
    """Why the job failed, or what it is waiting for."""

    @property
    def finished(self) -> bool:
        """Whether it is Complete or Failed: then nothing is ever created for it again."""
        return self.phase in ("Complete", "Failed")

    @property
    def prepares(self) -> bool:
        """Whether the next attempt is one that prepares, once the job was seen."""
        return self.preparation is not None and self.preparation.completion_time is None

    @property
    def suspending(self) -> bool:
        """Whether an attempt was told to save and end by the user's wish, and may be there yet."""
        condition = self.condition("Suspended")
        return condition is not None and condition.reason == "Suspending"

    def condition(self, type: str) -> Condition | None:
        """Return the condition of this type, true or not."""
        return next((c for c in self.conditions if c.type == type), None)


class FineTuneJobMetadata(Metadata):
    annotations: dict[str, str] = {}


GITOPS = {
    "argocd.argoproj.io/tracking-id": "Argo CD",
    "argocd.argoproj.io/instance": "Argo CD",
    "kustomize.toolkit.fluxcd.io/name": "Flux",
    "helm.toolkit.fluxcd.io/name": "Flux",
}
"""Labels and annotations by which a tool knows what it has applied, and applies it again."""


class FineTuneJob(Object):
    """A FineTuneJob."""

    metadata: FineTuneJobMetadata
    spec: Spec
    status: Status = msgspec.field(default_factory=Status)

    def job_name(self, number: int, *, prepare: bool = False) -> str:
        """Return the name of an attempt's batch/v1 Job."""
        return (
            f"{self.metadata.name}-prepare-{number}"
            if prepare
            else f"{self.metadata.name}-{number}"
        )

    @property
    def kept_by(self) -> str:
        """The GitOps tool that would apply the job again if it were deleted, or nothing."""
        keys = self.metadata.labels.keys() | self.metadata.annotations.keys()
        return next((tool for key, tool in GITOPS.items() if key in keys), "")

    @property
    def prepares_separately(self) -> bool:
        """Whether Jobs without GPUs prepare the data set first."""
        wish = self.spec.dataset.get("prepare", "Auto")
        return wish == "Separate" or (
            wish == "Auto"
            and self.spec.trainer.gpus_per_node > 0
            and self.spec.workspace is not None
        )

    @property
    def prepares_next(self) -> bool:
        """Whether the next attempt is one that prepares; first sight decides it for good."""
        return self.status.prepares if self.status.start_time else self.prepares_separately

    @property
    def gang_service(self) -> str | None:
        """Name of the headless Service by which the pods of a gang find their leader."""
        return f"{self.metadata.name}-gang" if self.spec.trainer.num_nodes > 1 else None

    @property
    def workspace_claim(self) -> str | None:
        """Name of the claim that is the workspace, the user's or ours."""
        workspace = self.spec.workspace
        return (workspace.claim_name or f"{self.metadata.name}-workspace") if workspace else None
