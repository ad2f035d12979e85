"""The nodes that the pods may run on: node selector, affinity, tolerations."""

from collections.abc import Iterable

import msgspec

from finetune_operator.api.trainer import Trainer
from finetune_operator.children.manifest import Manifest, without_none
from finetune_operator.policy.plan import CreateAttempt

# MXNet 1.9.1 for CUDA 11.2 has machine code up to compute capability 8.x and no PTX.
UNSUPPORTED_COMPUTE_MAJORS = ["9", "10", "12"]


def node_selector(trainer: Trainer, *, own_image: bool) -> dict[str, str] | None:
    """Return the labels that a node must have; this project's images are for amd64."""
    architecture = {"kubernetes.io/arch": "amd64"} if own_image else {}
    return {**architecture, **trainer.node_selector} or None


def affinity(
    trainer: Trainer, attempt: CreateAttempt, *, gpus: int, own_image: bool
) -> Manifest | None:
    """Return the user's node affinity, with the operator's own requirements in each term.

    They exclude the attempt's nodes to avoid, and GPUs that this project's image has no code for. A
    node without the label of its GPU is allowed. Other nodes than the unpreferred are preferred.
    """
    required = trainer.node_affinity.required.node_selector_terms if trainer.node_affinity else ()
    terms: list[Manifest] = list(msgspec.to_builtins(required))
    own: Manifest = {}
    if own_image and gpus:
        majors = _not_in("nvidia.com/gpu.compute.major", UNSUPPORTED_COMPUTE_MAJORS)
        own["matchExpressions"] = [majors]
    if attempt.avoid:
        own["matchFields"] = _other_than(attempt.avoid)
    if own:
        terms = [_merged(term, own) for term in terms or [{}]]
    preferred = {"weight": 100, "preference": {"matchFields": _other_than(attempt.unpreferred)}}
    rules = without_none(
        {
            "requiredDuringSchedulingIgnoredDuringExecution": (
                {"nodeSelectorTerms": terms} if terms else None
            ),
            "preferredDuringSchedulingIgnoredDuringExecution": (
                [preferred] if attempt.unpreferred else None
            ),
        }
    )
    return {"nodeAffinity": rules} if rules else None


def _merged(term: Manifest, own: Manifest) -> Manifest:
    return {key: [*term.get(key, []), *own.get(key, [])] for key in (term | own)}


def _other_than(nodes: Iterable[str]) -> list[Manifest]:
    """Return a requirement for each node, by its name, as the API server allows one value in each.

    The label kubernetes.io/hostname may differ from the name:
    https://github.com/kubernetes/kubernetes/issues/61410
    """
    return [_not_in("metadata.name", [node]) for node in nodes]


def _not_in(key: str, values: list[str]) -> Manifest:
    return {"key": key, "operator": "NotIn", "values": values}


def tolerations(trainer: Trainer) -> list[Manifest] | None:
    """Return the user's tolerations, and one for the taint of GPU nodes."""
    own: list[Manifest] = list(msgspec.to_builtins(trainer.tolerations))
    if trainer.gpus_per_node:
        own.append({"key": trainer.gpu_resource_name, "operator": "Exists"})
    return own or None
