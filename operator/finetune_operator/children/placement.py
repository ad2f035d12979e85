"""Where the pods may run, as parts of their spec."""

import msgspec

from finetune_operator.api.trainer import Trainer
from finetune_operator.children.manifest import Manifest

# MXNet 1.9.1 for CUDA 11.2 has machine code up to compute capability 8.x and no PTX.
UNSUPPORTED_COMPUTE_MAJORS = ["9", "10", "12"]


def node_selector(trainer: Trainer, *, own_image: bool) -> dict[str, str] | None:
    """Return the labels a node must have; the project's own images are for amd64."""
    architecture = {"kubernetes.io/arch": "amd64"} if own_image else {}
    return {**architecture, **trainer.node_selector} or None


def affinity(
    trainer: Trainer, *, gpus: int, own_image: bool, avoid: tuple[str, ...] = ()
) -> Manifest | None:
    """Return the user's terms, each of which also keeps the pods off the nodes to avoid, and the
    project's own GPU image off GPUs it has no code for; a node without that label passes.
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
    """Return the user's tolerations and the one of the GPU resource's own taint."""
    own: list[Manifest] = list(msgspec.to_builtins(trainer.tolerations))
    if trainer.gpus_per_node:
        own.append({"key": trainer.gpu_resource_name, "operator": "Exists"})
    return own or None
