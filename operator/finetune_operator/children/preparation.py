"""The pods that prepare the data set: the trainer's, without what only its GPUs need."""

from typing import TypeVar

import msgspec

from finetune_operator.api.scheduling import NodeAffinity, NodeTerm, NodeTerms, Toleration
from finetune_operator.api.trainer import PreparationPods, Resources, Trainer

T = TypeVar("T")


def preparing(trainer: Trainer) -> Trainer:
    """Return the trainer section for pods that prepare: its own fields first, then the default."""
    own = trainer.preparation or PreparationPods()
    default = _without_gpus(trainer) if trainer.gpus_per_node else trainer
    return msgspec.structs.replace(
        default,
        resources=_or(own.resources, default.resources),
        node_selector=_or(own.node_selector, default.node_selector),
        node_affinity=_or(own.node_affinity, default.node_affinity),
        tolerations=_or(own.tolerations, default.tolerations),
    )


def _or(own: T | None, default: T) -> T:
    return default if own is None else own


def _without_gpus(trainer: Trainer) -> Trainer:
    """Return a section that asks for no hardware, but for the place: a volume that these pods are
    the first to use is made where they run, and must be within reach of the pods that train.
    """
    return msgspec.structs.replace(
        trainer,
        gpus_per_node=0,
        resources=Resources(
            requests=_without_devices(trainer.resources.requests),
            limits=_without_devices(trainer.resources.limits),
        ),
        node_selector={k: v for k, v in trainer.node_selector.items() if _is_place(k)},
        node_affinity=_places(trainer.node_affinity),
        tolerations=tuple(each for each in trainer.tolerations if not _of_gpus(each, trainer)),
        runtime_class_name=None,
    )


def _without_devices(amounts: dict[str, int | str]) -> dict[str, int | str]:
    return {name: amount for name, amount in amounts.items() if "/" not in name}


def _is_place(label: str) -> bool:
    """Return True for a label of the zone, the host or the platform, False for one of hardware."""
    domain, slash, _ = label.partition("/")
    return bool(slash) and (domain == "kubernetes.io" or domain.startswith("topology."))


def _places(affinity: NodeAffinity | None) -> NodeAffinity | None:
    """Return the alternatives by their places; one without a place allows every node."""
    terms = [
        tuple(each for each in term.match_expressions if _is_place(each.key))
        for term in (affinity.required.node_selector_terms if affinity else ())
    ]
    if not terms or not all(terms):
        return None
    kept = tuple(NodeTerm(match_expressions=term) for term in terms)
    return NodeAffinity(required=NodeTerms(node_selector_terms=kept))


def _of_gpus(toleration: Toleration, trainer: Trainer) -> bool:
    return toleration.key == trainer.gpu_resource_name
