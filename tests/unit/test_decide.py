"""The operator's logic as tables: what is seen, and what is done and said of it."""

from typing import Any

import msgspec
import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.contract import Progress
from finetune_operator.api.kubernetes import Condition
from finetune_operator.api.types import (
    AttemptRecord,
    CheckpointStatus,
    DatasetStatus,
    FineTuneJob,
    Status,
)
from finetune_operator.decide import decide
from finetune_operator.policy.plan import (
    Attempt,
    CreateAttempt,
    DeleteAttempt,
    DeleteSelf,
    Observed,
    Plan,
)
from finetune_operator.settings import Settings

from tests.support.builders import (
    NOW,
    disrupted,
    error_message,
    later,
    make_attempt,
    make_ended_attempt,
    make_ended_pod,
    make_event,
    make_figures,
    make_job,
    make_pod,
    make_progress,
    make_status,
    make_waiting_pod,
    result_message,
)

SETTINGS = Settings(trainer_gpu_image="trainer:default")


def plan_of(job: FineTuneJob, *attempts: Attempt, at: float = 0, **seen: Any) -> Plan:
    return decide(Observed(job=job, attempts=attempts, **seen), later(at), SETTINGS)


def again(job: FineTuneJob, plan: Plan) -> FineTuneJob:
    """The job with the planned status written."""
    return msgspec.structs.replace(job, status=plan.status)


def condition(status: Status, type: str) -> tuple[str, str]:
    found = status.condition(type)
    return (found.status, found.reason) if found else ("", "")


def record(reason: str, *, number: int = 1, at: float = 0, epoch: int | None = None) -> Any:
    return AttemptRecord(
        number=number, reason=reason, start_time=NOW, end_time=later(at), checkpoint_epoch=epoch
    )


RUNNING = make_attempt(1, make_pod())
LIVE = make_status(attempt=1, phase="Training")
FAILED_ONCE = make_status(attempts=1, failures=1, history=(record(c.INTERNAL_ERROR),))
COMPLETE = make_status(
    attempts=1, phase="Complete", accuracy="0.8704", completion_time=NOW, image="trainer:1"
)
FAILED = make_status(attempts=1, phase="Failed", completion_time=NOW)
OUR_DELETE = DeleteAttempt("photos-1", "attempt-1")


@pytest.mark.parametrize(
    ("status", "spec", "attempts", "phase", "actions"),
    [
        pytest.param(None, {}, (), "Starting", (CreateAttempt(1),), id="a new job is started"),
        pytest.param(
            None, {"suspend": True}, (), "Suspended", (), id="a job born suspended is not started"
        ),
        pytest.param(
            make_status(attempt=1),
            {},
            (make_attempt(1),),
            "Starting",
            (),
            id="a job without a pod is starting",
        ),
        pytest.param(
            make_status(attempt=1),
            {},
            (make_attempt(1, suspended=True),),
            "Queued",
            (),
            id="a Job that Kueue holds is queued",
        ),
        pytest.param(
            make_status(attempt=1, phase="Starting"),
            {},
            (RUNNING,),
            "Starting",
            (),
            id="a pod that has not reported yet is starting",
        ),
        pytest.param(
            LIVE,
            {},
            (RUNNING,),
            "Training",
            (),
            id="a training that a restarted operator has not asked yet goes on training",
        ),
        pytest.param(
            LIVE,
            {"suspend": True},
            (RUNNING,),
            "Suspended",
            (OUR_DELETE,),
            id="suspend deletes the running attempt",
        ),
        pytest.param(
            LIVE,
            {"suspend": True},
            (make_attempt(1, make_pod(), deleting=True),),
            "Suspended",
            (),
            id="suspend deletes an attempt once",
        ),
        pytest.param(
            LIVE,
            {},
            (make_ended_attempt(1, 70),),
            "Pending",
            (),
            id="a failed attempt is followed by the backoff",
        ),
        pytest.param(
            LIVE,
            {"backoffLimit": 0},
            (make_ended_attempt(1, 70),),
            "Failed",
            (),
            id="without retries the first failure is the last",
        ),
        pytest.param(
            LIVE,
            {},
            (make_ended_attempt(1, 65),),
            "Failed",
            (),
            id="a user error is not retried",
        ),
        pytest.param(
            LIVE,
            {},
            (make_ended_attempt(1, 0, result_message()),),
            "Complete",
            (),
            id="a result completes the job",
        ),
        pytest.param(
            make_status(),
            {},
            (make_ended_attempt(1, 0, result_message()),),
            "Complete",
            (),
            id="an attempt whose create was not written down is adopted with its result",
        ),
        pytest.param(
            LIVE,
            {},
            (),
            "Starting",
            (CreateAttempt(2),),
            id="a Job that someone deleted is followed by another",
        ),
        pytest.param(
            LIVE,
            {},
            (make_attempt(1, make_ended_pod(0, result_message()), deleting=True),),
            "Complete",
            (),
            id="a result is taken from a Job that is being deleted",
        ),
        pytest.param(
            LIVE,
            {},
            (make_attempt(1, make_ended_pod(143), deleting=True),),
            "Training",
            (),
            id="a Job that is being deleted without a result is waited for",
        ),
        pytest.param(
            FAILED_ONCE,
            {"suspend": True},
            (make_ended_attempt(1, 70),),
            "Suspended",
            (),
            id="suspend keeps the Job of an ended attempt for its log",
        ),
        pytest.param(
            COMPLETE, {}, (), "Complete", (), id="complete stays complete, children deleted"
        ),
        pytest.param(
            COMPLETE,
            {"suspend": True},
            (make_ended_attempt(1, 70),),
            "Complete",
            (),
            id="complete stays complete, whatever its Job says and the user wishes",
        ),
        pytest.param(FAILED, {}, (), "Failed", (), id="failed stays failed"),
        pytest.param(
            FAILED, {}, (RUNNING,), "Failed", (OUR_DELETE,), id="what runs after the end is deleted"
        ),
        pytest.param(
            FAILED,
            {},
            (make_attempt(1, make_pod(), deleting=True),),
            "Failed",
            (),
            id="what is being deleted after the end is waited for",
        ),
    ],
)
def test_decide(
    status: Status | None,
    spec: dict[str, Any],
    attempts: tuple[Attempt, ...],
    phase: str,
    actions: tuple[Any, ...],
) -> None:
    plan = plan_of(make_job(status, **spec), *attempts, at=1)
    assert plan.status.phase == phase
    assert plan.actions == actions


def test_the_same_observation_gives_the_same_plan_and_leaves_the_job_as_it_was() -> None:
    job = make_job(LIVE)
    before = msgspec.json.encode(job)
    first, second = (plan_of(job, make_ended_attempt(1, 70)) for _ in range(2))
    assert first == second
    assert msgspec.json.encode(job) == before


@pytest.mark.parametrize(
    ("job", "attempts", "seen"),
    [
        (make_job(), (), {}),
        (make_job(LIVE), (RUNNING,), {"progress": make_progress(epoch=1)}),
        (make_job(LIVE), (make_attempt(1, make_waiting_pod("ErrImagePull")),), {}),
        (make_job(LIVE, suspend=True), (make_attempt(1, make_pod(), deleting=True),), {}),
        (make_job(LIVE), (make_ended_attempt(1, 70),), {}),
        (make_job(LIVE), (make_ended_attempt(1, 0, result_message()),), {}),
    ],
    ids=["new", "training", "waiting", "suspending", "failed attempt", "complete"],
)
def test_a_second_look_changes_nothing(
    job: FineTuneJob, attempts: tuple[Attempt, ...], seen: dict[str, Any]
) -> None:
    first = plan_of(job, *attempts, **seen)
    created = any(isinstance(action, CreateAttempt) for action in first.actions)
    attempts = (make_attempt(1),) if created else attempts
    first = plan_of(again(job, first), *attempts, **seen, at=1) if created else first
    second = plan_of(again(job, first), *attempts, **seen, at=2)
    assert second.status == first.status


@pytest.mark.parametrize(
    ("labels", "phase"), [({}, "Starting"), ({c.LABEL_QUEUE: "team"}, "Pending")]
)
def test_new_job_starts_at_once_unless_a_queue_decides(labels: dict[str, str], phase: str) -> None:
    job = make_job()
    metadata = msgspec.structs.replace(job.metadata, labels=labels)
    status = plan_of(msgspec.structs.replace(job, metadata=metadata)).status
    assert status.phase == phase
    assert (status.active_since is None) == bool(labels)


def test_finished_job_adopts_nothing() -> None:
    stranger = make_attempt(2, make_pod(owner="attempt-2"))
    plan = plan_of(make_job(COMPLETE), stranger, progress=make_progress(), at=9)
    assert plan.status == COMPLETE
    assert plan.actions == (DeleteAttempt("photos-2", "attempt-2"),)


def test_image_is_resolved_once_and_outlives_an_operator_upgrade() -> None:
    first = plan_of(make_job())
    assert first.status.image == "trainer:default"
    job = again(make_job(), first)
    upgraded = decide(Observed(job=job), NOW, Settings(trainer_gpu_image="trainer:newer"))
    assert upgraded.status.image == "trainer:default"
    own = plan_of(make_job(trainer={"image": "mine:1"}))
    assert own.status.image == "mine:1"


class TestRetries:
    def test_wait_is_doubled_with_each_failure_and_then_the_next_attempt_starts(self) -> None:
        job = make_job(
            make_status(attempts=2, failures=2, history=(record(c.INTERNAL_ERROR, number=2),))
        )
        ended = make_ended_attempt(2, 70)
        early = plan_of(job, ended, at=19)
        assert (early.actions, early.requeue_after_seconds) == ((), 1)
        due = plan_of(job, ended, at=20)
        assert due.actions == (CreateAttempt(3),)
        assert due.status.current_attempt
        assert due.status.current_attempt.job_name == "photos-3"
        assert due.status.phase == "Starting"

    def test_failures_up_to_the_limit_are_retried_and_one_more_fails_the_job(self) -> None:
        last = make_status(attempt=4, failures=3)
        plan = plan_of(make_job(last), make_ended_attempt(4, 70, error_message("InternalError")))
        assert condition(plan.status, c.FAILED) == ("True", c.BACKOFF_LIMIT_EXCEEDED)
        assert plan.status.failures == 4
        assert plan.status.failure
        assert plan.status.failure.reason == c.INTERNAL_ERROR
        failed = plan.status.condition(c.FAILED)
        assert failed
        assert failed.message.endswith("The last one: What happened.")

    def test_next_attempt_waits_while_a_pod_of_the_last_one_runs(self) -> None:
        running = make_pod(owner="attempt-1", deleting=60)
        plan = plan_of(make_job(FAILED_ONCE), make_attempt(1, running, deleting=True), at=99)
        assert plan.actions == ()

    def test_next_attempt_waits_while_a_pod_runs_whose_job_is_deleted(self) -> None:
        plan = plan_of(make_job(LIVE), orphaned_pods=(make_pod(deleting=True),))
        assert (plan.status.history, plan.actions) == ((), ())
        plan = plan_of(again(make_job(), plan), at=1)
        assert [ended.reason for ended in plan.status.history] == [c.JOB_DELETED]
        assert plan.actions == (CreateAttempt(2),)

    def test_only_the_last_ended_attempt_is_kept(self) -> None:
        status = make_status(attempts=2, failures=2, history=(record(c.STALLED, number=2),))
        plan = plan_of(
            make_job(status), make_ended_attempt(1, 70), make_ended_attempt(2, 82), at=60
        )
        assert plan.actions == (OUR_DELETE, CreateAttempt(3))

    def test_end_is_recorded_though_the_next_attempt_was_created_before_the_status_was(
        self,
    ) -> None:
        """A conflict or a crash came between."""
        evicted = make_ended_attempt(1, 137, conditions=(disrupted(),))
        second = make_attempt(2, make_pod(owner="attempt-2"))
        first_pass = plan_of(make_job(LIVE), evicted, second)
        assert [ended.number for ended in first_pass.status.history] == [1]
        assert first_pass.status.disruptions == 1
        assert first_pass.actions == ()
        next_pass = plan_of(again(make_job(), first_pass), evicted, second)
        assert next_pass.status.attempts == 2
        assert next_pass.status.current_attempt
        assert next_pass.status.current_attempt.number == 2

    def test_status_that_someone_wiped_is_rebuilt_without_repeating_a_number(self) -> None:
        attempts = make_ended_attempt(1, 70), make_ended_attempt(2, 70)
        first = plan_of(make_job(), *attempts)
        second = plan_of(again(make_job(), first), *attempts)
        assert [ended.number for ended in second.status.history] == [1, 2]
        assert (second.status.attempts, second.status.failures) == (2, 2)
        assert first.actions == second.actions == ()

    def test_two_ends_that_could_not_be_written_are_both_recorded(self) -> None:
        status = make_status(attempts=1, disruptions=1, history=(record(c.DISRUPTED),))
        evicted = make_ended_attempt(2, 137, conditions=(disrupted(),))
        third = make_attempt(3, make_pod(owner="attempt-3"))
        first = plan_of(make_job(status), evicted, third)
        assert [ended.number for ended in first.status.history] == [1, 2]
        second = plan_of(again(make_job(), first), evicted, third)
        assert second.status.current_attempt
        assert second.status.current_attempt.number == 3

    def test_end_of_an_attempt_that_was_never_written_is_recorded_not_started_again(self) -> None:
        evicted = make_ended_attempt(1, 137, conditions=(disrupted(),))
        trained = make_ended_attempt(2, 0, result_message())
        first = plan_of(make_job(LIVE), evicted, trained)
        assert first.actions == ()
        second = plan_of(again(make_job(), first), evicted, trained)
        assert [ended.reason for ended in second.status.history] == [c.DISRUPTED, c.COMPLETE]
        assert second.actions == ()

    def test_history_holds_the_last_ten(self) -> None:
        history = tuple(record(c.DISRUPTED, number=n) for n in range(1, 11))
        status = make_status(attempt=11, history=history)
        plan = plan_of(make_job(status), make_ended_attempt(11, 70))
        assert [ended.number for ended in plan.status.history] == list(range(2, 12))

    def test_history_says_what_happened_when_the_next_attempt_has_begun(self) -> None:
        message = error_message("InternalError", message="x" * 1000)
        plan = plan_of(make_job(LIVE), make_ended_attempt(1, 70, message))
        assert plan.status.history[0].message == "x" * 256

    def test_operator_waits_for_the_termination_message_when_its_job_has_ended_first(self) -> None:
        ended = make_attempt(1, make_pod(), ended="Complete")  # the pod watch lags
        plan = plan_of(make_job(LIVE), ended, at=1)
        assert plan.status.current_attempt
        assert plan.actions == ()


class TestDisruptions:
    def test_disruption_is_not_a_failure_and_the_next_attempt_starts_at_once(self) -> None:
        plan = plan_of(make_job(LIVE), make_ended_attempt(1, 137, conditions=(disrupted(),)))
        assert (plan.status.failures, plan.status.disruptions) == (0, 1)
        assert plan.actions == (CreateAttempt(2),)

    def test_checkpoint_of_the_last_poll_is_kept_in_history(self) -> None:
        plan = plan_of(
            make_job(LIVE),
            make_ended_attempt(1, 137, conditions=(disrupted(),)),
            progress=make_progress(epoch=3),
        )
        assert plan.status.history[0].checkpoint_epoch == 3

    def test_checkpoint_that_the_pod_saved_at_its_end_is_progress(self) -> None:
        """It was written after the last poll; without it the interruption would count."""
        message = error_message("Interrupted")[:-1] + ', "checkpoint": {"epoch": 4}}'
        plan = plan_of(make_job(LIVE), make_ended_attempt(1, 143, message))
        assert plan.status.history[0].checkpoint_epoch == 4
        assert (plan.status.failures, plan.status.disruptions) == (0, 1)

    def test_interruption_by_who_deleted_the_job_counts_as_the_deletion_it_is(self) -> None:
        """The Job controller may mark it Failed before it sees that the Job is deleted."""
        terminating = make_attempt(1, make_ended_pod(143), ended="Failed", deleting=True)
        status = plan_of(make_job(LIVE), terminating).status
        assert status.history[-1].reason == c.JOB_DELETED
        assert (status.failures, status.disruptions) == (0, 1)

    def test_job_that_is_disrupted_for_ever_ends(self) -> None:
        job, now = make_job(), 0.0
        for number in range(1, 50):
            job = again(job, plan_of(job, at=now))
            if job.status.finished:
                break
            ended = make_ended_attempt(number, 137, conditions=(disrupted(),))
            job = again(job, plan_of(job, ended, at=now))
            now += 1000
        assert condition(job.status, c.FAILED) == ("True", c.BACKOFF_LIMIT_EXCEEDED)
        assert (job.status.disruptions, job.status.failures) == (5, 4)

    def test_job_that_is_disrupted_for_ever_but_advances_goes_on(self) -> None:
        status = make_status()
        for number in range(1, 30):
            status = make_status(
                attempt=number,
                history=status.history,
                disruptions=status.disruptions,
                checkpoint=CheckpointStatus(epoch=number),
            )
            ended = make_ended_attempt(number, 137, conditions=(disrupted(),))
            status = plan_of(make_job(status), ended).status
        assert (status.failures, status.disruptions) == (0, 29)


class TestSuspend:
    def test_pod_that_saved_and_went_is_recorded_as_suspended(self) -> None:
        plan = plan_of(make_job(LIVE, suspend=True))
        assert [ended.reason for ended in plan.status.history] == [c.SUSPENDED]
        assert condition(plan.status, c.SUSPENDED) == ("True", "Suspended")
        assert (plan.status.failures, plan.status.disruptions) == (0, 0)
        assert plan.status.active_since is None

    def test_suspended_attempt_whose_job_was_marked_failed_while_it_went_is_no_failure(
        self,
    ) -> None:
        """The Job controller may see the pod's end before it sees that the Job is deleted."""
        pod = make_ended_pod(143)
        terminating = make_attempt(1, pod, ended="Failed", deleting=True)
        status = plan_of(make_job(LIVE, suspend=True), terminating).status
        assert (status.history[-1].reason, status.failures) == ("Suspended", 0)

    def test_while_the_pod_saves_the_job_is_not_yet_suspended(self) -> None:
        saving = make_attempt(1, make_pod(deleting=True), deleting=True)
        plan = plan_of(make_job(LIVE, suspend=True), saving)
        assert condition(plan.status, c.SUSPENDED) == ("False", "Suspending")

    def test_while_a_pod_without_a_job_saves_the_job_is_not_yet_suspended(self) -> None:
        plan = plan_of(make_job(LIVE, suspend=True), orphaned_pods=(make_pod(),))
        assert condition(plan.status, c.SUSPENDED) == ("False", "Suspending")

    def test_attempt_that_ended_before_the_suspend_keeps_its_own_end(self) -> None:
        plan = plan_of(make_job(LIVE, suspend=True), make_ended_attempt(1, 70))
        assert [ended.reason for ended in plan.status.history] == [c.INTERNAL_ERROR]
        assert (plan.status.failures, plan.status.phase) == (1, "Suspended")
        assert condition(plan.status, c.SUSPENDED)[0] == "True"

    def test_job_that_trained_to_the_end_while_saving_is_complete(self) -> None:
        ended = make_attempt(1, make_ended_pod(0, result_message()), deleting=True)
        assert plan_of(make_job(LIVE, suspend=True), ended).status.phase == "Complete"

    def test_resume_starts_the_next_attempt_at_once_whatever_failed_before(self) -> None:
        suspended = make_status(
            attempts=2,
            failures=1,
            history=(record(c.INTERNAL_ERROR), record(c.SUSPENDED, number=2)),
            phase="Suspended",
            conditions=(Condition(type=c.SUSPENDED, status="True", reason="Suspended"),),
        )
        plan = plan_of(make_job(suspended), at=1)
        assert plan.actions == (CreateAttempt(3),)
        assert condition(plan.status, c.SUSPENDED) == ("False", "Resumed")

    def test_resume_starts_the_active_deadline_anew(self) -> None:
        status = make_status(attempt=1, phase="Training", active_since=NOW, active_seconds=20)
        job = make_job(status, suspend=True, activeDeadlineSeconds=60)
        suspended = again(make_job(activeDeadlineSeconds=60), plan_of(job, at=30))
        resumed = plan_of(suspended, at=1000)
        assert resumed.actions == (CreateAttempt(2),)
        assert resumed.status.phase == "Starting"
        assert resumed.status.active_seconds == 0


class TestClocks:
    def test_active_deadline_runs_from_the_first_start_and_fails_the_job(self) -> None:
        job = make_job(LIVE, activeDeadlineSeconds=60)
        assert plan_of(job, RUNNING, at=59).requeue_after_seconds == 1
        plan = plan_of(job, RUNNING, at=60)
        assert condition(plan.status, c.FAILED) == ("True", c.DEADLINE_EXCEEDED)
        assert plan.actions == (OUR_DELETE,)
        assert plan.status.current_attempt is None

    def test_pod_that_outlives_the_deadline_is_deleted_until_it_is_not_found(self) -> None:
        job = make_job(LIVE, activeDeadlineSeconds=60)
        failed = again(job, plan_of(job, RUNNING, at=60))
        for at in (61, 600):  # the first delete never arrived
            assert plan_of(failed, RUNNING, at=at).actions == (OUR_DELETE,)
        assert plan_of(failed, at=601).actions == ()

    def test_active_deadline_also_ends_a_wait_for_the_next_attempt(self) -> None:
        waiting = make_status(
            attempts=3, failures=3, history=(record(c.STALLED, number=3),), active_since=NOW
        )
        job = make_job(waiting, activeDeadlineSeconds=20)
        assert plan_of(job, at=5).requeue_after_seconds == 15
        stuck = make_attempt(3, make_pod(owner="attempt-3", deleting=True), deleting=True)
        assert plan_of(job, stuck, at=5).requeue_after_seconds == 15
        assert plan_of(job, at=20).status.phase == "Failed"

    def test_active_deadline_does_not_take_a_result_away(self) -> None:
        job = make_job(LIVE, activeDeadlineSeconds=60)
        plan = plan_of(job, make_ended_attempt(1, 0, result_message()), at=61)
        assert plan.status.phase == "Complete"

    def test_startup_deadline_fails_the_job_with_what_it_waited_for(self) -> None:
        job = make_job(make_status(attempt=1), startupDeadlineSeconds=30)
        waiting = make_attempt(1, make_waiting_pod("ErrImagePull", "manifest unknown"))
        assert plan_of(job, waiting, at=29).requeue_after_seconds == 1
        plan = plan_of(job, waiting, at=30)
        assert condition(plan.status, c.FAILED) == ("True", c.STARTUP_DEADLINE_EXCEEDED)
        assert plan.status.failure
        assert plan.status.failure.reason == c.IMAGE_PULL_ERROR
        assert plan.status.failure.message.endswith("manifest unknown")
        assert plan.actions == (OUR_DELETE,)

    def test_startup_deadline_without_a_diagnosis_says_that_nothing_ran(self) -> None:
        job = make_job(make_status(attempt=1), startupDeadlineSeconds=30)
        failure = plan_of(job, make_attempt(1), at=30).status.failure
        assert failure
        assert "startupDeadlineSeconds (30 s)" in failure.message

    @pytest.mark.parametrize(
        "attempt",
        [
            pytest.param(make_attempt(1, suspended=True), id="while Kueue holds the Job"),
            pytest.param(RUNNING, id="once a pod has run"),
            pytest.param(make_attempt(1, started=None), id="before the Job controller saw it"),
            pytest.param(make_attempt(1, deleting=True), id="while the Job is being deleted"),
        ],
    )
    def test_startup_deadline_does_not_run(self, attempt: Attempt) -> None:
        plan = plan_of(make_job(make_status(attempt=1)), attempt, at=9999)
        assert plan.status.phase != "Failed"
        assert plan.requeue_after_seconds is None

    def test_startup_clock_of_the_next_attempt_is_its_own(self) -> None:
        second = make_attempt(2, started=later(5000))
        job = make_job(make_status(attempt=2), startupDeadlineSeconds=30)
        assert plan_of(job, second, at=5010).requeue_after_seconds == 20

    def test_startup_clock_does_not_run_for_pods_that_have_run_and_are_deleted(self) -> None:
        """The Job controller takes a pod off before it says that its Job has failed."""
        job = make_job(LIVE, startupDeadlineSeconds=60)
        ready = again(job, plan_of(job, RUNNING, at=5))
        gap = plan_of(ready, make_attempt(1), at=7200)
        assert (gap.status.phase, gap.actions) == ("Training", ())
        assert condition(gap.status, c.PODS_READY) == ("True", "PodsReady")
        later_on = plan_of(again(job, gap), make_attempt(1), at=7260)
        assert (later_on.status.phase, later_on.actions) == ("Training", ())

    def test_startup_clock_does_not_run_for_a_gang_that_lost_a_pod_which_had_ended(self) -> None:
        job = make_job(LIVE, startupDeadlineSeconds=60)
        leader = make_pod(index=0)
        gang = make_attempt(1, leader, make_ended_pod(0, uid="pod-2", index=1), nodes=2)
        ready = again(job, plan_of(job, gang, at=5))
        plan = plan_of(ready, make_attempt(1, leader, nodes=2), at=7200)
        assert (plan.status.phase, plan.actions) == ("Training", ())

    def test_startup_clock_runs_for_a_pod_in_the_place_of_one_that_has_run(self) -> None:
        job = make_job(LIVE, startupDeadlineSeconds=60)
        ready = again(job, plan_of(job, RUNNING, at=5))
        plan = plan_of(ready, make_attempt(1, make_waiting_pod("ContainerCreating")), at=61)
        assert plan.status.phase == "Failed"
        assert condition(plan.status, c.FAILED)[1] == c.STARTUP_DEADLINE_EXCEEDED

    def test_startup_clock_of_the_next_admission_is_its_own(self) -> None:
        job = make_job(LIVE, startupDeadlineSeconds=60)
        ready = again(job, plan_of(job, RUNNING, at=5))
        again_admitted = make_attempt(1, started=later(600))
        assert plan_of(ready, again_admitted, at=659).status.phase == "Starting"
        assert plan_of(ready, again_admitted, at=660).status.phase == "Failed"

    def test_pod_that_is_older_than_the_start_of_its_job_has_run_all_the_same(self) -> None:
        """A Job that a queue lets run gets its pods first, and its startTime afterwards."""
        job = make_job(LIVE, startupDeadlineSeconds=60)
        plan = plan_of(job, make_attempt(1, make_pod(), started=later(1)), at=7200)
        assert (plan.status.phase, plan.actions) == ("Training", ())

    def test_pod_that_is_being_taken_back_has_not_run_for_the_next_admission(self) -> None:
        old = make_attempt(1, make_pod(deleting=30), started=later(1))
        assert plan_of(make_job(LIVE), old, at=2).status.phase == "Starting"

    def test_active_deadline_does_not_run_while_a_queue_holds_the_job(self) -> None:
        job = make_job(LIVE, activeDeadlineSeconds=60)
        ran = again(job, plan_of(job, RUNNING, at=5))
        assert ran.status.active_since == NOW
        queued = plan_of(ran, make_attempt(1, suspended=True, started=None), at=40)
        assert (queued.status.phase, queued.status.active_since) == ("Queued", None)
        waiting = again(job, queued)
        assert plan_of(waiting, make_attempt(1, suspended=True), at=7200).status == queued.status
        unsuspended = again(job, plan_of(waiting, make_attempt(1, started=later(7300)), at=7301))
        assert (unsuspended.status.active_since, unsuspended.status.active_seconds) == (
            later(7300),
            40,
        )
        running = make_attempt(1, make_pod(created=later(7301)), started=later(7300))
        assert plan_of(unsuspended, running, at=7319).status.phase == "Starting"
        assert plan_of(unsuspended, running, at=7320).status.phase == "Failed"

    def test_clocks_do_not_take_the_start_of_before_a_suspension_for_the_new_one(self) -> None:
        """A resumed Job keeps its old startTime, and its condition, until it has pods again."""
        job = make_job(LIVE, startupDeadlineSeconds=60, activeDeadlineSeconds=60)
        resumed = make_attempt(1, ended="Suspended")
        plan = plan_of(job, resumed, at=7200)
        assert (plan.status.phase, plan.status.active_since) == ("Starting", None)

    def test_finished_job_is_deleted_after_its_time_to_live_and_not_before(self) -> None:
        job = make_job(COMPLETE, ttlSecondsAfterFinished=60)
        early = plan_of(job, at=59)
        assert (early.actions, early.requeue_after_seconds) == ((), 1)
        assert plan_of(job, at=60).actions == (DeleteSelf(),)

    def test_finished_job_without_a_time_to_live_is_kept_and_not_looked_at_again(self) -> None:
        plan = plan_of(make_job(COMPLETE), at=10**8)
        assert (plan.actions, plan.requeue_after_seconds) == ((), None)


class TestReports:
    def test_result_comes_from_the_termination_message(self) -> None:
        message = result_message(
            "0.7741",
            dataset={"classes": 3, "trainImages": 30, "validationImages": 8},
            model={"name": "efficientnet-lite0"},
            output={"uri": "pvc://models/photos/job-uid"},
            metrics=[{"name": "accuracy", "value": "0.7741"}],
        )
        status = plan_of(make_job(LIVE), make_ended_attempt(1, 0, message)).status
        assert (status.phase, status.accuracy) == ("Complete", "0.7741")
        assert status.output
        assert status.output.uri == "pvc://models/photos/job-uid"
        assert status.trainer_status
        assert status.trainer_status.progress_percentage == 100
        assert condition(status, c.DATASET_READY)[0] == "True"
        assert condition(status, c.METRICS_AVAILABLE) == ("True", "Reported")
        assert condition(status, c.RUNNING)[0] != "True"

    def test_result_of_another_pod_is_ignored(self) -> None:
        ended = make_ended_attempt(1, 0, result_message(pod_uid="someone-else"))
        status = plan_of(make_job(LIVE), ended).status
        assert status.accuracy == ""
        assert [each.reason for each in status.history] == [c.RESULT_LOST]

    def test_accuracy_below_the_minimum_fails_the_job_and_is_kept(self) -> None:
        message = error_message("AccuracyBelowMinimum")[:-1] + ', "result": {"accuracy": "0.61"}}'
        status = plan_of(make_job(LIVE), make_ended_attempt(1, 80, message)).status
        assert (status.phase, status.accuracy) == ("Failed", "0.61")
        assert condition(status, c.FAILED) == ("True", c.ACCURACY_BELOW_MINIMUM)
        assert condition(status, c.METRICS_AVAILABLE)[0] == "True"

    @pytest.mark.parametrize(
        ("progress", "phase", "running"),
        [
            (make_progress("fetch"), "Preparing", ("False", "Preparing")),
            (make_progress("prepare"), "Preparing", ("False", "Preparing")),
            (make_progress("fit"), "Training", ("True", "Training")),
            (make_progress("export"), "Training", ("True", "Training")),
        ],
        ids=["fetch", "prepare", "fit", "export"],
    )
    def test_stage_gives_the_phase(
        self, progress: Progress, phase: str, running: tuple[str, str]
    ) -> None:
        status = plan_of(make_job(LIVE), RUNNING, progress=progress).status
        assert status.phase == phase
        assert condition(status, c.RUNNING) == running
        assert condition(status, c.METRICS_AVAILABLE)[0] == "True"

    def test_progress_shows_percentage_and_eta_and_a_new_time_alone_is_no_news(self) -> None:
        first = plan_of(make_job(LIVE), RUNNING, progress=make_progress()).status
        assert first.trainer_status
        assert (first.trainer_status.progress_percentage, first.eta) == (50, "10m")
        progress = make_progress()
        assert progress.trainer_status
        newer = msgspec.structs.replace(
            progress,
            trainer_status=msgspec.structs.replace(
                progress.trainer_status, last_updated_time="2026-01-01T12:00:05Z"
            ),
        )
        assert plan_of(make_job(first), RUNNING, progress=newer).status == first

    def test_figures_of_each_batch_change_the_status_every_30_s_at_most(self) -> None:
        job, writes = make_job(LIVE), []
        for second in range(0, 120, 5):
            figures = make_figures(at=second, speed=f"{200 + second}", remaining=600 - second)
            plan = plan_of(job, RUNNING, progress=make_progress(trainer_status=figures), at=second)
            if plan.status != job.status:
                writes.append(second)
            job = again(job, plan)
        assert writes == [0, 30, 60, 90]
        assert job.status.eta == "8m"

    def test_dataset_is_shown_as_soon_as_it_is_prepared(self) -> None:
        dataset = DatasetStatus(classes=3, train_images=30, validation_images=8)
        progress = make_progress("model", dataset=dataset)
        status = plan_of(make_job(LIVE), RUNNING, progress=progress).status
        assert status.dataset == dataset
        ready = status.condition(c.DATASET_READY)
        assert ready
        assert ready.message.startswith("3 classes, 30 training and 8 validation images")

    def test_progress_that_is_not_a_number_yet_is_no_news(self) -> None:
        progress = msgspec.structs.replace(make_progress(), trainer_status=None)
        status = plan_of(make_job(LIVE), RUNNING, progress=progress).status
        assert (status.trainer_status, status.phase) == (None, "Training")

    def test_trainer_that_does_not_answer_is_told_but_not_ended(self) -> None:
        plan = plan_of(make_job(LIVE), RUNNING, unreachable=True)
        assert condition(plan.status, c.METRICS_AVAILABLE) == ("False", "Unreachable")
        assert (plan.status.phase, plan.actions) == ("Training", ())

    def test_a_restarted_operator_that_has_asked_nobody_yet_calls_no_pod_unreachable(
        self,
    ) -> None:
        reported = plan_of(make_job(LIVE), RUNNING, progress=make_progress())
        plan = plan_of(again(make_job(LIVE), reported), RUNNING, at=7200)
        assert condition(plan.status, c.METRICS_AVAILABLE) == ("True", "Reported")

    def test_diagnosis_is_shown_while_it_lasts_and_then_forgotten(self) -> None:
        job = make_job(make_status(attempt=1))
        waiting = make_attempt(1, make_waiting_pod("ImagePullBackOff", "Back-off pulling image"))
        stuck = plan_of(job, waiting)
        assert stuck.status.failure
        assert stuck.status.failure.reason == c.IMAGE_PULL_ERROR
        assert condition(stuck.status, c.PODS_READY) == ("False", c.IMAGE_PULL_ERROR)
        well = plan_of(again(job, stuck), RUNNING)
        assert well.status.failure is None
        assert condition(well.status, c.PODS_READY) == ("True", "PodsReady")

    def test_event_of_a_refused_pod_is_the_diagnosis(self) -> None:
        event = make_event("FailedCreate", 'pods "photos-1-x" is forbidden: exceeded quota: gpus')
        plan = plan_of(make_job(make_status(attempt=1)), make_attempt(1), events=(event,))
        assert plan.status.failure
        assert plan.status.failure.reason == c.CREATE_REFUSED
        assert "ResourceQuota" in plan.status.failure.hint

    def test_newest_pod_counts_when_kueue_gave_the_job_several(self) -> None:
        old = make_ended_pod(143, uid="pod-0")
        new = make_ended_pod(0, result_message(), created=later(5))
        plan = plan_of(make_job(LIVE), make_attempt(1, new, old, ended="Complete"))
        assert plan.status.phase == "Complete"


def test_ended_pod_without_a_result_changes_nothing_until_its_job_has_ended() -> None:
    job = make_job(make_status(attempt=1, phase="Training"))
    plan = plan_of(job, make_attempt(1, make_ended_pod(0)))
    assert plan.status.phase == "Training"
    assert plan.actions == ()


def test_ended_attempt_keeps_its_job_though_the_cache_is_stale() -> None:
    stale = make_attempt(1, make_ended_pod(70))
    assert plan_of(make_job(FAILED_ONCE), stale, at=99).actions == ()
    finished = msgspec.structs.replace(FAILED_ONCE, phase="Failed", completion_time=NOW)
    assert plan_of(make_job(finished), stale).actions == ()


class TestResumeWhileItSaves:
    def test_attempt_that_was_being_suspended_is_recorded_as_such(self) -> None:
        suspending = plan_of(make_job(LIVE, suspend=True), make_attempt(1, make_pod())).status
        saving = make_attempt(1, make_pod(deleting=60), deleting=True)
        resumed = plan_of(make_job(suspending), saving, at=1)
        assert resumed.actions == ()
        plan = plan_of(again(make_job(), resumed), at=2)
        assert [ended.reason for ended in plan.status.history] == [c.SUSPENDED]
        assert plan.actions == (CreateAttempt(2),)
        assert condition(plan.status, c.SUSPENDED) == ("False", "Resumed")
