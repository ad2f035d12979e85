"""Small builders of what the operator sees: a test names only what it is about.

make_job takes spec fields by the names users write: make_job(backoffLimit=1).
"""

import datetime
import json
from typing import Any, TypeVar

import msgspec
from finetune_operator.api import constants as c
from finetune_operator.api import contract
from finetune_operator.api.kubernetes import (
    Condition,
    ContainerState,
    ContainerStatus,
    Event,
    Job,
    JobSpec,
    JobStatus,
    Metadata,
    OwnerReference,
    Pod,
    PodSpec,
    PodStatus,
    Running,
    SchedulingGate,
    Terminated,
    Waiting,
    Workload,
    WorkloadSpec,
    WorkloadStatus,
)
from finetune_operator.api.types import (
    AttemptRecord,
    CheckpointStatus,
    CurrentAttempt,
    FineTuneJob,
    Metric,
    Status,
    TrainerStatus,
)
from finetune_operator.policy.plan import Attempt

C = TypeVar("C", Job, Pod)
NAME, NAMESPACE, UID = "photos", "team", "job-uid"
NOW = datetime.datetime(2026, 1, 1, 12, tzinfo=datetime.UTC)


def later(seconds: float, start: datetime.datetime = NOW) -> datetime.datetime:
    return start + datetime.timedelta(seconds=seconds)


def make_job(
    status: Status | None = None, *, name: str = NAME, uid: str = UID, **spec: Any
) -> FineTuneJob:
    body = {
        "metadata": {
            "name": name,
            "namespace": NAMESPACE,
            "uid": uid,
            "generation": 1,
            "resourceVersion": "7",
        },
        "spec": {
            "model": {"name": "efficientnet-lite0"},
            "dataset": {"source": {"uri": "pvc://photos"}},
            "output": {"uri": "pvc://models"},
            **spec,
        },
    }
    job = msgspec.convert(body, FineTuneJob)
    return msgspec.structs.replace(job, status=status) if status else job


def make_status(*, attempt: int = 0, **fields: Any) -> Status:
    """A status; `attempt`: the number of the live one."""
    if attempt:
        current = CurrentAttempt(number=attempt, job_name=f"{NAME}-{attempt}", start_time=NOW)
        fields = {"attempts": attempt, "current_attempt": current, **fields}
    defaults = {"start_time": NOW, "image": "trainer:1", "observed_generation": 1}
    return Status(**{**defaults, "observed_uid": UID, **fields})


def make_history(
    *reasons: str, epoch: int | None = None, node: str = ""
) -> tuple[AttemptRecord, ...]:
    return tuple(
        AttemptRecord(number=number, reason=reason, end_time=NOW, checkpoint_epoch=epoch, node=node)
        for number, reason in enumerate(reasons, 1)
    )


def make_pod(
    phase: str = "Running",
    *,
    uid: str = "pod-1",
    owner: str = "attempt-1",
    index: int | None = None,
    node: str = "node-a",
    created: datetime.datetime = NOW,
    deleting: bool | float = False,
    finalizers: tuple[str, ...] = (),
    state: ContainerState | None = None,
    image_id: str = "",
    conditions: tuple[Condition, ...] = (),
    beside: ContainerState | None = None,
    before: ContainerState | None = None,
    **status: Any,
) -> Pod:
    """A pod; `deleting`: when its grace is over; `beside` and `before`: an injected container, of
    the ordinary ones and of the init containers.
    """
    number, _, role = owner.removeprefix("attempt-").partition("-")
    labels = {
        c.LABEL_JOB: NAME,
        c.LABEL_JOB_UID: UID,
        c.LABEL_MANAGED_BY: c.MANAGER,
        c.LABEL_ATTEMPT: number,
        c.LABEL_ROLE: role or c.ROLE_TRAIN,
    }
    if index is not None:
        labels[c.LABEL_INDEX] = str(index)
    if state is None:
        state = ContainerState(running=Running(started_at=created) if phase == "Running" else None)
    return Pod(
        metadata=Metadata(
            name=uid,
            namespace=NAMESPACE,
            uid=uid,
            labels=labels,
            creation_timestamp=created,
            deletion_timestamp=None if deleting is False else later(deleting),
            finalizers=finalizers,
            owner_references=(OwnerReference(kind="Job", uid=owner, controller=True),),
        ),
        spec=PodSpec(node_name="" if phase == "Pending" else node),
        status=PodStatus(
            phase=phase,
            conditions=conditions,
            container_statuses=(
                ContainerStatus(name=c.CONTAINER, state=state, image_id=image_id),
                *_injected("proxy", beside),
            ),
            init_container_statuses=_injected("vault", before),
            **status,
        ),
    )


def make_gated_pod(*gates: str) -> Pod:
    """A pod that the scheduler does not look at yet, as the API server makes it."""
    condition = Condition(
        type="PodScheduled",
        status="False",
        reason="SchedulingGated",
        message="Scheduling is blocked due to non-empty scheduling gates",
    )
    pod = make_pod("Pending", conditions=(condition,))
    spec = PodSpec(scheduling_gates=tuple(SchedulingGate(name=gate) for gate in gates))
    return msgspec.structs.replace(pod, spec=spec)


def make_workload(
    reason: str = "Pending",
    message: str = "",
    *,
    active: bool = True,
    job_uid: str = "attempt-1",
    evicted: str = "",
) -> Workload:
    """Kueue's Workload of an attempt; `reason`, `message`: why it has no quota."""
    conditions = [
        Condition(type="QuotaReserved", status="False", reason=reason, message=message),
    ]
    if evicted:
        conditions.append(
            Condition(type="Evicted", status="True", reason="Deactivated", message=evicted)
        )
    return Workload(
        metadata=Metadata(
            name="job-photos-1-0a1b2",
            namespace=NAMESPACE,
            uid="workload-1",
            labels={c.LABEL_WORKLOAD_JOB: job_uid},
            owner_references=(OwnerReference(kind="Job", uid=job_uid, controller=True),),
        ),
        spec=WorkloadSpec(active=active),
        status=WorkloadStatus(conditions=tuple(conditions)),
    )


def _injected(name: str, state: ContainerState | None) -> tuple[ContainerStatus, ...]:
    return (ContainerStatus(name=name, state=state),) if state else ()


def make_ended_pod(
    code: int, message: str = "", *, reason: str = "Error", phase: str = "", **pod: Any
) -> Pod:
    terminated = Terminated(exit_code=code, reason=reason, message=message, finished_at=NOW)
    phase = phase or ("Failed" if code else "Succeeded")
    return make_pod(phase, state=ContainerState(terminated=terminated), **pod)


def make_kept_pod(code: int, message: str = "", **pod: Any) -> Pod:
    """A pod whose trainer has ended, and that an injected container keeps running."""
    running = {"beside": ContainerState(running=Running())}
    return make_ended_pod(code, message, **{"phase": "Running", **running, **pod})


def make_waiting_pod(reason: str, message: str = "") -> Pod:
    return make_pod(
        "Pending", state=ContainerState(waiting=Waiting(reason=reason, message=message))
    )


def make_attempt(
    number: int = 1,
    *pods: Pod,
    ended: str = "",
    message: str = "",
    reason: str = "",
    suspended: bool = False,
    deleting: bool = False,
    finalizers: tuple[str, ...] = (),
    started: datetime.datetime | None = NOW,
    prepare: bool = False,
    nodes: int = 1,
    managed_by: str = "",
    ready: int = 0,
    queue: str = "",
) -> Attempt:
    """An attempt; `ended`: the type of its Job's last condition, `message` and `reason`: its own.

    The Job controller fails a Job whose pod no rule of its podFailurePolicy matches with the reason
    BackoffLimitExceeded.
    """
    name = f"{number}-prepare" if prepare else str(number)
    role = c.ROLE_PREPARE if prepare else c.ROLE_TRAIN
    condition = Condition(type=ended, status="True", reason=reason, message=message)
    conditions = (condition,) if ended else ()
    labels = {
        c.LABEL_JOB: NAME,
        c.LABEL_JOB_UID: UID,
        c.LABEL_ATTEMPT: str(number),
        c.LABEL_ROLE: role,
    }
    if queue:
        labels[c.KUEUE_LABELS[0]] = queue
    job = Job(
        metadata=Metadata(
            name=f"{NAME}-{name}",
            namespace=NAMESPACE,
            uid=f"attempt-{name}",
            labels=labels,
            creation_timestamp=NOW,
            deletion_timestamp=NOW if deleting else None,
            finalizers=finalizers,
            owner_references=(OwnerReference(kind=c.KIND, name=NAME, uid=UID, controller=True),),
        ),
        spec=JobSpec(suspend=suspended, parallelism=nodes, managed_by=managed_by),
        status=JobStatus(
            start_time=None if suspended else started, ready=ready, conditions=conditions
        ),
    )
    return Attempt(number=number, job=job, pods=pods)


def without_owner(child: C, *, uid: str = UID) -> C:
    """The Job or pod after --cascade=orphan; `uid`: that of its FineTuneJob."""
    labels = {**child.metadata.labels, c.LABEL_JOB_UID: uid}
    metadata = msgspec.structs.replace(child.metadata, labels=labels, owner_references=())
    return msgspec.structs.replace(child, metadata=metadata)


def make_ended_attempt(number: int, code: int, message: str = "", **pod: Any) -> Attempt:
    """An attempt whose pod exited with this code, and whose Job says so."""
    ended = make_ended_pod(code, message, owner=f"attempt-{number}", **pod)
    return make_attempt(number, ended, ended="Failed" if code else "Complete")


def make_progress(
    stage: str = "fit",
    *,
    percent: int = 50,
    epoch: int | None = None,
    worked: str | None = None,
    **fields: Any,
) -> contract.Progress:
    """An answer; `worked`: when work was last done, as the trainer writes it."""
    figures = TrainerStatus(
        progress_percentage=percent, estimated_remaining_seconds=600, last_updated_time=worked
    )
    checkpoint = None if epoch is None else CheckpointStatus(epoch=epoch)
    return contract.Progress(
        job=contract.JobRef(uid=UID, attempt=1, pod_uid="pod-1"),
        stage=stage,
        **{"trainer_status": figures, "checkpoint": checkpoint, **fields},
    )


def make_figures(
    *,
    at: float | str | None = 0,
    percent: int = 50,
    remaining: int = 600,
    speed: str = "210.0",
    metrics: dict[str, str] | None = None,
) -> TrainerStatus:
    """The figures of a report; `at`: the second of the last work, or the text of its time."""
    named = {"accuracy": "0.8", "images-per-second": speed, **(metrics or {})}
    return TrainerStatus(
        progress_percentage=percent,
        estimated_remaining_seconds=remaining,
        metrics=tuple(Metric(name=name, value=value) for name, value in named.items()),
        last_updated_time=later(at).isoformat() if isinstance(at, int | float) else at,
    )


def make_event(reason: str, message: str, *, type: str = "Warning", at: float = 0) -> Event:
    return Event(
        metadata=Metadata(name="event"),
        type=type,
        reason=reason,
        message=message,
        last_timestamp=later(at),
    )


def disrupted(message: str = "Eviction API: evicting") -> Condition:
    return Condition(type="DisruptionTarget", status="True", message=message)


def termination_message(pod_uid: str = "pod-1", **what: Any) -> str:
    """What the trainer leaves: `result={...}`, `prepared={...}` or `error={...}`."""
    return json.dumps({"job": {"uid": UID, "attempt": 1, "podUid": pod_uid}, **what})


def result_message(accuracy: str = "0.8704", pod_uid: str = "pod-1", **result: Any) -> str:
    return termination_message(pod_uid, result={"accuracy": accuracy, **result})


def error_message(
    reason: str, message: str = "What happened.", pod_uid: str = "pod-1", **error: Any
) -> str:
    return termination_message(pod_uid, error={"reason": reason, "message": message, **error})
