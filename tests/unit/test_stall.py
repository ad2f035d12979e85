"""stallDeadlineSeconds: an attempt that answers but does not work is ended, and only that one."""

from typing import Any

import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.contract import Progress
from finetune_operator.decide import decide
from finetune_operator.policy.plan import Attempt, CreateAttempt, DeleteAttempt, Observed, Plan
from finetune_operator.settings import Settings

from tests.support.builders import (
    later,
    make_attempt,
    make_ended_attempt,
    make_job,
    make_pod,
    make_progress,
    make_status,
)

LIVE = make_status(attempt=1, phase="Training")
NOON = "2026-01-01T12:00:00Z"
DEADLINE = 300


def answer(*, read: float, worked: str | None = NOON, sent: float | None = None) -> Progress:
    """An answer, read at this second; `sent`: the second it was by the pod's clock."""
    return make_progress(
        worked=worked,
        read_at=later(read),
        sent_at=later(read if sent is None else sent),
        log_tail=("epoch 3",),
    )


def plan_at(seconds: float, progress: Progress | None, **spec: Any) -> Plan:
    job = make_job(LIVE, **{"stallDeadlineSeconds": DEADLINE, **spec})
    seen = Observed(job=job, attempts=(make_attempt(1, make_pod()),), progress=progress)
    return decide(seen, later(seconds), Settings(trainer_gpu_image="trainer:1"))


def test_attempt_without_work_for_so_long_is_recorded_as_stalled_and_deleted() -> None:
    plan = plan_at(DEADLINE + 3, answer(read=DEADLINE + 1))
    assert [ended.reason for ended in plan.status.history] == [c.STALLED]
    assert plan.status.failures == 1
    assert plan.actions == (DeleteAttempt("photos-1", "attempt-1"),)
    assert plan.status.failure
    assert (
        "no progress for 300 s (stallDeadlineSeconds) in stage fit" in plan.status.failure.message
    )
    assert plan.status.failure.log_tail == ("epoch 3",)
    assert "volume" in plan.status.failure.hint


@pytest.mark.parametrize(
    ("progress", "seconds"),
    [
        pytest.param(answer(read=DEADLINE - 1), DEADLINE - 1, id="not yet"),
        pytest.param(answer(read=DEADLINE - 20), DEADLINE + 3, id="not asked since: unreachable"),
        pytest.param(None, DEADLINE + 3, id="never answered"),
        pytest.param(answer(read=900, worked="2026-01-01T12:14:00Z"), 901, id="it works"),
        pytest.param(answer(read=900, worked="9999-12-31T23:59:59Z"), 901, id="its clock is ahead"),
        pytest.param(answer(read=901, sent=1), 902, id="its clock is slow and it works"),
        pytest.param(answer(read=901, sent=8e10), 902, id="impossible dates"),
        pytest.param(answer(read=900, worked="0001-01-01T00:00:00Z"), 901, id="zero time of Go"),
        pytest.param(answer(read=900, worked="1970-01-01T00:00:00Z"), 901, id="zero time of Unix"),
        pytest.param(answer(read=900, worked=None), 901, id="it does not say"),
        pytest.param(answer(read=900, worked="yesterday"), 901, id="it says nonsense"),
        pytest.param(answer(read=900, worked="2026-01-01T12:00:00"), 901, id="it says no zone"),
    ],
)
def test_attempt_is_left_alone_while_nothing_is_proven(
    progress: Progress | None, seconds: float
) -> None:
    plan = plan_at(seconds, progress)
    assert plan.actions == ()
    assert plan.status.history == ()


def test_clock_that_is_ahead_does_not_hide_a_stall() -> None:
    plan = plan_at(DEADLINE + 3, answer(read=DEADLINE + 1, sent=5000, worked=NOON))
    assert [ended.reason for ended in plan.status.history] == [c.STALLED]


def test_next_look_is_at_the_deadline_or_at_the_next_answer() -> None:
    assert plan_at(100, answer(read=98)).requeue_after_seconds == DEADLINE - 100
    assert plan_at(DEADLINE + 3, answer(read=DEADLINE - 20)).requeue_after_seconds == 5


def test_deadline_can_be_raised_while_the_attempt_runs() -> None:
    assert plan_at(400, answer(read=399), stallDeadlineSeconds=3600).actions == ()


def test_suspended_job_does_not_stall() -> None:
    plan = plan_at(400, answer(read=399), suspend=True)
    assert plan.status.history == ()
    assert plan.actions == (DeleteAttempt("photos-1", "attempt-1"),)


def test_stalled_attempt_that_was_not_deleted_is_deleted_by_the_next_pass() -> None:
    """The operator may have died between the status and the deletion."""
    written = plan_at(400, answer(read=399)).status
    job = make_job(written, stallDeadlineSeconds=DEADLINE)

    def again(*attempts: Attempt) -> Plan:
        seen = Observed(job=job, attempts=attempts)
        return decide(seen, later(500), Settings(trainer_gpu_image="trainer:1"))

    plan = again(make_attempt(1, make_pod()))
    assert plan.actions == (DeleteAttempt("photos-1", "attempt-1"),)
    assert len(plan.status.history) == 1
    assert again(make_attempt(1, make_pod(deleting=500), deleting=True)).actions == ()
    assert again(make_attempt(1, deleting=True)).actions == ()
    assert again().actions == (CreateAttempt(2),)
    assert again(make_ended_attempt(1, 143)).actions == (CreateAttempt(2),)


def test_last_attempt_that_stalls_ends_the_job_and_is_deleted() -> None:
    plan = plan_at(400, answer(read=399), backoffLimit=0)
    assert plan.status.phase == "Failed"
    assert plan.actions == (DeleteAttempt("photos-1", "attempt-1"),)
    failed = plan.status.condition(c.FAILED)
    assert failed
    assert failed.reason == c.BACKOFF_LIMIT_EXCEEDED
