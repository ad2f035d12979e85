"""The parts of Kubernetes' own objects that the operator reads; the rest is not decoded.

The cache keeps these structs, so each field costs memory for every pod.
"""

import datetime
from typing import dataclass_transform

import msgspec

from finetune_operator.api import constants as c

Time = datetime.datetime
NEVER = datetime.datetime.fromtimestamp(0, datetime.UTC)
# https://github.com/kubernetes/apimachinery/blob/master/pkg/apis/meta/v1/time.go
REST_OF_A_SECOND = datetime.timedelta(microseconds=999_999)
"""Longest time that metav1.Time cuts off."""


@dataclass_transform(frozen_default=True, kw_only_default=True, field_specifiers=(msgspec.field,))
class Object(
    msgspec.Struct, frozen=True, kw_only=True, rename="camel", omit_defaults=True, gc=False
):
    """A frozen value with the field names of the Kubernetes API.

    `gc=False`: it has no reference cycles, so Python's garbage collector need not track it.
    """


class OwnerReference(Object):
    kind: str = ""
    name: str = ""
    uid: str = ""
    controller: bool = False


class Metadata(Object):
    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""
    generation: int = 0
    labels: dict[str, str] = {}
    creation_timestamp: Time | None = None
    deletion_timestamp: Time | None = None
    finalizers: tuple[str, ...] = ()
    owner_references: tuple[OwnerReference, ...] = ()

    @property
    def controller(self) -> OwnerReference | None:
        """The owner that is the controller: it says what belongs to a job; labels can be forged."""
        return next((owner for owner in self.owner_references if owner.controller), None)

    @property
    def controller_uid(self) -> str:
        """The uid of the controller, or nothing."""
        owner = self.controller
        return owner.uid if owner else ""


class Identity(Object):
    """The part of the metadata that names an object; it can always be decoded."""

    name: str = ""
    namespace: str = ""
    uid: str = ""
    resource_version: str = ""


class Unread(Object):
    """An object of which nothing else is decoded."""

    metadata: Identity


class Condition(Object):
    """metav1.Condition; also the shape of Job and pod conditions."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: Time | None = None
    observed_generation: int = 0


class JobSpec(Object):
    suspend: bool = False
    parallelism: int = 1
    managed_by: str = ""


class JobStatus(Object):
    start_time: Time | None = None
    active: int = 0
    ready: int = 0
    conditions: tuple[Condition, ...] = ()


class Job(Object):
    """batch/v1 Job: one attempt."""

    metadata: Metadata
    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()

    def condition(self, type: str) -> Condition | None:
        """Return the condition of this type if it is true."""
        return true_condition(self.status.conditions, type)

    @property
    def ended(self) -> bool:
        """True if the Job is complete or failed: then all its pods have ended."""
        return bool(self.condition("Complete") or self.condition("Failed"))

    @property
    def runs_elsewhere(self) -> bool:
        """True if another controller runs it, with pods in another cluster (MultiKueue).

        https://kep.k8s.io/4368
        """
        return self.spec.managed_by not in ("", "kubernetes.io/job-controller")

    @property
    def unsuspended_at(self) -> Time | None:
        """The time when the Job was last unsuspended, None while it is suspended.

        The condition is checked, too: a suspended Job keeps its old `startTime`, and a resumed one
        keeps both until its controller has seen it (https://kep.k8s.io/2232).
        """
        return None if self.condition("Suspended") else self.status.start_time


class Waiting(Object):
    reason: str = ""
    message: str = ""


class Running(Object):
    started_at: Time | None = None


class Terminated(Object):
    exit_code: int = 0
    signal: int = 0
    reason: str = ""
    message: str = ""
    finished_at: Time | None = None


class ContainerState(Object):
    waiting: Waiting | None = None
    running: Running | None = None
    terminated: Terminated | None = None


class ContainerStatus(Object):
    name: str = ""
    image_id: str = msgspec.field(default="", name="imageID")
    state: ContainerState = ContainerState()


class SchedulingGate(Object):
    name: str = ""


class PodSpec(Object):
    node_name: str = ""
    scheduling_gates: tuple[SchedulingGate, ...] = ()


class PodStatus(Object):
    phase: str = ""
    reason: str = ""
    message: str = ""
    pod_ip: str = msgspec.field(default="", name="podIP")
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class Pod(Object):
    """A pod of an attempt."""

    metadata: Metadata
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    def condition(self, type: str) -> Condition | None:
        """Return the condition of this type if it is true."""
        return true_condition(self.status.conditions, type)

    def image_id(self, name: str) -> str:
        """Return the image that a container runs, with its digest; nothing before it is pulled."""
        found = (each.image_id for each in self.status.container_statuses if each.name == name)
        return next(found, "")

    def container(self, name: str) -> ContainerState:
        """Return the state of the container, empty before the kubelet reports it."""
        statuses = self.status.container_statuses
        return next((status.state for status in statuses if status.name == name), ContainerState())

    @property
    def trainer(self) -> ContainerState:
        """The state of the trainer's container; by it a pod is judged, not by its phase.

        The phase depends on the containers that others add, too. A pod is Pending while one of them
        cannot start, Running while one of them does not end, and Failed if one of them has failed.
        """
        return self.container(c.CONTAINER)

    @property
    def started(self) -> bool:
        """True if the trainer has started, or never will."""
        return bool(self.trainer.running) or self.trainer_ended

    @property
    def trainer_ended(self) -> bool:
        """True if the trainer has ended for good: its pod is never restarted."""
        return self.trainer.terminated is not None or self.ended

    @property
    def kept_by(self) -> tuple[str, ...]:
        """Names of the other containers that keep the pod, though its trainer has ended."""
        if self.ended or not self.trainer_ended:
            return ()
        statuses = (*self.status.container_statuses, *self.status.init_container_statuses)
        return tuple(each.name for each in statuses if each.state.running or each.state.waiting)

    @property
    def is_leader(self) -> bool:
        """True if the pod reports for its Job: in a gang only the pod with index 0 does."""
        return self.metadata.labels.get(c.LABEL_INDEX, "0") == "0"

    @property
    def gated(self) -> bool:
        """True while the scheduler does not look at it: https://kep.k8s.io/3521."""
        return bool(self.spec.scheduling_gates) and not self.spec.node_name

    @property
    def ended(self) -> bool:
        """True if all its containers have ended for good."""
        return self.status.phase in ("Succeeded", "Failed")


class ClaimSpec(Object):
    access_modes: tuple[str, ...] = ()


class Claim(Object):
    """core/v1 PersistentVolumeClaim: its owner and its access modes."""

    metadata: Metadata
    spec: ClaimSpec = ClaimSpec()


class Service(Object):
    """core/v1 Service: its owner."""

    metadata: Metadata


class ObjectReference(Object):
    kind: str = ""
    name: str = ""
    uid: str = ""


class EventSource(Object):
    component: str = ""


class EventSeries(Object):
    last_observed_time: Time | None = None


class Event(Object):
    """core/v1 Event: the only report of quota, admission and mount failures."""

    metadata: Metadata
    involved_object: ObjectReference = ObjectReference()
    type: str = ""
    reason: str = ""
    message: str = ""
    last_timestamp: Time | None = None
    event_time: Time | None = None
    series: EventSeries | None = None
    source: EventSource = EventSource()
    reporting_component: str = ""

    @property
    def reporter(self) -> str:
        """The controller that wrote it: the events.k8s.io recorder leaves `source` empty."""
        return self.source.component or self.reporting_component

    @property
    def last_seen(self) -> Time:
        """Latest time of the last occurrence: the recorder of events.k8s.io/v1 sets no
        lastTimestamp, and that of others is cut to a whole second.
        """
        repeated = self.series.last_observed_time if self.series else None
        counted = self.last_timestamp and self.last_timestamp + REST_OF_A_SECOND
        first = self.event_time or self.metadata.creation_timestamp
        return repeated or counted or first or NEVER


class WorkloadSpec(Object):
    active: bool = True
    queue_name: str = ""


class AdmissionCheck(Object):
    name: str = ""
    state: str = ""
    message: str = ""


class WorkloadStatus(Object):
    conditions: tuple[Condition, ...] = ()
    admission_checks: tuple[AdmissionCheck, ...] = ()


class Workload(Object):
    """A Job in Kueue's queue: its conditions say why it waits."""

    metadata: Metadata
    spec: WorkloadSpec = WorkloadSpec()
    status: WorkloadStatus = WorkloadStatus()

    def condition(self, type: str) -> Condition | None:
        """Return the condition of this type, true or not."""
        return next((each for each in self.status.conditions if each.type == type), None)


def true_condition(conditions: tuple[Condition, ...], type: str) -> Condition | None:
    """Return the condition of this type if its status is "True"."""
    return next((each for each in conditions if each.type == type and each.status == "True"), None)


class Named(Object):
    """An API group or a resource, in a list of them."""

    name: str = ""


class Discovery(Object):
    """What an API server serves: an APIGroupList, or an APIResourceList."""

    groups: tuple[Named, ...] = ()
    resources: tuple[Named, ...] = ()


class GroupVersion(Object):
    version: str = ""


class ApiGroup(Object):
    """The versions of one API group."""

    preferred_version: GroupVersion = GroupVersion()
