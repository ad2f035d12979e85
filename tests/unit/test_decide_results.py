"""A result that a trainer has left is taken, whatever is done to the job or its Job meanwhile."""

import dataclasses
from dataclasses import field
from typing import Any

import msgspec
import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import ContainerState, Pod, Waiting
from finetune_operator.api.types import CurrentAttempt, FineTuneJob, Preparation, Status
from finetune_operator.decide import decide
from finetune_operator.policy.plan import Attempt, CreateAttempt, DeleteAttempt, Observed, Plan
from finetune_operator.settings import Settings

from tests.support.builders import (
    disrupted,
    error_message,
    later,
    make_attempt,
    make_ended_pod,
    make_job,
    make_pod,
    make_progress,
    make_status,
    result_message,
    termination_message,
)

LIVE = make_status(attempt=1, phase="Training", active_since=later(0))
RESULT = result_message("0.9")
IMAGE_MISSING = ContainerState(waiting=Waiting(reason="ImagePullBackOff", message="no image"))
OLD_REPORT = make_progress(worked="2026-01-01T10:00:00Z", read_at=later(0), sent_at=later(0))
OUR_DELETE = DeleteAttempt("photos-1", "attempt-1")


def plan_of(job: FineTuneJob, *attempts: Attempt, at: float = 0, **seen: Any) -> Plan:
    observed = Observed(job=job, attempts=attempts, **seen)
    return decide(observed, later(at), Settings(trainer_gpu_image="trainer:1"))


def deleted(job: FineTuneJob, *finalizers: str) -> FineTuneJob:
    metadata = msgspec.structs.replace(
        job.metadata, deletion_timestamp=later(0), finalizers=finalizers
    )
    return msgspec.structs.replace(job, metadata=metadata)


@dataclasses.dataclass(frozen=True)
class Moment:
    """What the operator sees when the trainer has ended with the result that a test gives."""

    name: str
    spec: dict[str, Any] = field(default_factory=dict)
    pod: dict[str, Any] = field(default_factory=dict)
    attempt: dict[str, Any] | None = field(default_factory=dict)
    """None: the Job is deleted."""
    pod_deleted: bool = False
    others: tuple[Pod, ...] = ()
    seen: dict[str, Any] = field(default_factory=dict)
    deleted: bool = False
    """True if the FineTuneJob is being deleted."""


KEPT = {"phase": "Running", "beside": IMAGE_MISSING}
MOMENTS = (
    Moment("its Job has no condition yet"),
    Moment("the active deadline passes", {"activeDeadlineSeconds": 60}),
    Moment("the active deadline passes beside a container", {"activeDeadlineSeconds": 60}, KEPT),
    Moment(
        "the startup deadline passes beside a container that does not start",
        {"startupDeadlineSeconds": 60},
        {"phase": "Pending", "beside": IMAGE_MISSING},
    ),
    Moment("the stall deadline passes", pod=KEPT, seen={"progress": OLD_REPORT}),
    Moment("the user suspends the job", {"suspend": True}),
    Moment(
        "the user suspends the job, and it saves",
        {"suspend": True},
        {**KEPT, "deleting": 60},
        {"deleting": True},
    ),
    Moment("the Job was deleted for a suspension", {"suspend": True}, attempt=None),
    Moment("a queue suspends the Job", attempt={"suspended": True}),
    Moment("a queue suspends the Job and deletes the pod", {}, KEPT, {"suspended": True}, True),
    Moment(
        "a queue has resumed the Job",
        pod_deleted=True,
        others=(make_pod(uid="pod-2", created=later(5)),),
    ),
    Moment("it is preempted", pod={"conditions": (disrupted(),)}),
    Moment(
        "it is preempted and the Job has failed",
        {},
        {"conditions": (disrupted(),)},
        {"ended": "Failed"},
    ),
    Moment("its node is lost", pod={**KEPT, "deleting": -100}),
    Moment("the Job is deleted in the foreground", attempt={"deleting": True}),
    Moment("the Job is deleted in the foreground beside a container", {}, KEPT, {"deleting": True}),
    Moment("the Job is deleted in the background", attempt=None),
    Moment("the Job is deleted in the background beside a container", {}, KEPT, None),
    Moment("the Job is deleted with its pod", attempt=None, pod_deleted=True),
    Moment("a policy deletes the pod of the ended Job", {}, {}, {"ended": "Complete"}, True),
    Moment("a policy deletes the ended Job", {}, {}, {"ended": "Complete", "deleting": True}, True),
    Moment("a container beside it fails", {}, {"phase": "Failed"}, {"ended": "Failed"}),
    Moment("the FineTuneJob is being deleted", deleted=True),
    Moment("the FineTuneJob is being deleted, and its Job is", attempt=None, deleted=True),
)


def status_after(moment: Moment, status: Status, code: int, message: str, **attempt: Any) -> Status:
    owner = "attempt-1-prepare" if attempt.get("prepare") else "attempt-1"
    ended = make_ended_pod(code, message, **{"owner": owner, **moment.pod})
    attempts: tuple[Attempt, ...] = ()
    if moment.attempt is not None:
        pods = moment.others if moment.pod_deleted else (*moment.others, ended)
        ends = {"ended": "Failed"} if code and "ended" in moment.attempt else {}
        attempts = (make_attempt(1, *pods, **{**moment.attempt, **ends, **attempt}),)
    lost = moment.attempt is None or moment.pod_deleted
    key = "ended_pods" if ended.ended or moment.pod_deleted else "orphaned_pods"
    seen = {**moment.seen, **({key: (ended,)} if lost else {})}
    job = make_job(status, **moment.spec, workspace={"claimName": "work"})
    return plan_of(
        deleted(job, "x/hold") if moment.deleted else job, *attempts, at=99, **seen
    ).status


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.name)
@pytest.mark.parametrize("code", [0, 137, 143], ids=["exits", "is killed", "is asked to end"])
def test_accuracy_is_taken_though(moment: Moment, code: int) -> None:
    status = status_after(moment, LIVE, code, RESULT)
    assert (status.phase, status.accuracy) == ("Complete", "0.9")
    assert [record.reason for record in status.history] == [c.COMPLETE]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.name)
def test_accuracy_below_the_minimum_is_taken_though(moment: Moment) -> None:
    message = error_message("AccuracyBelowMinimum")[:-1] + ', "result": {"accuracy": "0.6"}}'
    status = status_after(moment, LIVE, 80, message)
    assert (status.phase, status.accuracy) == ("Failed", "0.6")
    assert [record.reason for record in status.history] == [c.ACCURACY_BELOW_MINIMUM]


@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.name)
def test_prepared_data_set_is_taken_though(moment: Moment) -> None:
    current = CurrentAttempt(number=1, prepare=True, job_name="photos-1-prepare")
    preparation = Preparation(attempts=1)
    live = make_status(current_attempt=current, preparation=preparation, active_since=later(0))
    message = termination_message(prepared={"classes": 3})
    status = status_after(moment, live, 0, message, prepare=True)
    assert [record.reason for record in status.history] == [c.PREPARED]
    assert status.dataset
    assert status.dataset.classes == 3


@pytest.mark.parametrize(
    "moment",
    [
        moment
        for moment in MOMENTS
        if (moment.attempt is None or {"ended", "deleting"} & moment.attempt.keys())
        and "conditions" not in moment.pod
    ],
    ids=lambda moment: moment.name,
)
def test_error_of_the_trainer_is_taken_though(moment: Moment) -> None:
    message = error_message("InvalidData", "One class.")
    status = status_after(moment, LIVE, 65, message)
    assert status.phase == "Failed"
    assert status.failure
    assert (status.failure.reason, status.failure.message) == (c.INVALID_DATA, "One class.")


class TestWithoutResult:
    def test_deadline_waits_for_the_condition_of_a_job_whose_pod_has_ended(self) -> None:
        job = make_job(LIVE, activeDeadlineSeconds=60)
        pod = make_ended_pod(65, error_message("InvalidData"))
        waiting = plan_of(job, make_attempt(1, pod), at=61)
        assert (waiting.status.phase, waiting.requeue_after_seconds) == ("Training", 5)
        status = plan_of(job, make_attempt(1, pod, ended="Failed"), at=61).status
        assert status.failure
        assert status.failure.reason == c.INVALID_DATA

    def test_suspension_waits_for_the_condition_of_a_job_whose_pod_has_ended(self) -> None:
        job = make_job(LIVE, suspend=True)
        plan = plan_of(job, make_attempt(1, make_ended_pod(65)))
        suspended = plan.status.condition(c.SUSPENDED)
        assert suspended
        assert (suspended.reason, plan.actions) == (c.SUSPENDING, ())

    def test_pod_that_was_ended_with_its_job_leaves_no_error_of_its_own(self) -> None:
        killed = make_ended_pod(143, error_message("Interrupted"))
        status = plan_of(make_job(LIVE), ended_pods=(killed,)).status
        assert [record.reason for record in status.history] == [c.JOB_DELETED]

    def test_pod_of_another_attempt_or_job_says_nothing(self) -> None:
        second = make_status(attempt=2, active_since=later(0))
        of_the_first = make_ended_pod(0, RESULT)
        status = plan_of(make_job(second), ended_pods=(of_the_first,)).status
        assert [record.reason for record in status.history] == [c.JOB_DELETED]

    def test_copy_of_a_pod_says_nothing_of_a_job_that_exists(self) -> None:
        copied = make_ended_pod(0, RESULT, uid="pod-1", owner="somebody-1")
        plan = plan_of(make_job(LIVE), make_attempt(1, make_pod(uid="pod-2")), ended_pods=(copied,))
        assert plan.status.history == ()


class TestDeletedJob:
    """A FineTuneJob that is deleted, and that somebody's finalizer keeps."""

    def test_what_runs_is_deleted_and_nothing_is_created(self) -> None:
        job = deleted(make_job(LIVE), "backup.example.com/hold")
        assert plan_of(job, make_attempt(1, make_pod())).actions == (OUR_DELETE,)
        assert plan_of(job, make_attempt(1, make_pod(), deleting=True)).actions == ()
        assert plan_of(job).actions == ()
        failed = plan_of(job, make_attempt(1, make_ended_pod(75), ended="Failed"), at=99)
        assert failed.actions == ()

    def test_deletion_is_no_disruption(self) -> None:
        job = deleted(make_job(LIVE), "backup.example.com/hold")
        assert plan_of(job).status.history == ()

    def test_user_who_deletes_with_cascade_orphan_keeps_the_jobs(self) -> None:
        job = deleted(make_job(LIVE), "orphan")
        assert plan_of(job, make_attempt(1, make_pod())).actions == ()


def test_job_that_a_queue_would_run_again_is_deleted_after_its_result_was_taken() -> None:
    held = make_attempt(1, make_ended_pod(0, RESULT), suspended=True)
    first = plan_of(make_job(LIVE), held)
    assert (first.status.phase, first.actions, first.requeue_after_seconds) == ("Complete", (), 5)
    assert plan_of(make_job(first.status), held, at=5).actions == (OUR_DELETE,)


def test_training_starts_when_the_job_that_prepared_has_finished() -> None:
    current = CurrentAttempt(number=1, prepare=True, job_name="photos-1-prepare")
    live = make_status(current_attempt=current, preparation=Preparation(attempts=1))
    job = make_job(live, workspace={"claimName": "work"})
    pod = make_ended_pod(0, termination_message(prepared={}), owner="attempt-1-prepare")
    first = plan_of(job, make_attempt(1, pod, prepare=True))
    assert (first.status.phase, first.actions) == ("Pending", ())
    written = make_job(first.status, workspace={"claimName": "work"})
    finished = make_attempt(1, pod, prepare=True, ended="Complete")
    assert plan_of(written, finished, at=1).actions == (CreateAttempt(1),)
