"""What an earlier FineTuneJob of the same name, or a deleted Job, left running is ended."""

from typing import Any

import msgspec
import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Job, Pod
from finetune_operator.api.types import Status
from finetune_operator.decide import decide
from finetune_operator.policy.plan import CreateAttempt, DeleteAttempt, DeletePod, Observed, Plan
from finetune_operator.settings import Settings

from tests.support.builders import (
    NOW,
    make_attempt,
    make_ended_attempt,
    make_event,
    make_history,
    make_job,
    make_pod,
    make_status,
    make_waiting_pod,
    without_owner,
)

QUOTA = 'pods "photos-2-x" is forbidden: exceeded quota: q, requested: count/pods=1'


def plan_of(status: Status | None = None, *, suspend: bool = False, **seen: Any) -> Plan:
    job = make_job(status, suspend=suspend)
    return decide(Observed(job=job, **seen), NOW, Settings(trainer_image="trainer:1"))


def ready(plan: Plan) -> str:
    found = plan.status.condition(c.PODS_READY)
    return found.message if found else ""


RUNNING_JOB = without_owner(make_attempt(2).job, uid="earlier")
RUNNING_POD = without_owner(make_pod(uid="pod-2"), uid="earlier")


def test_job_that_is_deleted_ends_nothing_that_the_user_keeps() -> None:
    job = make_job(make_status(attempt=1))
    metadata = msgspec.structs.replace(job.metadata, deletion_timestamp=NOW)
    seen = Observed(
        job=msgspec.structs.replace(job, metadata=metadata),
        leftovers=(without_owner(make_attempt(1).job),),
        orphaned_pods=(without_owner(make_pod(uid="pod-2")),),
    )
    assert decide(seen, NOW, Settings(trainer_image="trainer:1")).actions == ()


@pytest.mark.parametrize(
    ("left", "action", "name"),
    [
        (RUNNING_JOB, DeleteAttempt("photos-2", "attempt-2"), "Job photos-2"),
        (RUNNING_POD, DeletePod("pod-2", "pod-2"), "pod pod-2"),
    ],
    ids=["Job", "pod"],
)
def test_what_an_earlier_job_left_running_is_ended_before_the_first_attempt(
    left: Job | Pod, action: object, name: str
) -> None:
    plan = plan_of(leftovers=(left,))
    assert plan.actions == (action,)
    assert name in ready(plan)
    metadata = msgspec.structs.replace(left.metadata, deletion_timestamp=NOW)
    plan = plan_of(leftovers=(msgspec.structs.replace(left, metadata=metadata),))
    assert plan.actions == ()
    assert name in ready(plan)


def test_what_an_earlier_job_left_running_is_ended_beside_a_live_attempt() -> None:
    live = make_attempt(1, make_pod())
    plan = plan_of(make_status(attempt=1), attempts=(live,), leftovers=(RUNNING_JOB,))
    assert plan.actions == (DeleteAttempt("photos-2", "attempt-2"),)


def test_ended_job_of_an_earlier_one_stays_until_its_name_is_needed() -> None:
    ended = without_owner(make_ended_attempt(2, 0).job, uid="earlier")
    assert plan_of(leftovers=(ended,)).actions == (CreateAttempt(1),)
    status = make_status(attempts=1, history=make_history(c.SUSPENDED))
    actions = plan_of(status, leftovers=(ended,)).actions
    assert actions == (DeleteAttempt("photos-2", "attempt-2"), CreateAttempt(2))


def test_finished_job_ends_nothing_of_an_earlier_one() -> None:
    assert plan_of(make_status(phase="Complete"), leftovers=(RUNNING_JOB,)).actions == ()


@pytest.mark.parametrize("suspend", [True, False])
def test_pod_that_lost_its_job_for_good_is_ended_and_named(suspend: bool) -> None:
    status = make_status(attempts=1, history=make_history(c.JOB_DELETED))
    plan = plan_of(status, suspend=suspend, orphaned_pods=(without_owner(make_pod()),))
    assert plan.actions == (DeletePod("pod-1", "pod-1"),)
    assert suspend or "pod pod-1" in ready(plan)


def test_pod_whose_job_the_cache_does_not_have_is_left_to_the_garbage_collector() -> None:
    status = make_status(attempts=1, history=make_history(c.JOB_DELETED))
    plan = plan_of(status, orphaned_pods=(make_pod(),))
    assert plan.actions == ()
    assert "pod pod-1" in ready(plan)


@pytest.mark.parametrize("current", [2, 0], ids=["names another", "names none"])
def test_attempt_that_runs_wins_over_a_status_that_knows_nothing_of_it(current: int) -> None:
    """As after a restore of a status: it is neither ended nor taken for deleted."""
    status = make_status(attempt=current) if current else make_status(attempts=2)
    plan = plan_of(status, attempts=(make_attempt(1, make_pod()),))
    assert plan.actions == ()
    assert plan.status.current_attempt
    assert plan.status.current_attempt.job_name == "photos-1"
    assert (plan.status.attempts, plan.status.history, plan.status.disruptions) == (2, (), 0)


def test_end_of_a_deleted_attempt_is_recorded_before_the_next_one_is_taken_up() -> None:
    next_one = make_attempt(2)
    plan = plan_of(make_status(attempt=1), attempts=(next_one,))
    assert [record.number for record in plan.status.history] == [1]
    taken_up = plan_of(plan.status, attempts=(next_one,)).status.current_attempt
    assert taken_up
    assert taken_up.number == 2


def test_attempt_that_the_status_has_ended_is_not_taken_up_again() -> None:
    status = make_status(attempts=1, history=make_history(c.STALLED))
    plan = plan_of(status, attempts=(make_attempt(1, make_pod()),))
    assert plan.actions == (DeleteAttempt("photos-1", "attempt-1"),)


def test_last_ended_job_goes_when_a_quota_leaves_no_room_for_the_next_pod() -> None:
    attempts = make_ended_attempt(1, 75), make_attempt(2, make_waiting_pod(""))
    status = make_status(attempt=2, history=make_history(c.TEMPORARY_FAILURE))
    assert plan_of(status, attempts=attempts).actions == ()
    attempts = make_ended_attempt(1, 75), make_attempt(2)
    event = make_event("FailedCreate", f"Error creating: {QUOTA}")
    plan = plan_of(status, attempts=attempts, events=(event,))
    assert plan.actions == (DeleteAttempt("photos-1", "attempt-1"),)
