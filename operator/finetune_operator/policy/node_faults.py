"""The faults of a node that end an attempt without a fault of the trainer.

Neither the kubelet nor the container runtime sets the condition DisruptionTarget then
(https://github.com/kubernetes/kubernetes/issues/121475). Their reasons are not listed here: new
versions and other runtimes have others. What no node can run still ends the job, as disruptions in
a row without progress count from the sixth on.
"""

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Pod, Terminated
from finetune_operator.api.types import Failure

TRAINERS_OWN = ("", "Completed", "Error", "OOMKilled")
"""The reasons of a container whose process has run and ended: its exit code is the trainer's."""
END_UNKNOWN = ("Unknown", "ContainerStatusUnknown")
"""The reasons of a container that was not there any more when its runtime or kubelet restarted."""
SIGNALS = range(129, 193)
"""The exit codes 128 + n of a process that was killed by signal n."""


def fault_of(pod: Pod) -> Failure | None:
    """Return the fault that ended the pod, None if its trainer ended by itself."""
    terminated = pod.container(c.CONTAINER).terminated
    if terminated is None:
        return _rejection(pod) if pod.status.phase == "Failed" and pod.status.reason else None
    if terminated.reason in TRAINERS_OWN:
        return None
    if terminated.reason in END_UNKNOWN:
        return _unknown_end(pod, terminated)
    # CRI-O has words of its own for signals, such as "seccomp killed".
    return None if terminated.exit_code in SIGNALS else _not_started(pod, terminated)


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


def _unknown_end(pod: Pod, terminated: Terminated) -> Failure:
    message = (
        f"Node {pod.spec.node_name!r} or its container runtime restarted: how the trainer ended "
        f"is not known (exit code {terminated.exit_code}, {terminated.reason})."
    )
    # With Unknown the message is the end of the trainer's log.
    words = "" if terminated.reason == "Unknown" else terminated.message
    return _disruption(
        pod,
        terminated,
        f"{message} {words}".strip(),
        f"The next attempt resumes from the last checkpoint. {_check(pod)}",
    )


def _not_started(pod: Pod, terminated: Terminated) -> Failure:
    return _disruption(
        pod,
        terminated,
        f"The container runtime of node {pod.spec.node_name!r} could not start the trainer "
        f"({terminated.reason}): {terminated.message}",
        "The next attempt prefers another node. If it fails there, too, check trainer.image and "
        "trainer.runtimeClassName; else the node's GPU driver and container runtime.",
    )


def _disruption(pod: Pod, terminated: Terminated, message: str, hint: str) -> Failure:
    return Failure(
        reason=c.DISRUPTED,
        message=message,
        hint=hint,
        exit_code=terminated.exit_code,
        pod=pod.metadata.name,
    )


def _check(pod: Pod) -> str:
    return f"Check the node: `kubectl describe node {pod.spec.node_name}`."
