"""The faults of a node that end an attempt without a fault of the trainer.

Neither the kubelet nor the container runtime sets the condition DisruptionTarget then
(https://github.com/kubernetes/kubernetes/issues/121475). Their reasons are not listed here: new
versions and other runtimes have others. What no node can run still ends the job, as disruptions in
a row without progress count from the sixth on.
"""

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Pod, Terminated
from finetune_operator.api.types import Failure

OWN_END = ("", "Completed", "Error", "OOMKilled")
"""The reasons of a container whose process has run and ended: the exit code is its own."""
END_UNKNOWN = ("Unknown", "ContainerStatusUnknown")
"""The reasons of a container that was not there any more when its runtime or kubelet restarted."""
SIGNALS = range(129, 193)
"""The exit codes 128 + n of a process that was killed by signal n."""


def fault_of(pod: Pod) -> Failure | None:
    """Return the fault that ended the pod, None if its trainer ended by itself.

    An init container may have had the fault, before the trainer was started.
    """
    if ended := pod.container(c.CONTAINER).terminated:
        return _runtime_fault(pod, c.CONTAINER, ended)
    if pod.status.phase == "Failed" and pod.status.reason:
        return _rejection(pod)
    statuses = (*pod.status.init_container_statuses, *pod.status.container_statuses)
    others = ((each.name, each.state.terminated) for each in statuses)
    found = (_runtime_fault(pod, name, ended) for name, ended in others if ended)
    return next((failure for failure in found if failure), None)


def _runtime_fault(pod: Pod, container: str, ended: Terminated) -> Failure | None:
    if ended.reason in OWN_END:
        return None
    if ended.reason in END_UNKNOWN:
        return _unknown_end(pod, container, ended)
    # CRI-O has words of its own for signals, such as "seccomp killed".
    return None if ended.exit_code in SIGNALS else _not_started(pod, container, ended)


def _rejection(pod: Pod) -> Failure:
    """Return the failure of a pod that the kubelet did not admit: none of its containers ran."""
    status = pod.status
    return Failure(
        reason=c.POD_REJECTED,
        message=f"The kubelet of node {pod.spec.node_name!r} rejected the pod ({status.reason}): "
        f"{status.message or 'it gave no message.'}",
        hint=f"The next attempt prefers another node. {_check(pod)}",
        pod=pod.metadata.name,
    )


def _unknown_end(pod: Pod, container: str, ended: Terminated) -> Failure:
    message = (
        f"Node {pod.spec.node_name!r} or its container runtime restarted: how container "
        f"{container!r} ended is not known (exit code {ended.exit_code}, {ended.reason})."
    )
    # With Unknown the message is the end of the container's log.
    words = "" if ended.reason == "Unknown" else ended.message
    return _disruption(
        pod,
        ended,
        f"{message} {words}".strip(),
        f"The next attempt resumes from the last checkpoint. {_check(pod)}",
    )


def _not_started(pod: Pod, container: str, ended: Terminated) -> Failure:
    return _disruption(
        pod,
        ended,
        f"The container runtime of node {pod.spec.node_name!r} could not start container "
        f"{container!r} ({ended.reason}): {ended.message}",
        "The next attempt prefers another node. If it fails there, too, check trainer.image and "
        "trainer.runtimeClassName; else the node's GPU driver and container runtime.",
    )


def _disruption(pod: Pod, ended: Terminated, message: str, hint: str) -> Failure:
    return Failure(
        reason=c.DISRUPTED,
        message=message,
        hint=hint,
        exit_code=ended.exit_code,
        pod=pod.metadata.name,
    )


def _check(pod: Pod) -> str:
    return f"Check the node: `kubectl describe node {pod.spec.node_name}`."
