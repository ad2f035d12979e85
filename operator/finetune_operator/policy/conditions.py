"""Conditions whose times move only with their status."""

import datetime

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Condition, true_condition

REASON_LENGTH = 128
ORDER = (
    c.SUSPENDED,
    c.DATASET_READY,
    c.PODS_READY,
    c.RUNNING,
    c.METRICS_AVAILABLE,
    c.COMPLETE,
    c.FAILED,
    c.RECONCILING,
    c.STALLED_CONDITION,
)


class Conditions:
    """The conditions of one status, edited in place."""

    def __init__(
        self, conditions: tuple[Condition, ...], *, now: datetime.datetime, generation: int
    ) -> None:
        self._by_type = {condition.type: condition for condition in conditions}
        self._now = now
        self._generation = generation

    def set(self, type: str, status: bool, reason: str, message: str = "") -> None:
        """Set a condition; lastTransitionTime moves only if the status changes."""
        text = "True" if status else "False"
        before = self._by_type.get(type)
        same = before is not None and before.status == text
        self._by_type[type] = Condition(
            type=type,
            status=text,
            reason=reason[:REASON_LENGTH] or "Unknown",  # the API server takes none without
            message=message[:1024],
            last_transition_time=before.last_transition_time if same and before else self._now,
            observed_generation=self._generation,
        )

    def clear(self, type: str, reason: str, message: str = "") -> None:
        """Set a condition to False if it exists."""
        if type in self._by_type:
            self.set(type, False, reason, message)

    def true(self, type: str) -> Condition | None:
        """Return the condition if it is true."""
        return true_condition(tuple(self._by_type.values()), type)

    def all(self) -> tuple[Condition, ...]:
        """Return the conditions in a fixed order."""
        ranks = {known: rank for rank, known in enumerate(ORDER)}
        # A condition that someone else has added stays, at the end.
        return tuple(sorted(self._by_type.values(), key=lambda each: ranks.get(each.type, 99)))
