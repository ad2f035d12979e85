"""How long the next attempt waits, and which ends count against backoffLimit."""

import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.types import AttemptRecord, CheckpointStatus, Status
from finetune_operator.policy.backoff import backoff_seconds, next_start
from finetune_operator.policy.outcome import Outcome, outcome_of
from finetune_operator.policy.plan import Attempt

from tests.support.builders import (
    NOW,
    disrupted,
    later,
    make_ended_attempt,
    make_history,
    make_status,
)


def outcome(attempt: Attempt, status: Status) -> Outcome:
    found = outcome_of(attempt, status)
    assert found
    return found


@pytest.mark.parametrize(
    ("failures", "seconds"), [(0, 0), (1, 10), (2, 20), (3, 40), (6, 320), (7, 360), (100, 360)]
)
def test_backoff_is_doubled_up_to_six_minutes(failures: int, seconds: float) -> None:
    assert backoff_seconds(failures, 10) == seconds


class TestNextStart:
    def test_first_attempt_waits_for_nothing(self) -> None:
        assert next_start(make_status(), 0, 10) is None

    def test_next_attempt_waits_from_the_end_of_the_last(self) -> None:
        status = make_status(attempts=1, failures=1, history=make_history(c.STALLED))
        assert next_start(status, status.failures, 10) == later(10)

    @pytest.mark.parametrize(
        ("disruptions", "seconds"), [(1, 0), (2, 10), (3, 20), (5, 80), (9, 360)]
    )
    def test_disruption_waits_for_nothing_and_those_that_follow_without_progress_do(
        self, disruptions: int, seconds: float
    ) -> None:
        status = make_status(history=make_history(*[c.POD_REJECTED] * disruptions))
        assert next_start(status, 0, 10) == later(seconds)

    def test_disruption_after_progress_waits_for_nothing(self) -> None:
        history = (*make_history(c.DISRUPTED, epoch=1), *make_history(c.DISRUPTED, epoch=2))
        status = make_status(history=history, checkpoint=CheckpointStatus(epoch=2))
        assert next_start(status, 0, 10) == later(0)

    def test_resumed_job_does_not_wait(self) -> None:
        status = make_status(attempts=2, failures=1, history=make_history(c.STALLED, c.SUSPENDED))
        assert next_start(status, status.failures, 10) is None


class TestCounts:
    @pytest.mark.parametrize(
        ("before", "epoch", "counted"),
        [
            pytest.param((), None, False, id="the first is free"),
            pytest.param((c.DISRUPTED,) * 4, 2, False, id="the fifth without progress is free"),
            pytest.param((c.DISRUPTED,) * 5, 2, True, id="the sixth without progress counts"),
            pytest.param((c.DISRUPTED,) * 9, 3, False, id="with progress all are free"),
            pytest.param(
                (c.JOB_DELETED, c.RESULT_LOST, c.INTERRUPTED, c.DISRUPTED, c.JOB_DELETED),
                2,
                True,
                id="other free ends are counted along",
            ),
            pytest.param(
                (*[c.DISRUPTED] * 5, c.STALLED),
                2,
                False,
                id="a counted failure starts the row anew",
            ),
        ],
    )
    def test_disruptions_in_a_row(
        self, before: tuple[str, ...], epoch: int | None, counted: bool
    ) -> None:
        checkpoint = None if epoch is None else CheckpointStatus(epoch=epoch)
        status = make_status(
            attempt=9, history=make_history(*before, epoch=2), checkpoint=checkpoint
        )
        attempt = make_ended_attempt(9, 137, conditions=(disrupted(),))
        assert outcome(attempt, status).counted is counted

    def test_row_of_disruptions_ends_where_a_checkpoint_advanced(self) -> None:
        older, newer = (
            make_history(*[c.DISRUPTED] * 3, epoch=1),
            make_history(*[c.DISRUPTED] * 3, epoch=2),
        )
        status = make_status(
            attempt=9, history=(*older, *newer), checkpoint=CheckpointStatus(epoch=2)
        )
        attempt = make_ended_attempt(9, 137, conditions=(disrupted(),))
        assert not outcome(attempt, status).counted

    @pytest.mark.parametrize(("epoch", "counted"), [(None, True), (2, True), (3, False)])
    def test_interruption_counts_unless_its_checkpoint_advanced(
        self, epoch: int | None, counted: bool
    ) -> None:
        checkpoint = None if epoch is None else CheckpointStatus(epoch=epoch)
        status = make_status(
            attempt=2, history=make_history(c.STALLED, epoch=2), checkpoint=checkpoint
        )
        ended = outcome(make_ended_attempt(2, 143), status)
        assert (ended.reason, ended.counted) == (c.INTERRUPTED, counted)

    def test_epochs_alone_are_compared_with_what_an_older_operator_wrote_down(self) -> None:
        saved = CheckpointStatus(epoch=2, step=900)
        status = make_status(attempt=2, history=make_history(c.STALLED, epoch=2), checkpoint=saved)
        assert outcome(make_ended_attempt(2, 143), status).counted

    @pytest.mark.parametrize(("step", "counted"), [(900, True), (901, False)])
    def test_a_checkpoint_within_an_epoch_advances_too(self, step: int, counted: bool) -> None:
        before = AttemptRecord(
            number=1, reason=c.STALLED, end_time=NOW, checkpoint_epoch=2, checkpoint_step=900
        )
        saved = CheckpointStatus(epoch=2, step=step)
        status = make_status(attempt=2, history=(before,), checkpoint=saved)
        assert outcome(make_ended_attempt(2, 143), status).counted is counted
