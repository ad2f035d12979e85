"""The progress of a fit in units of work; a fit that was asked to stop is stopped here."""

import time

from finetune_trainer.contract import DatasetStatus, ExitCode, Metric, TrainerError
from finetune_trainer.fit.stall import Stall
from finetune_trainer.recipes.recipe import Recipe
from finetune_trainer.run.history import Row
from finetune_trainer.run.reporter import Reporter, Work
from finetune_trainer.run.signals import Signals

INTERVAL_SECONDS = 0.5
TRAINING_COST = 3.0
"""Units of training the whole network on an image: the backward pass costs two forward passes."""
LAST_BLOCKS_COST = 0.5
"""Units of training the last blocks on an image's cached activations."""
HEAD_COST = 0.01
"""Units of training the new layer on an image's cached features."""


def units(recipe: Recipe, data: DatasetStatus) -> float:
    """Return the work of a recipe and of those that it starts from, in units of FitProgress."""
    train, validation = data.train_images, data.validation_images
    if recipe.trains == "all":
        own = recipe.last_epoch * (TRAINING_COST * train + validation)
    else:
        cost = HEAD_COST if recipe.trains == "head" else LAST_BLOCKS_COST
        own = recipe.views * train + validation + recipe.epochs * cost * recipe.views * train
    return own + (units(recipe.start, data) if recipe.start else 0)


class OutOfTime(Exception):
    """A trial has used up its time."""


class FitProgress:
    """Counts the finished units of work out of `total`, reports them, and ends the fit on SIGTERM.

    A unit is the work of one image through the trunk.
    """

    def __init__(
        self, reporter: Reporter, signals: Signals, *, total: float, is_follower: bool = False
    ) -> None:
        self.reporter = reporter
        self._signals = signals
        # A gang's leader needs its followers until it has saved; then the followers are stopped.
        self._may_stop = not is_follower
        self.total = total
        self._done = 0.0
        self._step = 0
        self._reported = 0.0
        self._metrics: dict[str, str] = {}
        self.work = Work()
        """Work of this process, of trials, too."""
        self.stall = Stall()
        """Time that this process has waited for batches."""
        self.purpose = ""
        """Human-readable purpose of a trial; empty for the fit itself."""
        self.note = ""
        """Human-readable description of what is being done."""
        self.deadline: float | None = None
        """Deadline of a trial by time.monotonic(): after it `advance` raises OutOfTime."""

    @property
    def stopping(self) -> bool:
        """True if the process was asked to stop: the next `advance` raises."""
        return self._may_stop and self._signals.stop

    def skip_to(self, units: float) -> None:
        """Count the first `units` as done, by an earlier attempt or from a cache."""
        self._done = max(self._done, units)

    def advance(self, units: float, *, images_per_second: float | None = None) -> None:
        """Count a batch. Raises Interrupted if the process was asked to stop, OutOfTime after the
        deadline.
        """
        self._done += units
        self._step += 1
        if images_per_second is not None:
            self._metrics["images-per-second"] = f"{images_per_second:.1f}"
        if self.stopping:
            raise TrainerError(
                ExitCode.Interrupted,
                "stopped on request",
                "the next attempt resumes from the last checkpoint",
            )
        now = time.monotonic()
        if self.deadline is not None and now > self.deadline:
            raise OutOfTime
        if now - self._reported >= INTERVAL_SECONDS:
            self.report()

    def report_epoch(self, row: Row, *, data_stall: float | None = None) -> None:
        """Report the figures of an epoch of the job's own fit, with the digits of history.csv."""
        self._metrics |= row.metrics()
        if data_stall is not None:
            self._metrics["data-stall"] = f"{data_stall:.4f}"
        self.report()

    def report(self) -> None:
        """Report now, with the newest metrics."""
        self._reported = time.monotonic()
        self.work.data_wait_seconds = self.stall.seconds
        self.reporter.progress(
            step=self._step,
            fraction=min(1.0, self._done / self.total),
            metrics=tuple(Metric(name=n, value=v) for n, v in self._metrics.items()),
            note=": ".join(filter(None, (self.purpose, self.note))),
            work=self.work,
        )
