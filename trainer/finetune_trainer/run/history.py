"""history.csv: accuracy and loss of each epoch, for the curves of the report. Imports no MXNet."""

import csv
import dataclasses
import io
from pathlib import Path

from finetune_trainer.run import files

HISTORY = "history.csv"
DIGITS = 6
"""Digits after the point of accuracies and losses."""


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


_COLUMNS = tuple(field.name for field in dataclasses.fields(Row))


def append(path: Path, row: Row) -> None:
    """Add an epoch. If the file holds this epoch or later ones, an attempt was lost before their
    checkpoint: they are removed.
    """
    rows = [earlier for earlier in read(path) if earlier.epoch < row.epoch]
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(_written(each) for each in [*rows, row])
    files.write_atomic(path, text.getvalue().encode())


def read(path: Path) -> tuple[Row, ...]:
    """Return the epochs; none if there is no file."""
    if not path.exists():
        return ()
    with open(path, newline="") as file:
        return tuple(_row(fields) for fields in csv.DictReader(file))


def _written(row: Row) -> tuple[object, ...]:
    numbers = (row.train_accuracy, row.train_loss, row.validation_accuracy)
    texts = ("" if number is None else f"{number:.{DIGITS}f}" for number in numbers)
    return row.epoch, *texts, f"{row.seconds:.3f}"


def _row(fields: dict[str, str]) -> Row:
    validation = fields["validation_accuracy"]
    return Row(
        epoch=int(fields["epoch"]),
        train_accuracy=float(fields["train_accuracy"]),
        train_loss=float(fields["train_loss"]),
        validation_accuracy=float(validation) if validation else None,
        seconds=float(fields["seconds"]),
    )
