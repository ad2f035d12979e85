"""Each thing that happens has one Event."""

from typing import Any

import msgspec
import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Condition
from finetune_operator.api.types import AttemptRecord, Failure, Phase, Status
from finetune_operator.decide import decide
from finetune_operator.events import events_of
from finetune_operator.policy.plan import Attempt, Observed
from finetune_operator.settings import Settings

from tests.support.builders import (
    NOW,
    later,
    make_attempt,
    make_ended_attempt,
    make_ended_pod,
    make_job,
    make_pod,
    make_status,
    make_waiting_pod,
)


def emitted(old: Status, new: Status) -> list[tuple[str, str, str]]:
    events = events_of(make_job(old), new, NOW)
    return [(event["type"], event["reason"], event["note"]) for event in events]


def record(number: int, reason: str) -> AttemptRecord:
    return AttemptRecord(number=number, reason=reason, end_time=NOW)


FAILURE = Failure(reason=c.IMAGE_PULL_ERROR, message="It is not there.", hint="Check the name.")


def test_nothing_new_tells_nothing() -> None:
    status = make_status(phase="Training", failure=FAILURE, history=(record(1, c.STALLED),))
    assert emitted(status, status) == []


def test_phase_is_reported() -> None:
    new = make_status(attempt=2, phase="Training")
    assert emitted(make_status(), new) == [("Normal", "FineTuneJobTraining", "Attempt 2.")]


@pytest.mark.parametrize("phase", ["Pending", "Starting"])
def test_new_job_that_waits_is_no_event_before_something_has_happened(phase: Phase) -> None:
    assert emitted(make_status(phase=None), make_status(phase=phase)) == []


def test_attempt_that_follows_another_is_reported() -> None:
    waits = make_status(phase="Pending", history=(record(1, c.STALLED),))
    assert emitted(make_status(phase="Training", history=waits.history), waits) == [
        ("Normal", "FineTuneJobPending", "Attempt 1 ended; the next one follows.")
    ]


def test_end_tells_the_accuracy() -> None:
    new = make_status(phase="Complete", accuracy="0.8704", history=(record(1, c.COMPLETE),))
    assert emitted(make_status(phase="Training"), new) == [
        ("Normal", "FineTuneJobComplete", "Accuracy 0.8704 on the validation images.")
    ]


def test_failure_is_one_warning_with_its_reason_and_its_remedy() -> None:
    new = make_status(phase="Failed", failure=FAILURE)
    message = "ImagePullError: It is not there. Check the name."
    assert emitted(make_status(phase="Training"), new) == [
        ("Warning", "FineTuneJobFailed", message)
    ]


def test_failure_that_ends_the_last_attempt_too_is_one_warning() -> None:
    condition = Condition(
        type=c.FAILED, status="True", reason=c.BACKOFF_LIMIT_EXCEEDED, message="3 failed."
    )
    history = (record(3, c.IMAGE_PULL_ERROR),)
    new = make_status(phase="Failed", failure=FAILURE, history=history, conditions=(condition,))
    message = "BackoffLimitExceeded: 3 failed. Check the name."
    assert emitted(make_status(phase="Training"), new) == [
        ("Warning", "FineTuneJobFailed", message)
    ]


@pytest.mark.parametrize(
    ("new", "action"),
    [
        (make_status(phase="Suspended"), "Suspending"),
        (make_status(phase="Queued"), "Queueing"),
        (make_status(phase="Training"), "Training"),
        (make_status(phase="Complete"), "Completing"),
        (make_status(phase="Failed", failure=FAILURE), "Failing"),
        (make_status(failure=FAILURE), "StartingAttempt"),
        (make_status(failure=FAILURE, history=(record(1, FAILURE.reason),)), "EndingAttempt"),
    ],
)
def test_action_is_what_the_operator_was_doing(new: Status, action: str) -> None:
    (event,) = events_of(make_job(make_status()), new, NOW)
    assert event["action"] == action


def test_attempt_that_ended_is_told_with_its_hint() -> None:
    new = make_status(phase="Pending", failure=FAILURE, history=(record(3, FAILURE.reason),))
    assert emitted(make_status(phase="Training"), new) == [
        ("Normal", "FineTuneJobPending", "Attempt 3 ended; the next one follows."),
        ("Warning", FAILURE.reason, "Attempt 3 ended: It is not there. Check the name."),
    ]


def test_attempt_that_ended_is_told_though_the_job_waits_for_another_thing_by_now() -> None:
    ended = AttemptRecord(number=3, reason=c.STALLED, message="No progress.", end_time=NOW)
    new = make_status(phase="Training", failure=FAILURE, history=(ended,))
    assert emitted(make_status(phase="Training"), new) == [
        ("Warning", c.STALLED, "Attempt 3 ended: No progress."),
        ("Warning", FAILURE.reason, "It is not there. Check the name."),
    ]


@pytest.mark.parametrize("reason", [c.COMPLETE, c.PREPARED, c.SUSPENDED])
def test_attempt_that_ended_as_it_should_is_no_warning(reason: str) -> None:
    new = make_status(phase="Training", history=(record(1, reason),))
    assert emitted(make_status(phase="Training"), new) == []


RUNNING = make_attempt(1, make_pod())
CRASHED = make_ended_attempt(1, 70)
STUCK = make_attempt(1, make_waiting_pod("ImagePullBackOff", "It is not there."))


@pytest.mark.parametrize(
    ("spec", "seen", "warnings"),
    [
        pytest.param(
            {},
            [(1, {}, (RUNNING,)), (9, {}, (CRASHED,)), (60, {}, (CRASHED, make_attempt(2)))],
            [c.INTERNAL_ERROR],
            id="an attempt that fails and is retried",
        ),
        pytest.param(
            {"backoffLimit": 0},
            [(1, {}, (RUNNING,)), (9, {}, (CRASHED,))],
            ["FineTuneJobFailed"],
            id="an attempt that fails and is the last",
        ),
        pytest.param(
            {"activeDeadlineSeconds": 5},
            [(1, {}, (RUNNING,)), (9, {}, (RUNNING,)), (12, {}, (CRASHED,))],
            ["FineTuneJobFailed"],
            id="an attempt that is ended by the deadline",
        ),
        pytest.param(
            {"startupDeadlineSeconds": 60},
            [(1, {}, (STUCK,)), (30, {}, (STUCK,)), (90, {}, (STUCK,))],
            [c.IMAGE_PULL_ERROR, "FineTuneJobFailed"],
            id="an attempt that cannot start, and does not in time",
        ),
        pytest.param(
            {},
            [
                (1, {}, (RUNNING,)),
                (5, {"suspend": True}, (RUNNING,)),
                (6, {"suspend": True}, (make_attempt(1, make_ended_pod(143), deleting=True),)),
                (7, {"suspend": True}, ()),
                (9, {"suspend": False}, ()),
            ],
            [],
            id="an attempt that is suspended and resumed",
        ),
        pytest.param(
            {},
            [(1, {}, (RUNNING,)), (5, {"suspend": True}, (CRASHED,))],
            [c.INTERNAL_ERROR],
            id="an attempt that fails when it is to be suspended",
        ),
    ],
)
def test_each_failure_is_one_warning(
    spec: dict[str, Any],
    seen: list[tuple[float, dict[str, Any], tuple[Attempt, ...]]],
    warnings: list[str],
) -> None:
    found, status = [], make_status(attempt=1, phase="Starting")
    for at, change, attempts in seen:
        job = make_job(status, **spec, **change)
        for seconds in (at, at + 0.5) if attempts else (at,):  # nothing is told twice
            observed = Observed(job=job, attempts=attempts)
            new = decide(observed, later(seconds), Settings()).status
            found += events_of(job, new, later(seconds))
            job = msgspec.structs.replace(job, status=new)
        status = job.status
    assert [event["reason"] for event in found if event["type"] == "Warning"] == warnings


def test_diagnosis_is_reported_once_though_its_message_changes() -> None:
    old = make_status(phase="Starting")
    new = make_status(phase="Starting", failure=FAILURE)
    assert emitted(old, new) == [
        ("Warning", c.IMAGE_PULL_ERROR, "It is not there. Check the name.")
    ]
    again = make_status(
        phase="Starting", failure=Failure(reason=c.IMAGE_PULL_ERROR, message="2nd pull.")
    )
    assert emitted(new, again) == []


def test_event_names_its_object_and_keeps_to_the_size_of_the_api() -> None:
    long = Failure(reason="X", message="\N{CYRILLIC SMALL LETTER YA}" * 5000)
    event: dict[str, Any]
    (event,) = events_of(make_job(make_status()), make_status(failure=long), NOW)
    assert event["regarding"]["uid"] == "job-uid"
    assert event["metadata"]["namespace"] == "team"
    assert len(event["note"].encode()) == 1024
