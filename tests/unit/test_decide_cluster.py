"""What the cluster does to an attempt: a queue that holds or takes back, a node that is lost."""

from typing import Any

import msgspec
import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import (
    AdmissionCheck,
    Condition,
    EventSource,
    Metadata,
    OwnerReference,
    Pod,
    Workload,
    WorkloadSpec,
    WorkloadStatus,
)
from finetune_operator.api.types import CurrentAttempt, FineTuneJob, Preparation, Status
from finetune_operator.decide import decide
from finetune_operator.policy.plan import (
    Attempt,
    CreateAttempt,
    DeleteAttempt,
    DeleteSelf,
    ForceDeletePod,
    Observed,
    Plan,
    RelabelAttempt,
)
from finetune_operator.settings import Settings

from tests.support.builders import (
    later,
    make_attempt,
    make_ended_pod,
    make_event,
    make_gated_pod,
    make_job,
    make_pod,
    make_progress,
    make_status,
    make_workload,
)

LIVE = make_status(attempt=1)


def labelled(labels: dict[str, str]) -> FineTuneJob:
    job = make_job(LIVE)
    metadata = msgspec.structs.replace(job.metadata, labels=labels)
    return msgspec.structs.replace(job, metadata=metadata)


def message_of(status: Status) -> str:
    ready = status.condition(c.PODS_READY)
    assert ready
    return ready.message


LOST_POD = make_pod(deleting=30)
GIVEN_UP = (DeleteAttempt("photos-1", "attempt-1"), ForceDeletePod("pod-1", "pod-1"))


def plan_of(job: FineTuneJob, *attempts: Attempt, at: float = 0, **seen: Any) -> Plan:
    seen_now = Observed(job=job, attempts=attempts, **seen)
    return decide(
        seen_now, later(at), Settings(trainer_gpu_image="trainer:1", node_lost_seconds=60)
    )


class TestQueue:
    @pytest.mark.parametrize(
        "recorder",
        [
            {"source": EventSource(component="batch/job-kueue-controller")},
            {"reporting_component": "batch/job-kueue-controller"},
        ],
        ids=["of Kueue before 0.18", "of Kueue since 0.18"],
    )
    def test_held_job_is_queued_and_says_what_the_queue_says(
        self, recorder: dict[str, Any]
    ) -> None:
        event = msgspec.structs.replace(
            make_event("Pending", "couldn't assign flavors: insufficient quota", type="Normal"),
            **recorder,
        )
        other = make_event("Suspended", "Job suspended", at=5)
        queued = make_attempt(1, suspended=True)
        status = plan_of(make_job(LIVE), queued, events=(event, other)).status
        ready = status.condition(c.PODS_READY)
        assert ready
        assert (status.phase, ready.reason, ready.message) == (
            "Queued",
            "Queued",
            "Pending: couldn't assign flavors: insufficient quota",
        )

    def test_workload_says_why_the_job_is_held_whatever_events_say(self) -> None:
        text = (
            "couldn't assign flavors to pod set main: insufficient unused quota for nvidia.com/gpu "
            "in flavor default, 1 more needed"
        )
        event = msgspec.structs.replace(
            make_event("CreatedWorkload", "Created Workload: team/job-photos-1", type="Normal"),
            reporting_component="batch/job-kueue-controller",
        )
        status = plan_of(
            make_job(LIVE),
            make_attempt(1, suspended=True),
            events=(event,),
            workload=make_workload("Pending", text),
        ).status
        assert message_of(status) == f"Pending: {text}"
        assert status.failure is None

    def test_workload_that_kueue_has_not_looked_at_waits_its_turn_in_a_queue_with_a_name(
        self,
    ) -> None:
        workload = Workload(metadata=Metadata(), spec=WorkloadSpec(queue_name="team"))
        held = make_attempt(1, suspended=True)
        status = plan_of(make_job(LIVE), held, workload=workload).status
        assert message_of(status) == "It waits its turn in the LocalQueue 'team' of Kueue."
        assert status.failure is None

    @pytest.mark.parametrize(
        ("reason", "message"),
        [
            ("Inadmissible", "LocalQueue tema doesn't exist"),
            ("Inadmissible", "ClusterQueue team is inactive"),
            ("Misconfigured", "LocalQueue tema doesn't exist"),
        ],
    )
    def test_queue_that_never_admits_is_a_failure_that_the_job_waits_for(
        self, reason: str, message: str
    ) -> None:
        status = plan_of(
            make_job(LIVE),
            make_attempt(1, suspended=True),
            workload=make_workload(reason, message),
        ).status
        assert (status.phase, message_of(status)) == ("Queued", f"{reason}: {message}")
        assert status.failure
        assert (status.failure.reason, status.failure.message) == (
            c.QUEUE_BLOCKED,
            f"{reason}: {message}",
        )
        assert "kueue.x-k8s.io/queue-name" in status.failure.hint

    def test_deactivated_workload_is_a_failure_with_the_remedy(self) -> None:
        text = (
            "The workload is deactivated due to exceeding the maximum number of re-queuing retries"
        )
        status = plan_of(
            make_job(LIVE),
            make_attempt(1, suspended=True),
            workload=make_workload("Pending", "x", active=False, evicted=text),
        ).status
        assert (status.phase, message_of(status)) == ("Queued", f"Deactivated: {text}")
        assert status.failure
        assert status.failure.reason == c.WORKLOAD_DEACTIVATED
        assert text in status.failure.message
        assert "spec.suspend" in status.failure.hint

    def test_admission_check_is_named(self) -> None:
        workload = make_workload()
        reserved = Condition(type="QuotaReserved", status="True", reason="QuotaReserved")
        check = AdmissionCheck(name="nodes", state="Pending", message="no capacity yet")
        held = WorkloadStatus(conditions=(reserved,), admission_checks=(check,))
        status = plan_of(
            make_job(LIVE),
            make_attempt(1, suspended=True),
            workload=msgspec.structs.replace(workload, status=held),
        ).status
        assert message_of(status) == "admission check nodes is Pending: no capacity yet"

    def test_changed_labels_reach_a_job_that_waits(self) -> None:
        job = labelled({"kueue.x-k8s.io/queue-name": "team", "kueue.x-k8s.io/priority-class": "hi"})
        waiting = make_attempt(1, suspended=True, queue="tema")
        wanted = RelabelAttempt("photos-1", "attempt-1", dict(job.metadata.labels))
        assert plan_of(job, waiting).actions == (wanted,)

    @pytest.mark.parametrize(
        ("labels", "attempt"),
        [
            pytest.param("team", make_attempt(1, suspended=True, queue="team"), id="same"),
            pytest.param("team", make_attempt(1, make_pod(), queue="tema"), id="it runs"),
            pytest.param("", make_attempt(1, suspended=True, queue="team"), id="removed"),
            pytest.param(
                "team", make_attempt(1, suspended=True, queue="tema", deleting=True), id="deleted"
            ),
        ],
    )
    def test_other_labels_stay(self, labels: str, attempt: Attempt) -> None:
        job = labelled({"kueue.x-k8s.io/queue-name": labels} if labels else {})
        assert plan_of(job, attempt).actions == ()

    def test_job_that_was_taken_back_is_queued_and_nothing_of_it_runs(self) -> None:
        running = plan_of(make_job(LIVE), make_attempt(1, make_pod()), progress=make_progress())
        assert running.status.phase == "Training"
        saved = make_ended_pod(143)
        plan = plan_of(make_job(running.status), make_attempt(1, saved, suspended=True))
        assert (plan.status.phase, plan.status.eta, plan.actions) == ("Queued", "", ())
        is_running = plan.status.condition(c.RUNNING)
        assert is_running
        assert is_running.status == "False"
        assert plan.status.history == ()

    def test_pod_of_the_second_admission_starts_anew(self) -> None:
        before = make_ended_pod(143, uid="pod-0")
        waiting = make_pod("Pending", created=later(100))
        readmitted = make_attempt(1, before, waiting, started=later(100))
        assert plan_of(make_job(LIVE), readmitted, at=110).status.phase == "Starting"

    def test_pod_that_could_not_save_before_it_was_taken_back_is_a_disruption(self) -> None:
        killed = make_attempt(1, make_ended_pod(137), suspended=True, ended="Failed")
        status = plan_of(make_job(LIVE), killed).status
        assert [record.reason for record in status.history] == [c.DISRUPTED]
        assert (status.failures, status.disruptions) == (0, 1)

    def test_watch_of_work_stands_still_while_the_queue_holds_the_job(self) -> None:
        old = make_progress(worked="2026-01-01T10:00:00Z", read_at=later(0), sent_at=later(0))
        queued = make_attempt(1, make_pod(), suspended=True)
        assert plan_of(make_job(LIVE), queued, progress=old).status.history == ()


class TestImage:
    RAN = "registry.example.com/trainer@sha256:" + "0" * 64

    def test_digest_of_the_image_that_ran_is_kept(self) -> None:
        job = make_job(LIVE)
        assert plan_of(job, make_attempt(1, make_pod("Pending"))).status.image_id == ""
        pod = make_pod(image_id=self.RAN)
        status = plan_of(job, make_attempt(1, pod)).status
        assert (status.image, status.image_id) == ("trainer:1", self.RAN)
        assert msgspec.to_builtins(status)["imageID"] == self.RAN
        lost = plan_of(make_job(status), make_attempt(1, make_pod("Pending"))).status
        assert lost.image_id == self.RAN

    def test_digest_comes_from_a_pod_that_was_seen_after_its_end(self) -> None:
        ended = make_attempt(1, make_ended_pod(1, image_id=self.RAN), ended="Failed")
        assert plan_of(make_job(LIVE), ended).status.image_id == self.RAN

    def test_text_of_a_node_is_bounded(self) -> None:
        pod = make_pod(image_id="x" * 5000)
        assert len(plan_of(make_job(LIVE), make_attempt(1, pod)).status.image_id) == 1024

    def test_image_that_prepares_is_another(self) -> None:
        pod = make_pod(image_id=self.RAN, owner="attempt-1-prepare")
        current = CurrentAttempt(number=1, prepare=True, job_name="photos-1-prepare")
        status = make_status(current_attempt=current, preparation=Preparation(attempts=1))
        prepares = make_attempt(1, pod, prepare=True)
        assert plan_of(make_job(status), prepares).status.image_id == ""


class TestSchedulingGate:
    GATED = make_attempt(1, make_gated_pod("example.com/budget", "example.com/data"))

    def test_gated_pod_is_queued_and_its_gates_are_named(self) -> None:
        plan = plan_of(make_job(LIVE), self.GATED)
        ready = plan.status.condition(c.PODS_READY)
        assert ready
        assert (plan.status.phase, ready.reason) == ("Queued", c.SCHEDULING_GATED)
        assert "example.com/budget, example.com/data" in ready.message
        assert plan.status.failure is None

    def test_no_clock_runs_while_a_gate_holds_the_pod(self) -> None:
        job = make_job(LIVE, startupDeadlineSeconds=60, activeDeadlineSeconds=90)
        plan = plan_of(job, self.GATED, at=86400)
        assert (plan.status.phase, plan.requeue_after_seconds) == ("Queued", None)
        assert plan.status.active_since is None

    def test_clocks_start_when_the_gate_is_removed(self) -> None:
        spec: dict[str, Any] = {"startupDeadlineSeconds": 60}
        queued = plan_of(make_job(LIVE, **spec), self.GATED, at=3000).status
        free = make_attempt(1, make_pod("Pending"))
        plan = plan_of(make_job(queued, **spec), free, at=3600)
        assert (plan.status.phase, plan.requeue_after_seconds) == ("Starting", 60)
        assert plan.status.active_since == later(3600)
        late = plan_of(make_job(plan.status, **spec), free, at=3660).status
        assert late.phase == "Failed"

    def test_pod_that_runs_beside_a_gated_one_of_its_gang_is_queued(self) -> None:
        gated = make_gated_pod("example.com/budget")
        gang = make_attempt(1, make_pod(index=0, uid="pod-0"), gated, nodes=2)
        assert plan_of(make_job(LIVE), gang).status.phase == "Queued"


class TestOtherCluster:
    """MultiKueue: the Job's status is copied here, its pods are elsewhere."""

    MULTIKUEUE = "kueue.x-k8s.io/multikueue"

    def test_ready_pods_count_and_it_is_told_that_nothing_can_be_read(self) -> None:
        running = make_attempt(1, managed_by=self.MULTIKUEUE, ready=1)
        status = plan_of(make_job(LIVE, startupDeadlineSeconds=60), running, at=3600).status
        metrics = status.condition(c.METRICS_AVAILABLE)
        assert metrics
        assert (status.phase, metrics.reason) == ("Training", c.RUNS_ELSEWHERE)
        assert status.failure
        assert status.failure.reason == c.RUNS_ELSEWHERE
        assert self.MULTIKUEUE in status.failure.message
        assert "result" in status.failure.message

    def test_startup_deadline_runs_until_they_are_ready(self) -> None:
        waiting = make_attempt(1, managed_by=self.MULTIKUEUE)
        job = make_job(LIVE, startupDeadlineSeconds=60)
        assert plan_of(job, waiting, at=59).status.phase == "Starting"
        failed = plan_of(job, waiting, at=60).status
        assert failed.phase == "Failed"
        assert failed.failure
        assert "another cluster" in failed.failure.message

    def test_end_elsewhere_is_the_end_and_nothing_trains_again(self) -> None:
        done = make_attempt(1, managed_by=self.MULTIKUEUE, ended="Complete")
        status = plan_of(make_job(LIVE), done).status
        assert (status.phase, [r.reason for r in status.history]) == ("Failed", [c.RESULT_LOST])
        assert status.failure
        assert "completed in another cluster" in status.failure.message
        assert "output.uri" in status.failure.hint

    def test_failure_elsewhere_is_retried_by_its_exit_code(self) -> None:
        text = "Container trainer for pod a/b failed with exit code 65 matching FailJob rule"
        done = make_attempt(1, managed_by=self.MULTIKUEUE, ended="Failed", message=text)
        status = plan_of(make_job(LIVE), done).status
        assert [r.reason for r in status.history] == [c.INVALID_DATA]

    def test_own_controller_of_jobs_is_no_other_cluster(self) -> None:
        own = make_attempt(1, make_pod(), managed_by="kubernetes.io/job-controller")
        assert plan_of(make_job(LIVE), own).status.failure is None


class TestHardware:
    def test_other_node_is_tried_once(self) -> None:
        first = make_attempt(1, make_ended_pod(69), ended="Failed")
        failed = plan_of(make_job(LIVE), first).status
        assert [(r.reason, r.node) for r in failed.history] == [(c.UNSUPPORTED_HARDWARE, "node-a")]
        second = plan_of(make_job(failed), first, at=10)
        assert second.actions == (CreateAttempt(2, avoid=("node-a",)),)
        again = make_attempt(2, make_ended_pod(69, node="node-b"), ended="Failed")
        status = plan_of(make_job(second.status), first, again, at=60).status
        assert status.phase == "Failed"
        assert status.failure
        assert status.failure.reason == c.UNSUPPORTED_HARDWARE


class TestNodeFault:
    @pytest.mark.parametrize(
        "pod",
        [
            make_pod("Failed", reason="UnexpectedAdmissionError", message="no healthy devices"),
            make_ended_pod(128, "driver/library version mismatch", reason="StartError"),
        ],
        ids=["rejected", "not started"],
    )
    def test_other_nodes_are_preferred_at_once_and_after_a_wait_when_it_repeats(
        self, pod: Pod
    ) -> None:
        first = make_attempt(1, pod, ended="Failed", reason="BackoffLimitExceeded")
        plan = plan_of(make_job(LIVE), first)
        assert plan.actions == (CreateAttempt(2, unpreferred=("node-a",)),)
        assert (plan.status.failures, plan.status.disruptions) == (0, 1)
        owner = {"controller": True, "kind": "Job", "uid": "attempt-2"}
        metadata = msgspec.structs.replace(
            pod.metadata, owner_references=(msgspec.convert(owner, OwnerReference),)
        )
        again = make_attempt(2, msgspec.structs.replace(pod, metadata=metadata), ended="Failed")
        repeated = plan_of(make_job(plan.status), first, again, at=1)
        assert (repeated.actions, repeated.requeue_after_seconds) == ((), 10)

    def test_cause_at_the_end_of_a_runtimes_long_message_stays_in_the_history(self) -> None:
        message = f"failed to create containerd task: {'runc: ' * 99} driver version mismatch"
        pod = make_ended_pod(128, message, reason="StartError")
        (record,) = plan_of(make_job(LIVE), make_attempt(1, pod, ended="Failed")).status.history
        assert len(record.message) <= 256
        assert record.message.startswith("The container runtime of node 'node-a'")
        assert record.message.endswith("driver version mismatch")

    def test_job_that_no_node_takes_ends(self) -> None:
        rejected = make_pod("Failed", reason="OutOfcpu", message="Node didn't have enough cpu")
        status, at = LIVE, 0.0
        for number in range(1, 10):
            attempt = make_attempt(number, rejected, ended="Failed")
            ended = plan_of(make_job(status, backoffLimit=2), attempt, at=at).status
            at += 360
            status = plan_of(make_job(ended, backoffLimit=2), at=at).status
        assert (status.phase, status.attempts, status.disruptions) == ("Failed", 8, 5)
        assert status.failure
        assert status.failure.reason == c.POD_REJECTED


class TestFinalizers:
    KEPT = ("batch.kubernetes.io/job-tracking", "example.com/eni", "example.com/backup")

    def blocked(self, plan: Plan) -> str:
        """Return the message, which is in the status and in the condition PodsReady."""
        ready = plan.status.condition(c.PODS_READY)
        assert plan.status.failure
        assert ready
        assert (ready.reason, ready.message) == (c.DELETION_BLOCKED, plan.status.failure.message)
        return plan.status.failure.message

    def test_pod_on_a_lost_node_that_somebodys_finalizers_keep_names_them(self) -> None:
        pod = make_pod(deleting=30, finalizers=self.KEPT)
        plan = plan_of(make_job(LIVE), make_attempt(1, pod), at=90)
        assert [record.reason for record in plan.status.history] == [c.DISRUPTED]
        assert "Pod pod-1" in self.blocked(plan)
        assert "'example.com/eni', 'example.com/backup'" in self.blocked(plan)
        assert "job-tracking" not in self.blocked(plan)
        still = plan_of(make_job(plan.status), make_attempt(1, pod, deleting=True), at=100)
        assert self.blocked(still) == self.blocked(plan)
        assert CreateAttempt(2) in plan_of(make_job(still.status), at=110).actions

    def test_pod_without_a_job_that_a_finalizer_keeps_names_it(self) -> None:
        pod = make_pod(deleting=30, finalizers=self.KEPT)
        plan = plan_of(make_job(make_status(attempts=1)), orphaned_pods=(pod,), at=90)
        assert "example.com/eni" in self.blocked(plan)

    @pytest.mark.parametrize("spec", [{}, {"suspend": True}], ids=["deleted", "suspended"])
    @pytest.mark.parametrize("pods", [(), (make_ended_pod(143),)], ids=["no pod", "ended pod"])
    def test_job_that_a_finalizer_keeps_names_it(
        self, spec: dict[str, Any], pods: tuple[Pod, ...]
    ) -> None:
        kept = make_attempt(1, *pods, deleting=True, finalizers=self.KEPT)
        assert "Job photos-1" in self.blocked(plan_of(make_job(LIVE, **spec), kept))

    def test_fine_tune_job_that_a_finalizer_keeps_names_it_while_it_stops(self) -> None:
        job = make_job(LIVE)
        metadata = msgspec.structs.replace(
            job.metadata, deletion_timestamp=later(0), finalizers=("backup.example.com/hold",)
        )
        deleted = msgspec.structs.replace(job, metadata=metadata)
        plan = plan_of(deleted, make_attempt(1, make_pod()))
        assert plan.actions == (DeleteAttempt("photos-1", "attempt-1"),)
        assert "FineTuneJob photos is being deleted" in self.blocked(plan)
        assert "'backup.example.com/hold'" in self.blocked(plan)

    @pytest.mark.parametrize(
        "attempt",
        [
            make_attempt(1, make_pod(), deleting=True, finalizers=KEPT),
            make_attempt(1, deleting=True, finalizers=("foregroundDeletion",)),
            make_attempt(1, make_pod(finalizers=KEPT), finalizers=KEPT),
        ],
        ids=["pod still runs", "finalizer of Kubernetes", "not deleted"],
    )
    def test_deletion_that_goes_on_is_not_blocked(self, attempt: Attempt) -> None:
        assert plan_of(make_job(LIVE), attempt).status.failure is None


class TestTimeToLive:
    DONE = make_status(phase="Complete", attempts=1, completion_time=later(0))

    @pytest.mark.parametrize(
        ("kind", "key", "tool"),
        [
            ("annotations", "argocd.argoproj.io/tracking-id", "Argo CD"),
            ("labels", "app.kubernetes.io/instance", "Argo CD"),
            ("labels", "kustomize.toolkit.fluxcd.io/name", "Flux"),
            ("annotations", "meta.helm.sh/release-name", "Helm"),
        ],
    )
    def test_job_that_a_gitops_tool_would_apply_again_loses_only_its_children(
        self, kind: str, key: str, tool: str
    ) -> None:
        job = make_job(self.DONE, ttlSecondsAfterFinished=5)
        metadata = msgspec.structs.replace(job.metadata, **{kind: {key: "x"}})
        kept = msgspec.structs.replace(job, metadata=metadata)
        done = make_attempt(1, ended="Complete")
        plan = plan_of(kept, done, at=5)
        assert plan.actions == (DeleteAttempt("photos-1", "attempt-1"),)
        assert tool in plan.note
        later_on = plan_of(kept, at=6)
        assert (later_on.actions, later_on.note, later_on.requeue_after_seconds) == ((), "", None)

    def test_other_job_is_deleted(self) -> None:
        job = make_job(self.DONE, ttlSecondsAfterFinished=5)
        assert plan_of(job, make_attempt(1, ended="Complete"), at=5).actions == (DeleteSelf(),)


class TestLostNode:
    def test_pod_is_waited_for_until_its_time_is_over(self) -> None:
        plan = plan_of(make_job(LIVE), make_attempt(1, LOST_POD), at=89)
        assert plan.actions == ()
        assert plan.requeue_after_seconds == 1

    def test_attempt_is_disrupted_and_its_job_goes_before_its_pod_is_forced(self) -> None:
        plan = plan_of(make_job(LIVE), make_attempt(1, LOST_POD), at=90)
        assert [record.reason for record in plan.status.history] == [c.DISRUPTED]
        assert plan.status.failure
        assert "node-a" in plan.status.failure.message
        assert plan.actions == GIVEN_UP

    def test_verdict_that_was_not_carried_out_is_carried_out(self) -> None:
        status = plan_of(make_job(LIVE), make_attempt(1, LOST_POD), at=90).status
        assert plan_of(make_job(status), make_attempt(1, LOST_POD), at=91).actions == GIVEN_UP

    def test_next_attempt_starts_when_the_pod_is_deleted(self) -> None:
        status = plan_of(make_job(LIVE), make_attempt(1, LOST_POD), at=90).status
        terminating = make_attempt(1, LOST_POD, deleting=True)
        plan = plan_of(make_job(status), terminating, at=91)
        assert plan.actions == (ForceDeletePod("pod-1", "pod-1"),)
        assert plan_of(make_job(status), at=92).actions == (CreateAttempt(2),)

    def test_pod_of_a_finished_job_is_forced_too(self) -> None:
        failed = make_status(phase="Failed", attempts=1)
        plan = plan_of(make_job(failed), make_attempt(1, LOST_POD, deleting=True), at=90)
        assert plan.actions == (ForceDeletePod("pod-1", "pod-1"),)

    def test_suspended_job_on_a_lost_node_is_suspended(self) -> None:
        job, terminating = make_job(LIVE, suspend=True), make_attempt(1, LOST_POD, deleting=True)
        plan = plan_of(job, terminating, at=90)
        assert (plan.status.history, plan.actions) == ((), (ForceDeletePod("pod-1", "pod-1"),))
        done = plan_of(make_job(plan.status, suspend=True), at=91).status
        assert [record.reason for record in done.history] == [c.SUSPENDED]

    def test_pod_without_a_job_is_forced(self) -> None:
        plan = plan_of(make_job(make_status(attempts=1)), orphaned_pods=(LOST_POD,), at=90)
        assert plan.actions == (ForceDeletePod("pod-1", "pod-1"),)
