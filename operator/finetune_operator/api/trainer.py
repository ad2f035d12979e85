"""The `trainer` section of a FineTuneJob: image, resources, place and identity of the pods."""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from finetune_operator.api import validation
from finetune_operator.api.scheduling import NodeAffinity, Toleration
from finetune_operator.api.validation import (
    ExtendedResource,
    Id,
    Labels,
    LabelValue,
    Name,
    Rules,
    Size,
    Strict,
    matches,
    rules,
)

_BY_NAME = Meta(
    extra={"schema": {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": ["name"]}}
)
_RESERVED_PREFIXES = "finetune-operator[.]dev|batch[.]kubernetes[.]io"
_RESERVED_NAMES = (
    "sidecar[.]istio[.]io/inject|app[.]kubernetes[.]io/(name|component|managed-by)"
    "|job-name|controller-uid"
)
_OF_KUEUE = "kueue[.]x-k8s[.]io/.*"
# https://kueue.sigs.k8s.io/docs/concepts/topology_aware_scheduling/
_TOPOLOGY = (
    "kueue[.]x-k8s[.]io/podset-((required|preferred|unconstrained|slice-required)-topology"
    "|slice-required-topology-constraints|slice-size|group-name)"
)
_RESERVED = f"({_RESERVED_PREFIXES})/.*|{_RESERVED_NAMES}"
_MESSAGE = (
    "the operator, the Job controller or Kueue sets this: remove the keys job-name, "
    "controller-uid, sidecar.istio.io/inject, app.kubernetes.io/name, component and managed-by, "
    "and all of finetune-operator.dev/, batch.kubernetes.io/ and kueue.x-k8s.io/"
)
_NO_RESERVED_LABELS = (
    f"!self.exists(key, key.matches('^({_RESERVED}|{_OF_KUEUE})$'))",
    f"{_MESSAGE}; labels of a queue belong to the FineTuneJob itself",
)
_NO_RESERVED_ANNOTATIONS = (
    f"!self.exists(key, key.matches('^({_RESERVED}|{_OF_KUEUE})$') && "
    f"!key.matches('^({_TOPOLOGY})$'))",
    f"{_MESSAGE} but the podset-...-topology that you ask Kueue for",
)


_COMPARED = "quantity(string(self.requests[key])).compareTo(quantity(string(self.limits[key])))"


class Resources(Strict):
    """Requests and limits of the trainer container."""

    requests: validation.Resources = {}
    """Least amount of each resource, by name."""
    limits: validation.Resources = {}
    """Most of each resource, by name."""

    cel: ClassVar[Rules] = (
        (
            "!has(self.requests) || !has(self.limits) || self.requests.all(key, "
            f"!(key in self.limits) || {_COMPARED} <= 0)",
            "a request must not be above its limit: lower it, or raise the limit",
        ),
        (
            "!has(self.requests) || !has(self.limits) || self.requests.all(key, "
            f"key in {validation.OVERCOMMITTED} || !(key in self.limits) || {_COMPARED} == 0)",
            "the request of an extended resource or of huge pages must be its limit: remove one",
        ),
    )


class KeyReference(Strict):
    """One key of a Secret or a ConfigMap in the job's namespace."""

    name: Name
    """Name of the Secret or the ConfigMap."""
    key: Annotated[
        str,
        Meta(min_length=1, max_length=253),
        rules(
            matches("[-._a-zA-Z0-9]+", "must be letters, digits, '-', '_' and '.'"),
            ("self != '.' && !self.startsWith('..')", "must not be '.' or begin with '..'"),
        ),
    ]
    """Key in its data."""


class EnvSource(Strict):
    """Source of a variable's value: exactly one of the two."""

    secret_key_ref: KeyReference | None = None
    """A key of a Secret; the operator never reads it."""
    config_map_key_ref: KeyReference | None = None
    """A key of a ConfigMap."""

    cel: ClassVar[Rules] = (
        (
            "has(self.secretKeyRef) != has(self.configMapKeyRef)",
            "set exactly one of secretKeyRef and configMapKeyRef",
        ),
    )


class EnvVar(Strict):
    """A variable of the trainer's environment: name and either value or valueFrom."""

    name: Annotated[
        str,
        Meta(min_length=1, max_length=256),
        rules(
            matches(
                "[A-Za-z_][A-Za-z0-9_]*",
                "must be letters, digits and '_', and not begin with a digit",
            ),
            (
                "!self.matches('^(FINETUNE_.*|POD_UID)$')",
                "FINETUNE_* and POD_UID are set by the operator: choose another name",
            ),
        ),
    ]
    """Name of the variable."""
    value: Annotated[str, Meta(max_length=8192)] | None = None
    """Its value; $(NAME) is the value of a variable before it, $$ is a dollar."""
    value_from: EnvSource | None = None
    """Source of the value."""

    cel: ClassVar[Rules] = (
        (
            "has(self.value) != has(self.valueFrom)",
            'set exactly one of value and valueFrom; an empty value is ""',
        ),
    )


class LocalReference(Strict):
    """A Secret in the job's namespace."""

    name: Name
    """Its name."""


class SecurityContext(Strict):
    """Identity of the trainer process. It never runs as root."""

    run_as_user: Id | None = None
    """User id. Default: the one that the operator is set to, 65532."""
    run_as_group: Id | None = None
    """Group id; default: the user id."""
    fs_group: Id | None = None
    """Group that owns the volumes; default: the user id."""
    supplemental_groups: Annotated[tuple[Id, ...], Meta(max_length=16)] = ()
    """Further group ids."""


_NodeSelector = Annotated[Labels, Meta(extra={"schema": {"x-kubernetes-map-type": "atomic"}})]


class PreparationPods(Strict):
    """The pods that prepare the data set. The defaults are those of the pods that train, without
    what is for GPUs: devices, the GPU nodes' taint, and labels of nodes that name no place.
    """

    resources: Resources | None = None
    """Requests and limits."""
    node_selector: _NodeSelector | None = None
    """Labels that a node must have. Default: those of kubernetes.io/ and topology.*/."""
    node_affinity: NodeAffinity | None = None
    """Nodes that the pods may run on. Default: the expressions with such labels."""
    tolerations: Annotated[tuple[Toleration, ...], Meta(max_length=32)] | None = None
    """Taints that the pods tolerate. Default: all but that of GPU nodes."""


class Trainer(Strict):
    """The pods that train."""

    image: (
        Annotated[
            str,
            Meta(min_length=1, max_length=1024),
            rules(
                matches(
                    validation.IMAGE,
                    "must be an image such as registry.example.com/trainer:1.2, without spaces "
                    "and without https://",
                )
            ),
        ]
        | None
    ) = None
    """Trainer image. Default: the operator's GPU image with gpusPerNode > 0, else its CPU image;
    resolved once, see status.image."""
    image_pull_policy: Literal["Always", "IfNotPresent", "Never"] | None = None
    """Policy by which the kubelet pulls the image."""
    image_pull_secrets: Annotated[tuple[LocalReference, ...], Meta(max_length=16), _BY_NAME] = ()
    """Secrets for a private registry."""
    num_nodes: Annotated[int, Meta(ge=1, le=64)] = 1
    """Number of pods that train together. More than 1 needs a workspace with ReadWriteMany."""
    gpus_per_node: Annotated[int, Meta(ge=0, le=16)] = 1
    """Number of GPUs of each pod; 0 trains on the CPU."""
    gpu_resource_name: ExtendedResource = "nvidia.com/gpu"
    """Name of the extended resource for a GPU."""
    resources: Resources = msgspec.field(default_factory=Resources)
    """Requests and limits besides the GPUs."""
    env: Annotated[tuple[EnvVar, ...], Meta(max_length=64), _BY_NAME] = ()
    """Variables of the trainer's environment, after the operator's own."""
    shared_memory: Size = "1Gi"
    """Size of /dev/shm; counts as memory of the pod."""
    termination_grace_period_seconds: Annotated[int, Meta(ge=0, le=86400)] = 120
    """Seconds that the trainer has to save a checkpoint after SIGTERM."""
    node_selector: _NodeSelector = {}
    """Labels that a node must have."""
    node_affinity: NodeAffinity | None = None
    """Nodes that the pods may run on, if nodeSelector is not enough. The operator adds to each term
    what its own GPU image needs: a GPU that it has code for."""
    tolerations: Annotated[tuple[Toleration, ...], Meta(max_length=32)] = ()
    """Taints that the pods tolerate, besides the taint of GPU nodes."""
    priority_class_name: Name | None = None
    """PriorityClass of the pods."""
    scheduler_name: Name | None = None
    """Scheduler of the pods."""
    runtime_class_name: Name | None = None
    """RuntimeClass of the pods."""
    service_account_name: Name | None = None
    """ServiceAccount of the pods; its token is never mounted."""
    pod_labels: Annotated[
        dict[str, LabelValue],
        Meta(max_length=32),
        rules(validation.LABEL_KEYS, validation.LABEL_PREFIXES, _NO_RESERVED_LABELS),
    ] = {}
    """Labels of the pods, besides the operator's own."""
    pod_annotations: Annotated[
        dict[str, Annotated[str, Meta(max_length=4096)]],
        Meta(max_length=32),
        rules(validation.LABEL_KEYS, validation.LABEL_PREFIXES, _NO_RESERVED_ANNOTATIONS),
    ] = {}
    """Annotations of the pods, besides the operator's own."""
    security_context: SecurityContext = msgspec.field(default_factory=SecurityContext)
    """Identity of the trainer process."""
    preparation: PreparationPods | None = None
    """The pods that prepare the data set in Jobs of their own, where they are to differ."""

    cel: ClassVar[Rules] = (
        (
            "!has(self.preparation) || !has(self.preparation.resources) || "
            "!(has(self.preparation.resources.limits) && "
            "self.gpuResourceName in self.preparation.resources.limits || "
            "has(self.preparation.resources.requests) && "
            "self.gpuResourceName in self.preparation.resources.requests)",
            "the data set is prepared without GPUs: remove them from trainer.preparation.resources",
        ),
        (
            "!has(self.resources) || !(has(self.resources.limits) && "
            "self.gpuResourceName in self.resources.limits || has(self.resources.requests) && "
            "self.gpuResourceName in self.resources.requests)",
            "GPUs are asked for with trainer.gpusPerNode: remove them from trainer.resources",
        ),
    )
