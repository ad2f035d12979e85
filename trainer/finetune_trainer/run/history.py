"""history.csv: the figures of each epoch, for the curves of the report. Imports no MXNet."""

import csv
import dataclasses
import io
from pathlib import Path

from finetune_trainer.run import files

HISTORY = "history.csv"
DIGITS = 6
"""Digits after the point of accuracies and losses."""
_FORMATS = {
    "epoch": "d",
    "train_accuracy": f".{DIGITS}f",
    "train_loss": f".{DIGITS}f",
    "validation_accuracy": f".{DIGITS}f",
    "seconds": ".3f",
    "learning_rate": ".6g",
    "images_per_second": ".1f",
    "time": "",
}
"""The columns, with the format of their values."""
_METRICS = {
    "epoch": "epoch",
    "loss": "train_loss",
    "train-accuracy": "train_accuracy",
    "accuracy": "validation_accuracy",
    "learning-rate": "learning_rate",
    "images-per-second": "images_per_second",
}
"""The metrics of an epoch in the trainer's reports, and their columns."""


@dataclasses.dataclass(frozen=True)
class Row:
    """One epoch."""

    epoch: int
    """Number of the epoch, from 1."""
    train_accuracy: float
    train_loss: float
    """Mean cross-entropy in nats of the training images, as augmented."""
    validation_accuracy: float | None
    """Accuracy on the validation split; None: not measured in this epoch."""
    seconds: float
    """Duration of the epoch."""
    learning_rate: float | None = None
    """Learning rate of the new layers in the epoch's last update. This and the following fields are
    unknown if an earlier version of the trainer has written the epoch."""
    images_per_second: float | None = None
    """Mean speed of the training; None: an earlier attempt has trained the whole epoch."""
    time: str = ""
    """Time at which the training of the epoch ended, in RFC 3339."""

    def texts(self) -> dict[str, str]:
        """Return the columns as history.csv has them; "" is an unknown value."""
        return {
            name: "" if value is None else format(value, _FORMATS[name])
            for name, value in dataclasses.asdict(self).items()
        }

    def metrics(self) -> dict[str, str]:
        """Return the metrics that are known, by their names, with the digits of history.csv."""
        texts = self.texts()
        return {name: texts[column] for name, column in _METRICS.items() if texts[column]}


def append(path: Path, row: Row) -> None:
    """Add an epoch. If the file holds this epoch or later ones, an attempt was lost before their
    checkpoint: they are removed.
    """
    rows = [earlier for earlier in read(path) if earlier.epoch < row.epoch]
    text = io.StringIO()
    writer = csv.DictWriter(text, _FORMATS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(each.texts() for each in [*rows, row])
    files.write_atomic(path, text.getvalue().encode())


def read(path: Path) -> tuple[Row, ...]:
    """Return the epochs; none if there is no file."""
    if not path.exists():
        return ()
    with open(path, newline="") as file:
        return tuple(_row(fields) for fields in csv.DictReader(file))


def _row(fields: dict[str, str]) -> Row:
    """Return a line's epoch; files of earlier versions lack the last columns."""

    def number(name: str) -> float | None:
        return float(fields[name]) if fields.get(name) else None

    return Row(
        epoch=int(fields["epoch"]),
        train_accuracy=float(fields["train_accuracy"]),
        train_loss=float(fields["train_loss"]),
        validation_accuracy=number("validation_accuracy"),
        seconds=float(fields["seconds"]),
        learning_rate=number("learning_rate"),
        images_per_second=number("images_per_second"),
        time=fields.get("time") or "",
    )
