"""Early stopping by SageMaker's rule, on a held-out fifth of the training images; pure."""

from collections.abc import Iterable

from finetune_trainer.contract import EarlyStopping
from finetune_trainer.run.history import DIGITS, Row


class Patience:
    """The best epoch of a trial so far, and whether to wait for a better one."""

    def __init__(self, limits: EarlyStopping) -> None:
        self._limits, self._tolerance = limits, 1 + float(limits.tolerance)
        self.resume(())

    def resume(self, epochs: Iterable[Row]) -> None:
        """Start again with the epochs that an earlier attempt has trained."""
        self.best, self.best_epoch, self.is_over = 0.0, 1, False
        for row in epochs:
            self.add(row.epoch, row.validation_accuracy or 0.0)

    def add(self, epoch: int, accuracy: float) -> None:
        """Add the accuracy of an epoch, counted from 1; `is_over` is then True if the wait ends."""
        accuracy = round(accuracy, DIGITS)  # as a later attempt reads it from history.csv
        if accuracy > self._tolerance * self.best:
            self.best, self.best_epoch = accuracy, epoch
        waited = epoch - self.best_epoch
        self.is_over = epoch >= self._limits.min_epochs and waited >= self._limits.patience
