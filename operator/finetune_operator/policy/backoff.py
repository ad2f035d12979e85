"""The wait before the next attempt, and which ends count against backoffLimit."""

import datetime
import itertools

from finetune_operator.api import constants as c
from finetune_operator.api.types import AttemptRecord, Status

MAX_FACTOR = 36
MAX_DISRUPTIONS_WITHOUT_PROGRESS = 5
DISRUPTIONS = (c.DISRUPTED, c.POD_REJECTED, c.INTERRUPTED, c.JOB_DELETED, c.RESULT_LOST)


def backoff_seconds(failures: int, first: float) -> float:
    """Return the wait after this many counted failures: `first`, then twice the one before, and at
    most 36 times `first`.
    """
    return min(first * 2.0 ** (failures - 1), first * MAX_FACTOR) if failures else 0


def next_start(status: Status, failures: int, first: float) -> datetime.datetime | None:
    """Return the earliest time of the next attempt, from the end of the last one.

    A disruption adds a wait only to one before it that had saved as much: a node that rejects pods
    does so within a second, and needs minutes until its devices are ready again. None for the first
    attempt, and after a suspension: a resumed job starts at once.
    """
    last = status.history[-1] if status.history else None
    if last is None or last.end_time is None or last.reason == c.SUSPENDED:
        return None
    repeated = max(_disruptions_in_a_row(status) - 1, 0)
    wait = datetime.timedelta(seconds=backoff_seconds(failures + repeated, first))
    return last.end_time + wait


def is_counted(status: Status, *, uncounted: int = MAX_DISRUPTIONS_WITHOUT_PROGRESS) -> bool:
    """Return True if this disruption counts as a failure.

    It does not if the checkpoint has advanced since the last end; nor do the first `uncounted`
    disruptions in a row without that.
    """
    now = _saved_now(status)
    advanced = now > (_saved(status.history[-1], now) if status.history else (0, 0))
    return not advanced and _disruptions_in_a_row(status) >= uncounted


def _disruptions_in_a_row(status: Status) -> int:
    """Return the number of disruptions at the end of the history, all with today's checkpoint."""
    now = _saved_now(status)
    row = itertools.takewhile(
        lambda record: record.reason in DISRUPTIONS and _saved(record, now) == now,
        reversed(status.history),
    )
    return len(list(row))


def _saved_now(status: Status) -> tuple[int, int]:
    saved = status.checkpoint
    return (saved.epoch, saved.step) if saved else (0, 0)


def _saved(record: AttemptRecord, now: tuple[int, int]) -> tuple[int, int]:
    """Return epochs and steps of the newest checkpoint at an attempt's end.

    An older operator recorded epochs only.
    """
    step = now[1] if record.checkpoint_step is None else record.checkpoint_step
    return record.checkpoint_epoch or 0, step
