"""Advice on what to change, by the words of the scheduler, the kubelet and the API server."""

import re

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Event, Pod, Waiting

GATED = "The controller that set them in spec.schedulingGates, such as a queue, must do so."

SCHEDULER = (
    (
        "volume node affinity|PersistentVolume's node affinity|no available volume zone",
        "The claim's volume can be mounted only in its own zone or on its own node: use a claim "
        "whose volume is where the nodes with free resources are (its StorageClass with "
        "volumeBindingMode WaitForFirstConsumer), or add nodes there.",
    ),
    (
        "node affinity/selector|node selector",
        "No node matches: check trainer.nodeSelector, and that GPU nodes have supported GPUs.",
    ),
    ("taint", "The matching nodes are tainted: add trainer.tolerations."),
    ("unschedulable", "Nodes are cordoned: `kubectl uncordon` them, or wait."),
)
WAITING = (
    (
        "^[^:]*(Image|Registry|Signature)",
        c.IMAGE_PULL_ERROR,
        "Check the name in trainer.image and trainer.imagePullSecrets.",
    ),
    (
        "^[^:]*Config.* not found",
        c.CONFIG_ERROR,
        "Create the Secret or ConfigMap that the message names, in the job's namespace.",
    ),
    (
        "^[^:]*Config",
        c.CONFIG_ERROR,
        "Check trainer.image, trainer.env and trainer.securityContext.",
    ),
    ("", c.CONTAINER_ERROR, "Check trainer.image and trainer.runtimeClassName."),
)
REFUSAL = (
    (
        "exceeded quota",
        "Raise the ResourceQuota, or lower trainer.resources or trainer.gpusPerNode.",
    ),
    (
        "violates PodSecurity",
        "The namespace rejects the pod: check its pod-security labels, and what injects a "
        "container that is named.",
    ),
    ("PriorityClass", "Create the PriorityClass, or correct trainer.priorityClassName."),
    ("service ?account", "Create the ServiceAccount, or correct trainer.serviceAccountName."),
    ("RuntimeClass", "Create the RuntimeClass, or correct trainer.runtimeClassName."),
    (
        "(maximum|minimum) .* usage per|limit to request ratio",
        "The namespace's LimitRange does not allow trainer.resources: "
        "`kubectl describe limitrange`.",
    ),
    (
        "must be less than or equal to .* limit",
        "A LimitRange of the namespace gives pods a default limit below their request: "
        "set trainer.resources.limits.",
    ),
    ("failed calling webhook", "The webhook that the message names does not answer: repair it."),
    ("", "An admission policy rejected the pod; its message says why."),
)


def of_scheduler(message: str) -> str:
    """Return a hint for each cause that the scheduler names, at most two."""
    found = [*_insufficient(message), *(hint for words, hint in SCHEDULER if _has(words, message))]
    return " ".join(found[:2]) or "The scheduler found no node; its message says why."


def of_waiting(waiting: Waiting) -> tuple[str, str]:
    """Return the reason and the hint for a container that waits."""
    text = f"{waiting.reason}: {waiting.message}"
    return next((reason, hint) for words, reason, hint in WAITING if _has(words, text))


def of_refusal(message: str) -> str:
    """Return a hint for a pod that the API server does not create."""
    return next(hint for words, hint in REFUSAL if _has(words, message))


def of_warning(warning: Event, pod: Pod) -> str:
    """Return a hint for a pod that its node does not start."""
    if "no runtime for" in warning.message:
        return "Check trainer.runtimeClassName, and the container runtime of the pod's node."
    node = pod.spec.node_name
    look = f"`kubectl describe pod {pod.metadata.name}` has all events of the pod"
    return f"{look}; check its node {node!r}, too." if node else f"{look}."


def _insufficient(message: str) -> list[str]:
    short = sorted(set(re.findall(r"Insufficient (\S+?)[.,]?(?:\s|$)", message)))
    if not short:
        return []
    # Only extended resources have a domain: nvidia.com/gpu.
    fields = {"trainer.gpusPerNode" if "/" in name else "trainer.resources" for name in short}
    what, where = " and ".join(short), " and ".join(sorted(fields))
    return [f"No node has enough free {what}: lower {where}, or wait."]


def _has(words: str, text: str) -> bool:
    return bool(re.search(words, text))
