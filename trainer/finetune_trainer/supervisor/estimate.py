"""Overall progress and remaining time, from the weights and the reports of the stages."""

from collections import deque
from collections.abc import Sequence

from finetune_trainer.pipeline import Stage

_WINDOW = 60
"""Reports, a second or more apart, from which the speed is computed."""


class Estimate:
    """Progress that never decreases. Times are seconds of one monotonic clock."""

    def __init__(self, stages: Sequence[Stage]) -> None:
        self._stages = tuple(stages)
        self._index = 0
        self._fraction = 0.0
        self._points: deque[tuple[float, float]] = deque(maxlen=_WINDOW)

    def start(self, name: str) -> None:
        """Note that a stage begins; all before it are done.

        Its speed is known from its second report on: the first may be a jump to where an earlier
        attempt stopped.
        """
        self._index = next(i for i, stage in enumerate(self._stages) if stage.name == name)
        self._points.clear()
        self._update(0.0)

    def advance(self, fraction: float, *, now: float) -> None:
        """Note the fraction of the current stage that is done, 0 to 1."""
        fraction = min(1.0, max(0.0, fraction))
        if len(self._points) > 1 and now - self._points[-2][0] < 1:
            self._points.pop()
        self._points.append((now, fraction))
        self._update(fraction)

    def finish(self) -> None:
        """Note that all stages are done."""
        self._fraction = 1.0

    @property
    def fraction(self) -> float:
        """The fraction of the whole run that is done, 0 to 1."""
        return self._fraction

    def remaining_seconds(self, *, now: float) -> int | None:
        """Return the seconds left at the current stage's speed; None: too early to say."""
        if not self._points:
            return None
        (first, start), (last, end) = self._points[0], self._points[-1]
        if last - first < 1 or end <= start:
            return None
        whole_stage = (last - first) / (end - start)
        current, *later = self._stages[self._index :]
        rest = whole_stage * (1 - end) - (now - last)
        return round(max(0.0, rest) + whole_stage * _weight(later) / current.weight)

    def _update(self, fraction: float) -> None:
        done = _weight(self._stages[: self._index]) + fraction * self._stages[self._index].weight
        self._fraction = max(self._fraction, done / _weight(self._stages))


def _weight(stages: Sequence[Stage]) -> int:
    return sum(stage.weight for stage in stages)
