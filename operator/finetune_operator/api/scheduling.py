"""Types of `trainer.tolerations` and `trainer.nodeAffinity`, with core/v1's names and rules."""

from typing import Annotated, ClassVar, Literal

import msgspec
from msgspec import Meta

from finetune_operator.api.validation import LabelKey, LabelValue, Rules, Strict


class Toleration(Strict):
    """A core/v1 Toleration."""

    key: LabelKey | None = None
    """Taint key; without one operator must be Exists, and all taints match."""
    operator: Literal["Exists", "Equal"] | None = None
    """Exists or Equal."""
    value: LabelValue | None = None
    """Taint value, for Equal."""
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"] | None = None
    """Taint effect; without one all effects match."""
    toleration_seconds: Annotated[int, Meta(ge=0, le=2147483647)] | None = None
    """Seconds that a NoExecute taint is tolerated."""

    cel: ClassVar[Rules] = (
        (
            "has(self.key) || (has(self.operator) && self.operator == 'Exists')",
            "without a key, which tolerates every taint, operator must be Exists",
        ),
        (
            "!has(self.operator) || self.operator != 'Exists' || !has(self.value) "
            "|| self.value == ''",
            "operator Exists matches any value: remove value, or write operator Equal",
        ),
        (
            "!has(self.tolerationSeconds) || (has(self.effect) && self.effect == 'NoExecute')",
            "tolerationSeconds is for taints that evict: set effect to NoExecute, or remove it",
        ),
    )


class LabelExpression(Strict):
    """A core/v1 NodeSelectorRequirement."""

    key: LabelKey
    """Label of the node."""
    operator: Literal["In", "NotIn", "Exists", "DoesNotExist", "Gt", "Lt"]
    """Comparison of the label's value."""
    values: Annotated[tuple[LabelValue, ...], Meta(max_length=32)] = ()
    """At least one for In and NotIn, one whole number for Gt and Lt, none for the others."""

    cel: ClassVar[Rules] = (
        (
            "!(self.operator in ['In', 'NotIn']) || (has(self.values) && size(self.values) > 0)",
            "operator In and NotIn need values: list at least one",
        ),
        (
            "!(self.operator in ['Exists', 'DoesNotExist']) || !has(self.values) "
            "|| size(self.values) == 0",
            "operator Exists and DoesNotExist take no values: remove them, or write In",
        ),
        (
            "!(self.operator in ['Gt', 'Lt']) || (has(self.values) && size(self.values) == 1 "
            "&& self.values[0].matches('^[0-9]{1,18}$'))",
            "operator Gt and Lt need exactly one value, a whole number in quotes",
        ),
    )


class NodeTerm(Strict):
    """Expressions that must all be true of a node."""

    match_expressions: Annotated[tuple[LabelExpression, ...], Meta(min_length=1, max_length=16)]
    """Expressions on the node's labels."""


class NodeTerms(Strict):
    """Alternatives, one of which must be true of a node."""

    node_selector_terms: Annotated[tuple[NodeTerm, ...], Meta(min_length=1, max_length=16)]
    """The alternatives."""


class NodeAffinity(Strict):
    """A core/v1 NodeAffinity, its required terms only."""

    required: NodeTerms = msgspec.field(name="requiredDuringSchedulingIgnoredDuringExecution")
    """Nodes that the pods may run on."""
