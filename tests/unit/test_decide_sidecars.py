"""Containers that others add to the pods: the trainer's container is judged, not the pod."""

from typing import Any

import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import ContainerState, Pod, Running, Terminated, Waiting
from finetune_operator.api.types import FineTuneJob
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
    make_kept_pod,
    make_pod,
    make_progress,
    make_status,
    result_message,
)

LIVE = make_status(attempt=1, phase="Training")
RUNS = ContainerState(running=Running())
DONE = ContainerState(terminated=Terminated(exit_code=0, reason="Completed"))
CRASHED = ContainerState(
    terminated=Terminated(exit_code=1, reason="Error", message="vault: permission denied")
)
NO_IMAGE = ContainerState(
    waiting=Waiting(reason="ImagePullBackOff", message='Back-off pulling image "proxy:1"')
)
OUR_DELETE = DeleteAttempt("photos-1", "attempt-1")


def plan_of(job: FineTuneJob, *attempts: Attempt, at: float = 0, **seen: Any) -> Plan:
    observed = Observed(job=job, attempts=attempts, **seen)
    return decide(observed, later(at), Settings(trainer_gpu_image="trainer:1", backoff_seconds=10))


def trainer(state: ContainerState, phase: str, **pod: Any) -> Pod:
    return make_pod(phase, state=state, **pod)


class TestStart:
    @pytest.mark.parametrize(
        "pod",
        [
            pytest.param(trainer(RUNS, "Pending", beside=NO_IMAGE), id="image missing"),
            pytest.param(trainer(RUNS, "Running", beside=CRASHED), id="crashed"),
            pytest.param(trainer(RUNS, "Running", before=RUNS), id="native"),
            pytest.param(trainer(RUNS, "Running", before=NO_IMAGE), id="native, in a back-off"),
            pytest.param(trainer(RUNS, "Running", before=DONE), id="init container"),
        ],
    )
    def test_trainer_that_runs_has_started_whatever_is_beside_it(self, pod: Pod) -> None:
        job = make_job(make_status(attempt=1), startupDeadlineSeconds=60)
        status = plan_of(job, make_attempt(1, pod), at=99, progress=make_progress()).status
        assert status.phase == "Training"
        ready = status.condition(c.PODS_READY)
        assert ready
        assert ready.status == "True"

    def test_container_that_cannot_start_beside_the_trainer_is_named(self) -> None:
        attempt = make_attempt(1, trainer(RUNS, "Pending", beside=NO_IMAGE))
        status = plan_of(make_job(LIVE), attempt, progress=make_progress()).status
        assert status.failure
        assert status.failure.message == (
            "Container 'proxy' does not start: Back-off pulling image \"proxy:1\""
        )
        well = make_attempt(1, trainer(RUNS, "Running", beside=RUNS))
        assert plan_of(make_job(status), well).status.failure is None

    @pytest.mark.parametrize(
        "pod",
        [
            pytest.param(trainer(NO_IMAGE, "Pending", beside=RUNS), id="ordinary"),
            pytest.param(trainer(NO_IMAGE, "Running", before=RUNS), id="native"),
            pytest.param(trainer(ContainerState(), "Pending", before=RUNS), id="init container"),
        ],
    )
    def test_trainer_that_waits_has_not_started_whatever_runs_beside_it(self, pod: Pod) -> None:
        job = make_job(make_status(attempt=1), startupDeadlineSeconds=60)
        assert plan_of(job, make_attempt(1, pod), at=59).status.phase == "Starting"
        assert plan_of(job, make_attempt(1, pod), at=60).status.phase == "Failed"

    def test_pod_whose_init_container_failed_names_it(self) -> None:
        pod = make_pod("Failed", state=ContainerState(), before=CRASHED)
        plan = plan_of(make_job(LIVE), make_attempt(1, pod, ended="Failed"))
        failure = plan.status.failure
        assert failure
        assert (failure.reason, failure.exit_code) == (c.CONTAINER_ERROR, 1)
        assert "'vault' exited with code 1 (Error)" in failure.message
        assert "vault: permission denied" in failure.message
        assert plan.status.failures == 1

    def test_init_container_that_ended_with_its_deleted_pod_has_not_failed(self) -> None:
        pod = make_pod("Failed", state=ContainerState(), before=CRASHED, deleting=30)
        attempt = make_attempt(1, pod, ended="Failed", message="Job has reached the limit")
        failure = plan_of(make_job(LIVE), attempt).status.failure
        assert failure
        assert failure.reason != c.CONTAINER_ERROR


class TestEnd:
    @pytest.mark.parametrize(
        "others",
        [
            pytest.param({"beside": RUNS}, id="ordinary"),
            pytest.param({"beside": None, "before": RUNS}, id="native"),
            pytest.param({"beside": NO_IMAGE, "phase": "Pending"}, id="image missing"),
        ],
    )
    def test_result_is_taken_and_then_the_container_that_runs_on_is_ended_and_named(
        self, others: dict[str, Any]
    ) -> None:
        attempt = make_attempt(1, make_kept_pod(0, result_message("0.9"), **others))
        first = plan_of(make_job(LIVE), attempt)
        assert (first.status.phase, first.status.accuracy) == ("Complete", "0.9")
        assert (first.actions, first.requeue_after_seconds, first.note) == ((), 5, "")
        second = plan_of(make_job(first.status), attempt, at=5)
        assert second.actions == (OUR_DELETE,)
        assert second.note_reason == c.CONTAINER_RUNS_ON
        assert ("proxy" if others["beside"] else "vault") in second.note
        deleting = make_attempt(1, *attempt.pods, deleting=True)
        third = plan_of(make_job(first.status), deleting, at=6)
        assert (third.actions, third.note) == ((), "")

    def test_job_whose_other_containers_end_soon_is_kept_for_its_log(self) -> None:
        first = plan_of(make_job(LIVE), make_attempt(1, make_kept_pod(0, result_message())))
        ended = make_attempt(1, make_ended_pod(0, result_message(), beside=DONE))
        for attempt in (ended, make_attempt(1, *ended.pods, ended="Complete")):
            assert plan_of(make_job(first.status), attempt, at=99).actions == ()

    @pytest.mark.parametrize(
        ("code", "reason", "phase"),
        [(65, c.INVALID_DATA, "Failed"), (75, c.TEMPORARY_FAILURE, "Pending")],
    )
    def test_failure_is_recorded_though_another_container_runs_on(
        self, code: int, reason: str, phase: str
    ) -> None:
        pod = make_kept_pod(code, error_message(reason))
        plan = plan_of(make_job(LIVE), make_attempt(1, pod))
        assert [record.reason for record in plan.status.history] == [reason]
        assert (plan.status.phase, plan.actions) == (phase, ())

    def test_next_attempt_starts_when_the_trainer_has_ended_and_its_job_is_being_deleted(
        self,
    ) -> None:
        pod = make_kept_pod(75)
        failed = make_job(plan_of(make_job(LIVE), make_attempt(1, pod)).status)
        assert plan_of(failed, make_attempt(1, pod), at=4).requeue_after_seconds == 1
        due = plan_of(failed, make_attempt(1, pod), at=5)
        assert (due.actions, "proxy" in due.note) == ((OUR_DELETE,), True)
        # Not while the Job exists as if nothing were.
        assert plan_of(failed, make_attempt(1, pod), at=60).actions == (OUR_DELETE,)
        ends = make_attempt(1, make_kept_pod(75, deleting=120), deleting=True)
        assert plan_of(failed, ends, at=9).actions == ()
        assert plan_of(failed, ends, at=10).actions == (CreateAttempt(2),)

    @pytest.mark.parametrize(
        "attempt",
        [
            pytest.param(
                make_attempt(1, make_kept_pod(143), suspended=True), id="a queue takes it back"
            ),
            pytest.param(make_attempt(1, make_kept_pod(143), deleting=True), id="Job deleted"),
            pytest.param(make_attempt(1, make_kept_pod(143, deleting=60)), id="pod deleted"),
            pytest.param(
                make_attempt(1, make_kept_pod(70, index=0), nodes=2), id="a gang, not all seen"
            ),
            pytest.param(
                make_attempt(1, make_kept_pod(70, index=0), make_pod(uid="p", index=1), nodes=2),
                id="a gang whose other trainer runs",
            ),
            pytest.param(make_attempt(1, make_ended_pod(70, phase="Running")), id="none beside it"),
        ],
    )
    def test_end_without_a_result_waits_for_what_becomes_of_the_job(self, attempt: Attempt) -> None:
        plan = plan_of(make_job(LIVE), attempt, at=99)
        assert (plan.status.history, plan.actions) == ((), ())

    def test_trainer_that_ended_has_not_stalled(self) -> None:
        report = make_progress(worked="2026-01-01T10:00:00Z", read_at=later(0), sent_at=later(0))
        attempt = make_attempt(1, make_kept_pod(143, deleting=60))
        assert plan_of(make_job(LIVE), attempt, progress=report).status.history == ()

    def test_failure_of_another_container_is_not_the_trainers(self) -> None:
        pod = make_ended_pod(0, result_message("0.9"), phase="Failed", beside=CRASHED)
        status = plan_of(make_job(LIVE), make_attempt(1, pod, ended="Failed")).status
        assert (status.phase, status.accuracy) == ("Complete", "0.9")

    def test_eviction_is_a_disruption_whatever_is_beside_the_trainer(self) -> None:
        pod = make_ended_pod(137, beside=CRASHED, conditions=(disrupted(),))
        status = plan_of(make_job(LIVE), make_attempt(1, pod, ended="Failed")).status
        assert [record.reason for record in status.history] == [c.DISRUPTED]


class TestGang:
    def plan_of(self, *pods: Pod, at: float = 0, **attempt: Any) -> Plan:
        job = make_job(LIVE, trainer={"numNodes": 2, "gpusPerNode": 0})
        return plan_of(job, make_attempt(1, *pods, nodes=2, **attempt), at=at)

    def test_result_of_the_leader_is_taken_though_all_pods_run_on(self) -> None:
        leader = make_kept_pod(0, result_message("0.9"), index=0)
        plan = self.plan_of(leader, make_kept_pod(0, uid="pod-2", index=1))
        assert (plan.status.phase, plan.status.accuracy) == ("Complete", "0.9")

    def test_pod_whose_trainer_failed_first_is_the_cause_though_all_pods_run_on(self) -> None:
        bug = error_message("InternalError", "A bug.", pod_uid="pod-2")
        plan = self.plan_of(
            make_kept_pod(83, index=0), make_kept_pod(70, bug, uid="pod-2", index=1)
        )
        failure = plan.status.failure
        assert failure
        assert (failure.reason, failure.pod) == (c.INTERNAL_ERROR, "pod-2")

    def test_job_that_ends_its_other_pods_by_itself_is_left_to_it(self) -> None:
        leader = make_ended_pod(0, result_message(), index=0)
        pods = leader, make_pod(uid="pod-2", index=1, deleting=60)
        plan = self.plan_of(*pods, ended="SuccessCriteriaMet")
        job = make_job(plan.status)
        attempt = make_attempt(1, *pods, nodes=2, ended="SuccessCriteriaMet")
        assert plan_of(job, attempt, at=30).actions == ()
