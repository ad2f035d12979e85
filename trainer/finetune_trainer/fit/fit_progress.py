"""How far a fit is, and the place where it stops when asked to."""

import time
from collections.abc import Mapping

from finetune_trainer.contract import ExitCode, Metric, TrainerError
from finetune_trainer.run.reporter import Reporter
from finetune_trainer.run.signals import Signals

INTERVAL_SECONDS = 0.5


class OutOfTime(Exception):
    """A trial has used up its time."""


class Work:
    """Counts what is done of `total` units, reports it, and ends the fit on SIGTERM.

    A unit is one image through the trunk; training on one is three (forward, and twice that
    backward).
    """

    def __init__(
        self, reporter: Reporter, signals: Signals, *, total: float, follows: bool = False
    ) -> None:
        self.reporter = reporter
        self._signals = signals
        # The leader of a gang needs the others until it has saved; then it ends them.
        self._may_stop = not follows
        self.total = total
        self._done = 0.0
        self._step = 0
        self._reported = 0.0
        self._metrics: dict[str, str] = {}
        self.note = ""
        """What is being done, for people."""
        self.end: float | None = None
        """Of a trial, by time.monotonic(): after it `advance` raises OutOfTime."""

    @property
    def stopping(self) -> bool:
        """Whether the process was asked to stop: the next `advance` raises."""
        return self._may_stop and self._signals.stop

    def skip_to(self, units: float) -> None:
        """Count what an earlier attempt, or a cache, has done already."""
        self._done = max(self._done, units)

    def advance(self, units: float, *, images_per_second: float | None = None) -> None:
        """Count a batch. Raises if the process was asked to stop."""
        self._done += units
        self._step += 1
        if images_per_second is not None:
            self._metrics["images-per-second"] = f"{images_per_second:.1f}"
        if self.stopping:
            raise TrainerError(
                ExitCode.Interrupted,
                "stopped on request",
                "the next attempt goes on from the last checkpoint",
            )
        now = time.monotonic()
        if self.end is not None and now > self.end:
            raise OutOfTime
        if now - self._reported >= INTERVAL_SECONDS:
            self.report()

    def report(self, metrics: Mapping[str, float] | None = None) -> None:
        """Report now, with these metrics from here on."""
        self._reported = time.monotonic()
        self._metrics |= {name: f"{value:.4f}" for name, value in (metrics or {}).items()}
        self.reporter.progress(
            step=self._step,
            fraction=min(1.0, self._done / self.total),
            metrics=tuple(Metric(name=n, value=v) for n, v in self._metrics.items()),
            note=self.note,
        )
