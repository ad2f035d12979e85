"""The nodes that the pods may run on: node selector, affinity, tolerations."""

import msgspec

from finetune_operator.api.trainer import Trainer
from finetune_operator.children.manifest import Manifest

# MXNet 1.9.1 for CUDA 11.2 has machine code up to compute capability 8.x and no PTX.
UNSUPPORTED_COMPUTE_MAJORS = ["9", "10", "12"]


def node_selector(trainer: Trainer, *, own_image: bool) -> dict[str, str] | None:
    """Return the labels that a node must have; this project's images are for amd64."""
    architecture = {"kubernetes.io/arch": "amd64"} if own_image else {}
    return {**architecture, **trainer.node_selector} or None


def affinity(
    trainer: Trainer, *, gpus: int, own_image: bool, avoid: tuple[str, ...] = ()
) -> Manifest | None:
    """Return the user's node affinity, with the operator's own expressions in each term.

    They exclude the nodes to `avoid`, and GPUs that this project's image has no code for. A node
    without the label of its GPU is allowed.
    """
    required = trainer.node_affinity.required.node_selector_terms if trainer.node_affinity else ()
    terms: list[Manifest] = list(msgspec.to_builtins(required))
    own = []
    if own_image and gpus:
        own.append(_not_in("nvidia.com/gpu.compute.major", UNSUPPORTED_COMPUTE_MAJORS))
    if avoid:
        own.append(_not_in("kubernetes.io/hostname", list(avoid)))
    if own:
        terms = terms or [{"matchExpressions": []}]
    for term in terms:
        term["matchExpressions"] = [*term["matchExpressions"], *own]
    if not terms:
        return None
    selector = {"nodeSelectorTerms": terms}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": selector}}


def _not_in(key: str, values: list[str]) -> Manifest:
    return {"key": key, "operator": "NotIn", "values": values}


def tolerations(trainer: Trainer) -> list[Manifest] | None:
    """Return the user's tolerations, and one for the taint of GPU nodes."""
    own: list[Manifest] = list(msgspec.to_builtins(trainer.tolerations))
    if trainer.gpus_per_node:
        own.append({"key": trainer.gpu_resource_name, "operator": "Exists"})
    return own or None
