"""The changes in a trainer's report that are worth a write of the status.

Rates and estimates change with each batch. They are written with the next figure that matters, or
every 30 s: a status that is written at every poll costs the API server more than all else.
"""

import datetime

from finetune_operator.api.contract import Progress
from finetune_operator.api.types import TrainerStatus

WRITE_SECONDS = 30
MEASUREMENTS = ("epoch", "accuracy", "loss")
"""Last words of the names of metrics that change at the end of an epoch. A report is written as a
whole: the learning rate in a status, too, is of the same epoch."""


def has_news(new: Progress, old: Progress | None) -> bool:
    """Return True if the job must be reconciled, because its status has to change."""
    if old is None or not differ_in_figures_only(new, old):
        return True
    return is_worth_a_write(new.trainer_status, old.trainer_status)


def differ_in_figures_only(new: Progress, old: Progress) -> bool:
    """Return True if both are of the same stage, data set, network and checkpoint."""
    return _without_figures(new) == _without_figures(old)


def is_worth_a_write(new: TrainerStatus | None, old: TrainerStatus | None) -> bool:
    """Return True if the new figures replace the old ones in the status."""
    if new is None or old is None:
        return new is not None
    if _measured(new) != _measured(old):
        return True
    return _figures(new) != _figures(old) and _seconds_between(new, old) >= WRITE_SECONDS


def _without_figures(progress: Progress) -> object:
    return progress.stage, progress.dataset, progress.model, progress.checkpoint


def _measured(status: TrainerStatus) -> object:
    measured = [each for each in status.metrics if each.name.lower().endswith(MEASUREMENTS)]
    return status.progress_percentage, measured


def _figures(status: TrainerStatus) -> object:
    return status.estimated_remaining_seconds, status.metrics


def _seconds_between(new: TrainerStatus, old: TrainerStatus) -> float:
    """Return the time between two reports by the pod's clock, 0 if one does not say its time."""
    later, earlier = parse_time(new.last_updated_time), parse_time(old.last_updated_time)
    return abs((later - earlier).total_seconds()) if later and earlier else 0


def parse_time(text: str | None) -> datetime.datetime | None:
    """Return the time that a trainer reports, None for what is no time or has no zone."""
    try:
        time = datetime.datetime.fromisoformat(text or "")
    except ValueError:
        return None
    return time if time.tzinfo else None
