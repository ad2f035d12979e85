"""The diagnosis of an attempt that does not start: reason, message, and what to change."""

import re
from collections.abc import Callable, Iterable

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Event, Job, Pod, Workload
from finetune_operator.api.types import Failure
from finetune_operator.policy.plan import Attempt

IMAGE_ERRORS = {"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull"}
CONFIG_ERRORS = {"CreateContainerConfigError"}
CONTAINER_ERRORS = {"CreateContainerError", "RunContainerError", "CrashLoopBackOff"}
MOUNT_EVENTS = {"FailedMount", "FailedAttachVolume", "FailedMapVolume"}
# Reasons of a Workload's condition QuotaReserved, of Kueue 0.19 and before, that no wait ends.
BLOCKED = {"Inadmissible", "Misconfigured", "NoMatchingFlavor", "ExceedsMaxQuota", "Suspended"}
# The rest of a scheduler message: what else it has tried.
MESSAGE_TAIL = re.compile(
    r"\s*(no new claims to deallocate|preemption:|(?<=\.) not found).*$", re.S
)
# A kubelet may not read the claims of a pod that the node authorizer does not know yet:
# https://github.com/kubernetes/kubernetes/blob/master/plugin/pkg/auth/authorizer/node/node_authorizer.go
NOT_AUTHORIZED_YET = "no relationship found between node"


def diagnose(attempt: Attempt, events: Iterable[Event] = ()) -> Failure | None:
    """Return what the attempt is waiting for, None if nothing is wrong."""
    pod = attempt.unstarted_pod
    if pod is None:
        return _from_events(events, {"FailedCreate"}, _refused)
    return (
        _waiting(pod)
        or _unscheduled(pod)
        or _from_events(events, MOUNT_EVENTS, lambda event: _unmounted(event, pod))
    )


def queued(workload: Workload | None, events: Iterable[Event]) -> str:
    """Return why Kueue suspends a Job, or its last message about it, or nothing."""
    if workload and (cause := _unadmitted(workload)):
        return cause
    newest = _newest(event for event in events if "kueue" in event.reporter)
    return f"{newest.reason}: {newest.message}" if newest else ""


def _unadmitted(workload: Workload) -> str:
    evicted, quota = workload.condition("Evicted"), workload.condition("QuotaReserved")
    if not workload.spec.active:
        cause = evicted.message if evicted and evicted.message else "The workload is deactivated"
        return f"Deactivated: {cause}"
    if quota and quota.status != "True":
        return f"{quota.reason}: {quota.message}"
    checks = [check for check in workload.status.admission_checks if check.state != "Ready"]
    return "; ".join(
        f"admission check {check.name} is {check.state}: {check.message}" for check in checks
    )


def blocked(workload: Workload | None) -> Failure | None:
    """Return why a queue holds a Job until someone acts, None if the Job only waits its turn."""
    if workload is None:
        return None
    name, cause = workload.metadata.name, _unadmitted(workload)
    if not workload.spec.active:
        return Failure(
            reason=c.WORKLOAD_DEACTIVATED,
            message=f"Kueue will not admit Workload {name!r} any more. {cause}.",
            hint="Set spec.suspend of the FineTuneJob to true and back to false: it gets a new "
            "Workload. If its pods did not start in time, see waitForPodsReady of Kueue.",
        )
    quota = workload.condition("QuotaReserved")
    if quota and quota.status == "False" and quota.reason in BLOCKED:
        return Failure(
            reason=c.QUEUE_BLOCKED,
            message=cause,
            hint=f"Correct the label {c.KUEUE_LABELS[0]} of the FineTuneJob (`kubectl get "
            "localqueues` lists the queues), or ask the queue's administrator.",
        )
    return None


def elsewhere(job: Job) -> Failure:
    """Return what to know of a Job whose pods run in another cluster."""
    return Failure(
        reason=c.RUNS_ELSEWHERE,
        message=f"The pods run in another cluster (managedBy {job.spec.managed_by}): their "
        "progress and their result cannot be read here.",
        hint="Use a ClusterQueue without MultiKueue, or read the result from output.uri.",
    )


def gates(pod: Pod) -> str:
    """Return what a pod that is not to be scheduled yet waits for."""
    names = ", ".join(gate.name for gate in pod.spec.scheduling_gates)
    return f"Pod {pod.metadata.name} waits until its scheduling gates are removed: {names}."


def _waiting(pod: Pod) -> Failure | None:
    waiting = pod.container(c.CONTAINER).waiting
    if waiting is None:
        return None
    if waiting.reason in IMAGE_ERRORS:
        return Failure(
            reason=c.IMAGE_PULL_ERROR,
            message=waiting.message or f"The image cannot be pulled ({waiting.reason}).",
            hint="Check the name in trainer.image and trainer.imagePullSecrets.",
            pod=pod.metadata.name,
        )
    if waiting.reason in CONFIG_ERRORS:
        hint = "Create the Secret or ConfigMap that the message names, in the job's namespace."
        return Failure(
            reason=c.CONFIG_ERROR, message=waiting.message, hint=hint, pod=pod.metadata.name
        )
    if waiting.reason in CONTAINER_ERRORS:
        hint = "Check trainer.image and trainer.runtimeClassName."
        return Failure(
            reason=c.CONTAINER_ERROR, message=waiting.message, hint=hint, pod=pod.metadata.name
        )
    return None


def _unscheduled(pod: Pod) -> Failure | None:
    condition = next((p for p in pod.status.conditions if p.type == "PodScheduled"), None)
    if condition is None or condition.status != "False":
        return None
    message, name = condition.message, pod.metadata.name
    if found := re.search(r'persistentvolumeclaim "([^"]+)" not found', message):
        claim = found.group(1)
        hint = f"Create the claim {claim!r}, or correct its name in the FineTuneJob."
        text = f"There is no PersistentVolumeClaim {claim!r} in namespace {pod.metadata.namespace}."
        return Failure(reason=c.CLAIM_NOT_FOUND, message=text, hint=hint, pod=name)
    message = MESSAGE_TAIL.sub("", message)
    if "unbound" in message and "PersistentVolumeClaim" in message:
        hint = "Run `kubectl describe pvc`: its StorageClass or size may not be available."
        return Failure(reason=c.CLAIM_NOT_BOUND, message=message, hint=hint, pod=name)
    return Failure(
        reason=c.UNSCHEDULABLE, message=message, hint=_scheduling_hint(message), pod=name
    )


def _scheduling_hint(message: str) -> str:
    if short := sorted(set(re.findall(r"Insufficient (\S+?)[.,]?(?:\s|$)", message))):
        # Only extended resources have a domain: nvidia.com/gpu.
        fields = {"trainer.gpusPerNode" if "/" in name else "trainer.resources" for name in short}
        what, where = " and ".join(short), " and ".join(sorted(fields))
        return f"No node has enough free {what}: lower {where}, or wait."
    if "affinity" in message or "selector" in message:
        return (
            "No node matches: check trainer.nodeSelector, and that GPU nodes have supported GPUs."
        )
    if "taint" in message:
        return "The matching nodes are tainted: add trainer.tolerations."
    return "The scheduler found no node; its message says why."


def _refused(event: Event) -> Failure:
    message = event.message
    if "exceeded quota" in message:
        hint = "Raise the ResourceQuota, or lower trainer.resources or trainer.gpusPerNode."
    elif "violates PodSecurity" in message:
        hint = "The namespace rejects the pod: check its pod-security labels."
    else:
        hint = "An admission policy rejected the pod; its message says why."
    return Failure(reason=c.CREATE_REFUSED, message=message, hint=hint)


def _unmounted(event: Event, pod: Pod) -> Failure:
    hint = "Check the claim's volume and the storage driver on the node."
    return Failure(reason=c.MOUNT_FAILED, message=event.message, hint=hint, pod=pod.metadata.name)


def _from_events(
    events: Iterable[Event], reasons: set[str], build: Callable[[Event], Failure]
) -> Failure | None:
    found = [
        event
        for event in events
        if event.reason in reasons
        and event.type == "Warning"
        and NOT_AUTHORIZED_YET not in event.message
    ]
    newest = _newest(found)
    return build(newest) if newest else None


def _newest(events: Iterable[Event]) -> Event | None:
    return max(events, key=lambda e: str(e.last_timestamp or e.event_time), default=None)
