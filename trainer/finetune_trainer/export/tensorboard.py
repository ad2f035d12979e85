"""An event file for TensorBoard: the curves of history.csv, the same bytes for the same history."""

import datetime
from pathlib import Path

from finetune_trainer.run.history import Row

EVENTS = "events.out.tfevents.finetune"
"""TensorBoard reads files with tfevents in their name; its own writers add time and host."""
_TAGS = {
    "loss/train": "train_loss",
    "accuracy/train": "train_accuracy",
    "accuracy/validation": "validation_accuracy",
    "learning_rate": "learning_rate",
    "images_per_second": "images_per_second",
}
"""The curves, and their columns in history.csv."""


def write_events(path: Path, rows: tuple[Row, ...]) -> None:
    """Write the scalars of each epoch that are known; the steps are the epochs."""
    from tensorboardX.proto.event_pb2 import Event  # 0.15 s that other outputs need not wait
    from tensorboardX.proto.summary_pb2 import Summary
    from tensorboardX.record_writer import RecordWriter

    times = _times(rows)
    writer = RecordWriter(str(path))
    writer.write(Event(wall_time=times[0], file_version="brain.Event:2").SerializeToString())
    for row, time in zip(rows, times, strict=True):
        values = [
            Summary.Value(tag=tag, simple_value=value)
            for tag, column in _TAGS.items()
            if (value := getattr(row, column)) is not None
        ]
        event = Event(wall_time=time, step=row.epoch, summary=Summary(value=values))
        writer.write(event.SerializeToString())
    writer.close()


def _times(rows: tuple[Row, ...]) -> list[float]:
    """Return when the epochs ended; those without a time get that of the first one that has it."""
    first = next((row.time for row in rows if row.time), "1970-01-01T00:00:00Z")
    return [datetime.datetime.fromisoformat(row.time or first).timestamp() for row in rows]
