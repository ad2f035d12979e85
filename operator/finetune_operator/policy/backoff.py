"""The wait before the next attempt, and which ends count against backoffLimit."""

import datetime

from finetune_operator.api import constants as c
from finetune_operator.api.types import AttemptRecord, Status

MAX_FACTOR = 36
MAX_DISRUPTIONS_WITHOUT_PROGRESS = 5
DISRUPTIONS = (c.DISRUPTED, c.INTERRUPTED, c.JOB_DELETED, c.RESULT_LOST)


def backoff_seconds(failures: int, first: float) -> float:
    """Return the wait after this many counted failures: `first`, then twice the one before, and at
    most 36 times `first`.
    """
    return min(first * 2.0 ** (failures - 1), first * MAX_FACTOR) if failures else 0


def next_start(status: Status, failures: int, first: float) -> datetime.datetime | None:
    """Return the earliest time of the next attempt, from the end of the last one.

    None for the first attempt, and after a suspension: a resumed job starts at once.
    """
    last = status.history[-1] if status.history else None
    if last is None or last.end_time is None or last.reason == c.SUSPENDED:
        return None
    wait = datetime.timedelta(seconds=backoff_seconds(failures, first))
    return last.end_time + wait


def is_counted(status: Status, *, uncounted: int = MAX_DISRUPTIONS_WITHOUT_PROGRESS) -> bool:
    """Return True if this disruption counts as a failure.

    It does not if the checkpoint has advanced since the last end; nor do the first `uncounted`
    disruptions in a row without that.
    """
    saved = status.checkpoint
    now = (saved.epoch, saved.step) if saved else (0, 0)
    advanced = now > (_saved(status.history[-1], now) if status.history else (0, 0))
    in_a_row = 0
    for record in reversed(status.history):
        if record.reason not in DISRUPTIONS or _saved(record, now) != now:
            break
        in_a_row += 1
    return not advanced and in_a_row >= uncounted


def _saved(record: AttemptRecord, now: tuple[int, int]) -> tuple[int, int]:
    """Return epochs and steps of the newest checkpoint at an attempt's end.

    An older operator recorded epochs only.
    """
    step = now[1] if record.checkpoint_step is None else record.checkpoint_step
    return record.checkpoint_epoch or 0, step
