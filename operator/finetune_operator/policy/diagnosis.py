"""The diagnosis of an attempt that does not start: reason, message, and what to change.

Every waiting reason with a message and every Warning is reported in its own words. The lists here
only choose a better hint; what they do not have is reported too.
"""

import re
from collections.abc import Iterable

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Condition, Event, Job, Pod, Waiting, Workload
from finetune_operator.api.types import Failure
from finetune_operator.policy import hints
from finetune_operator.policy.plan import Attempt

ON_ITS_WAY = ("", "ContainerCreating", "PodInitializing")
"""Waiting reasons of a container whose turn has not come, or that is being created."""
PROGRESS = ("Scheduled", "Pulling", "Pulled", "Created", "Started")
"""Reasons of Events that end what an earlier Warning is about."""
HARMLESS = ("CheckLimitsForResolvConf", "DNSConfigForming", "MissingClusterDNS", "PolicyViolation")
"""Reasons of Warnings that are repeated for pods that start."""
# A kubelet may not read the claims of a pod that the node authorizer does not know yet:
# https://github.com/kubernetes/kubernetes/blob/master/plugin/pkg/auth/authorizer/node/node_authorizer.go
NOT_AUTHORIZED_YET = "no relationship found between node"
# Reasons of a Workload's condition QuotaReserved, of Kueue 0.19 and before, that no wait ends.
BLOCKED = {"Inadmissible", "Misconfigured", "NoMatchingFlavor", "ExceedsMaxQuota", "Suspended"}
# The rest of a scheduler message: what else it has tried.
MESSAGE_TAIL = re.compile(
    r"\s*(no new claims to deallocate|preemption:|(?<=\.) not found).*$", re.S
)


def diagnose(attempt: Attempt, events: Iterable[Event] = ()) -> Failure | None:
    """Return what the attempt is waiting for, None if nothing is wrong.

    The events are those of its unstarted pod, or of its Job if it has no pod; they are read only
    after a while.
    """
    events, pod = tuple(events), attempt.unstarted_pod
    if pod is None:
        failed = _newest_warning(event for event in events if event.reason.startswith("Failed"))
        return _refused(failed) if failed else None
    warning = _newest_warning(events)
    return (
        _unscheduled(pod)
        or _waiting(pod)
        or (_warned(pod, warning) if warning else None)
        or (_initializing(pod) if events else None)
    )


def beside(attempt: Attempt) -> Failure | None:
    """Return what keeps another container of a started attempt from starting, None if nothing."""
    for pod in attempt.pods:
        for each in (*pod.status.container_statuses, *pod.status.init_container_statuses):
            waiting = each.state.waiting
            if waiting and waiting.message and each.name != c.CONTAINER:
                return Failure(
                    reason=c.CONTAINER_ERROR,
                    message=f"Container {each.name!r} does not start: {waiting.message}",
                    hint="The trainer runs. See what injects that container.",
                    pod=pod.metadata.name,
                )
    return None


def queued(workload: Workload | None, events: Iterable[Event]) -> str:
    """Return why Kueue suspends a Job, or its last message about it, or nothing."""
    if workload and (cause := _unadmitted(workload)):
        return cause
    newest = _newest(event for event in events if "kueue" in event.reporter)
    if newest:
        return f"{newest.reason}: {newest.message}"
    # Kueue says nothing of a Workload behind another that asks for the same and has no quota.
    queue = workload.spec.queue_name if workload else ""
    return f"It waits its turn in the LocalQueue {queue!r} of Kueue." if queue else ""


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
    text = f"Pod {pod.metadata.name} waits until its scheduling gates are removed: {names}."
    return f"{text} {hints.GATED}"


def _unscheduled(pod: Pod) -> Failure | None:
    condition = _false_condition(pod, "PodScheduled")
    if condition is None or condition.reason == c.SCHEDULING_GATED:  # see gates()
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
    hint = hints.of_scheduler(message)
    return Failure(reason=c.UNSCHEDULABLE, message=message, hint=hint, pod=name)


def _waiting(pod: Pod) -> Failure | None:
    """Return why a container does not start: an init container, the trainer, or another one."""
    others_last = sorted(pod.status.container_statuses, key=lambda each: each.name != c.CONTAINER)
    for status in (*pod.status.init_container_statuses, *others_last):
        waiting = status.state.waiting
        if waiting and (waiting.message or waiting.reason not in ON_ITS_WAY):
            return _container_waits(pod, status.name, waiting)
    return None


def _container_waits(pod: Pod, container: str, waiting: Waiting) -> Failure:
    reason, hint = hints.of_waiting(waiting)
    message = waiting.message
    if "Pull" in waiting.reason:  # two reasons that take turns: the message stays the same
        message = message or f"The image cannot be pulled ({waiting.reason})."
    elif waiting.reason not in message:
        message = f"{waiting.reason}: {message}".removesuffix(": ")
    if container != c.CONTAINER:
        message = f"Container {container!r} does not start: {message}"
        hint = f"The FineTuneJob does not ask for {container!r}: see what injects it."
    return Failure(reason=reason, message=message, hint=hint, pod=pod.metadata.name)


def _warned(pod: Pod, warning: Event) -> Failure:
    name = pod.metadata.name
    if re.search("Mount|Volume", warning.reason):
        hint = "Check the claim's volume and the storage driver on the node."
        return Failure(reason=c.MOUNT_FAILED, message=warning.message, hint=hint, pod=name)
    return Failure(
        reason=c.POD_NOT_STARTING,
        message=f"{warning.reason}: {warning.message}",
        hint=hints.of_warning(warning, pod),
        pod=name,
    )


def _initializing(pod: Pod) -> Failure | None:
    """Return which init containers the trainer waits for: the kubelet lists them."""
    condition = _false_condition(pod, "Initialized")
    if condition is None:
        return None
    return Failure(
        reason=c.POD_NOT_STARTING,
        message=f"The trainer waits for init containers: {condition.message}.",
        hint=f"See their logs: `kubectl logs {pod.metadata.name} --all-containers`.",
        pod=pod.metadata.name,
    )


def _refused(warning: Event) -> Failure:
    """Return why the Job has no pod."""
    message, hint = warning.message, hints.of_refusal(warning.message)
    return Failure(reason=c.CREATE_REFUSED, message=message, hint=hint)


def _newest_warning(events: Iterable[Event]) -> Event | None:
    """Return the newest Warning, None if the pod has come further since."""
    events = tuple(events)
    warning = _newest(
        event
        for event in events
        if event.type == "Warning"
        and event.reason not in HARMLESS
        and NOT_AUTHORIZED_YET not in event.message
    )
    progress = _newest(event for event in events if event.reason in PROGRESS)
    over = warning and progress and warning.last_seen < progress.last_seen
    return None if over else warning


def _newest(events: Iterable[Event]) -> Event | None:
    return max(events, key=lambda event: event.last_seen, default=None)


def _false_condition(pod: Pod, type: str) -> Condition | None:
    conditions = (each for each in pod.status.conditions if each.type == type)
    return next((each for each in conditions if each.status == "False"), None)
