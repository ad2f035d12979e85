"""One pass against an HTTP server in the API server's place: order of calls, refusals, races."""

import copy
import dataclasses
import datetime
import time
from email.utils import formatdate
from typing import Any

import msgspec
import pytest
from aiohttp import web
from finetune_operator.api import constants as c
from finetune_operator.api.types import CheckpointStatus, CurrentAttempt
from finetune_operator.kube.client import ApiError, Conflict, Forbidden, Invalid, Unavailable
from finetune_operator.kube.workqueue import WorkQueue
from finetune_operator.metrics import Metrics
from finetune_operator.observe.cache import Key
from finetune_operator.observe.kopf_watch import handler
from finetune_operator.reconcile import Reconciler
from finetune_operator.settings import Settings

from tests.support.api_server import Answer, ApiServer, Body, serving
from tests.support.builders import (
    NAMESPACE,
    UID,
    later,
    make_attempt,
    make_ended_attempt,
    make_ended_pod,
    make_event,
    make_history,
    make_job,
    make_kept_pod,
    make_pod,
    make_status,
    make_workload,
    result_message,
    without_owner,
)
from tests.support.scripted_cluster import KEY, ScriptedCluster
from tests.support.world import condition


async def test_new_job_gets_its_attempt_and_then_one_status_and_events(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    await reconcile(KEY)
    assert cluster.calls() == ["GET photos", "POST jobs", "PATCH status"]
    assert cluster.status["attempts"] == 1
    assert cluster.status["image"] == "trainer:gpu"
    assert cluster.cache.jobs[KEY].phase == "Starting"


async def test_pass_that_finds_nothing_new_sends_nothing(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    await reconcile(KEY)
    before = len(cluster.calls())
    await reconcile(KEY)
    assert cluster.calls()[before:] == []


@pytest.mark.parametrize("live", [True, False])
async def test_first_attempt_is_created_without_a_read_while_the_watch_is_live(
    cluster: ScriptedCluster, reconcile: Reconciler, live: bool
) -> None:
    cluster.watch()
    await dataclasses.replace(reconcile, watch_is_live=lambda: live)(KEY)
    assert ("GET photos" in cluster.calls()) is not live
    assert list(cluster.jobs) == ["photos-1"]


async def test_attempt_after_the_first_is_not_created_on_what_a_stale_watch_says(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    failed = make_status(attempts=1, history=make_history(c.TEMPORARY_FAILURE))
    cluster.put(make_job(failed))
    cluster.watch()
    cluster.edit(suspend=True)
    cluster.now = 3600
    await dataclasses.replace(reconcile, watch_is_live=lambda: True)(KEY)
    assert cluster.jobs == {}
    assert cluster.status["phase"] == "Suspended"


async def test_nothing_is_deleted_on_what_a_stale_watch_says(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1, phase="Suspended"), suspend=True))
    cluster.cache.observe_attempt(make_attempt(1).job)
    cluster.cache.observe_pod(make_pod())
    cluster.pods = [msgspec.to_builtins(make_pod())]
    cluster.watch()
    cluster.edit(suspend=False)
    await reconcile(KEY)
    assert not [call for call in cluster.calls() if call.startswith("DELETE")]


async def test_status_of_a_version_that_is_stale_is_refused_and_the_next_pass_reads(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    cluster.cache.observe_attempt(make_attempt(1).job)
    cluster.cache.observe_pod(make_pod())
    cluster.watch()
    cluster.edit()
    with pytest.raises(Conflict):
        await reconcile(KEY)
    await reconcile(KEY)
    assert cluster.calls() == ["PATCH status", "GET photos", "PATCH status"]


async def test_version_that_a_pass_has_read_or_written_is_known(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    await reconcile(KEY)
    assert cluster.cache.reconciled == {KEY: "8"}
    await reconcile(KEY)
    assert cluster.cache.reconciled == {KEY: "8"}
    cluster.body = None
    cluster.watch()
    await reconcile(KEY)
    assert cluster.cache.reconciled == {}


@pytest.mark.parametrize(("reported", "again"), [("8", None), ("9", 0), ("", None)])
async def test_event_that_overtakes_the_answer_to_a_write_is_known_as_its_echo(
    cluster: ScriptedCluster, reconcile: Reconciler, reported: str, again: float | None
) -> None:
    queue: WorkQueue[Key] = WorkQueue()
    handle = handler(cluster.cache, queue, lambda *event, **_: None)
    metadata = {"namespace": KEY[0], "name": KEY[1], "uid": UID, "resourceVersion": reported}
    if reported:
        event = msgspec.to_builtins(make_job()) | {"metadata": metadata}
        cluster.before_write = lambda: handle(event, deleted=False)
    assert await reconcile(KEY) == again
    assert len(queue) == 0
    assert cluster.cache.writing == {}


@pytest.mark.parametrize(
    ("section", "field", "value", "named"),
    [
        ("spec", "trainer", {"gpuClass": "new"}, "gpuClass"),
        ("spec", "backoffLimit", "three", "backoffLimit"),
        ("spec", "workspace", {"reclaimPolicy": "Archive", "size": "1Gi"}, "Archive"),
        ("status", "attempts", "three", "attempts"),
        ("status", "conditions", {}, "conditions"),
    ],
)
async def test_job_that_cannot_be_decoded_is_reported_once_and_left_alone(
    cluster: ScriptedCluster,
    reconcile: Reconciler,
    caplog: pytest.LogCaptureFixture,
    section: str,
    field: str,
    value: object,
    named: str,
) -> None:
    assert cluster.body
    right = copy.deepcopy(cluster.body)
    cluster.body.setdefault(section, {})[field] = value
    for _ in range(3):
        assert await reconcile(KEY) is None
    assert set(cluster.calls()) == {"GET photos", "POST events"}
    (event,) = (body for body in cluster.server.bodies if body)
    assert (event["type"], event["reason"]) == ("Warning", "Unreadable")
    assert named in event["note"]
    assert [record.getMessage() for record in caplog.records if named in record.getMessage()]
    assert list(cluster.cache.unreadable) == [KEY]
    cluster.body = right  # corrected
    await reconcile(KEY)
    assert cluster.cache.unreadable == {}
    assert cluster.status["attempts"] == 1


async def test_job_with_a_phase_of_a_newer_operator_goes_on(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1, phase="Evaluating")))
    cluster.cache.observe_attempt(make_attempt(1).job)
    cluster.cache.observe_pod(make_pod())
    await reconcile(KEY)
    assert cluster.status["phase"] == "Starting"
    assert cluster.status["attempts"] == 1


async def test_end_that_only_a_newer_operator_knows_is_an_end(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(phase="Cancelled", completion_time=later(0))))
    await reconcile(KEY)
    assert cluster.jobs == {}
    assert cluster.status["phase"] == "Cancelled"


async def test_job_that_is_deleted_or_terminating_keeps_its_children(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    assert cluster.body
    cluster.body["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    assert await reconcile(KEY) is None
    cluster.body = None
    cluster.watch()
    assert await reconcile(KEY) is None
    assert cluster.calls() == ["GET photos"] * 2
    assert cluster.cache.jobs == {}


@pytest.mark.parametrize("cache_is_lost", [False, True], ids=["conflict", "crash"])
async def test_attempt_whose_status_was_not_written_is_adopted_and_not_created_again(
    cluster: ScriptedCluster, reconcile: Reconciler, cache_is_lost: bool
) -> None:
    cluster.fail = {"PATCH status": 409}
    with pytest.raises(Conflict):
        await reconcile(KEY)
    cluster.fail = {}
    if cache_is_lost:  # its informer has not seen the Job yet
        cluster.cache._attempts.clear()
    await reconcile(KEY)
    assert list(cluster.jobs) == ["photos-1"]
    assert cluster.status["attempts"] == 1
    assert cluster.status["currentAttempt"]["jobName"] == "photos-1"


async def test_verdict_is_written_before_the_pod_is_ended_and_outlives_a_failed_delete(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1), startupDeadlineSeconds=60))
    cluster.cache.observe_attempt(make_attempt(1).job)
    cluster.now = 60
    cluster.fail = {"DELETE photos-1": 403}
    with pytest.raises(Forbidden):
        await reconcile(KEY)
    assert cluster.status["phase"] == "Failed"
    cluster.fail = {}
    await reconcile(KEY)
    assert cluster.calls()[-1] == "DELETE photos-1"


async def test_finished_job_deletes_itself_when_its_time_is_over(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    status = make_status(phase="Complete", completion_time=later(0))
    cluster.put(make_job(status, ttlSecondsAfterFinished=10))
    assert await reconcile(KEY) == 10
    cluster.now = 10
    await reconcile(KEY)
    assert cluster.calls()[-1] == "DELETE photos"
    assert cluster.server.bodies[-1]["preconditions"] == {"uid": UID}


RESTORED: dict[str, Any] = {
    "observed_uid": "earlier",
    "attempts": 2,
    "failures": 1,
    "checkpoint": CheckpointStatus(epoch=7),
    "current_attempt": CurrentAttempt(number=2, job_name="photos-2"),
    "history": make_history(c.TEMPORARY_FAILURE),
}


@pytest.mark.parametrize("ended", [{}, {"phase": "Complete", "accuracy": "0.9"}])
async def test_status_restored_from_a_backup_of_an_earlier_job_never_wins_over_a_live_attempt(
    cluster: ScriptedCluster, reconcile: Reconciler, ended: dict[str, Any]
) -> None:
    cluster.put(make_job(make_status(**RESTORED, **ended)))
    cluster.cache.observe_attempt(make_attempt(1).job)
    cluster.cache.observe_pod(make_pod())
    await reconcile(KEY)
    status = cluster.status
    assert (status["attempts"], status["currentAttempt"]["jobName"]) == (1, "photos-1")
    assert (status["observedUid"], status["phase"]) == (UID, "Starting")
    assert status.keys().isdisjoint({"checkpoint", "history", "failures", "accuracy"})
    assert not [call for call in cluster.calls() if call.startswith("DELETE")]


async def test_job_with_the_status_of_an_earlier_one_starts_over(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(**RESTORED)))
    await reconcile(KEY)
    assert list(cluster.jobs) == ["photos-1"]
    assert "checkpoint" not in cluster.status


async def test_finished_job_that_is_restored_with_its_status_is_not_trained_again(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    ended = {"phase": "Complete", "accuracy": "0.9", "current_attempt": None}
    cluster.put(make_job(make_status(**{**RESTORED, **ended})))
    await reconcile(KEY)
    assert cluster.jobs == {}
    assert cluster.status["accuracy"] == "0.9"


async def test_older_status_of_the_job_itself_never_wins_over_a_live_attempt(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    pod = make_pod(owner="attempt-3")
    cluster.cache.observe_attempt(make_attempt(3).job)
    cluster.cache.observe_pod(pod)
    cluster.pods = [msgspec.to_builtins(pod)]
    for _ in range(2):
        await reconcile(KEY)
    assert cluster.status["currentAttempt"]["jobName"] == "photos-3"
    assert not [call for call in cluster.calls() if call.startswith("DELETE")]


async def test_pod_that_runs_without_any_owner_is_ended_with_its_grace_period(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    pod = without_owner(make_pod())
    cluster.cache.observe_pod(pod)
    cluster.pods = [msgspec.to_builtins(pod)]
    await reconcile(KEY)
    assert cluster.calls()[-1] == "DELETE pod-1"
    assert "gracePeriodSeconds" not in cluster.server.bodies[-1]
    assert "pod pod-1" in condition(cluster.status, c.PODS_READY)["message"]


async def test_event_that_is_lost_is_no_reason_to_fail(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.fail = {"POST events": 403}
    await reconcile(KEY)
    assert cluster.status["phase"] == "Starting"


async def test_child_that_is_stuck_is_looked_up_in_the_events_and_one_in_a_queue_more_seldom(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    cluster.cache.observe_attempt(make_attempt(1).job)
    cluster.cache.observe_pod(make_pod("Pending"))
    assert await reconcile(KEY) == 15
    assert "GET events" not in cluster.calls()
    cluster.now = 15
    assert await reconcile(KEY) == 5
    assert "GET events" in cluster.calls()
    cluster.cache.observe_attempt(make_attempt(1, suspended=True).job)
    assert await reconcile(KEY) == 60


async def test_job_without_a_pod_is_soon_looked_up_in_the_events(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    cluster.cache.observe_attempt(make_attempt(1).job)
    assert await reconcile(KEY) == 3
    assert "GET events" not in cluster.calls()
    cluster.now = 3
    assert await reconcile(KEY) == 5
    assert "GET events" in cluster.calls()


async def test_job_that_is_deleted_but_kept_by_a_finalizer_stops_and_its_result_is_taken(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1, phase="Training")))
    assert cluster.body
    cluster.body["metadata"] |= {
        "deletionTimestamp": "2026-01-01T12:00:00Z",
        "finalizers": ["backup.example.com/hold"],
    }
    cluster.cache.observe_attempt(make_attempt(1).job)
    cluster.cache.observe_pod(make_pod())
    cluster.pods = [msgspec.to_builtins(make_pod())]
    await reconcile(KEY)
    assert cluster.calls()[-1] == "DELETE photos-1"
    cluster.cache.observe_attempt(make_attempt(1, deleting=True).job)
    cluster.cache.observe_pod(make_ended_pod(0, result_message("0.9"), deleting=60))
    await reconcile(KEY)
    assert (cluster.status["phase"], cluster.status["accuracy"]) == ("Complete", "0.9")
    assert cluster.jobs == {}


async def test_result_of_a_pod_that_was_deleted_with_its_job_completes_the_job(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1, phase="Training")))
    job, ended = make_attempt(1, ended="Complete").job, make_ended_pod(0, result_message("0.9"))
    cluster.cache.observe_attempt(job)
    cluster.cache.observe_pod(make_pod())
    await reconcile(KEY)
    cluster.cache.observe_pod(ended, deleted=True)
    cluster.cache.observe_attempt(job, deleted=True)
    await reconcile(KEY)
    assert (cluster.status["phase"], cluster.status["accuracy"]) == ("Complete", "0.9")
    assert "POST jobs" not in cluster.calls()


async def test_container_that_runs_on_after_the_trainer_is_named_in_an_event(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    cluster.cache.observe_attempt(make_attempt(1).job)
    pod = make_kept_pod(0, result_message("0.9"))
    cluster.cache.observe_pod(pod)
    cluster.pods = [msgspec.to_builtins(pod)]
    assert await reconcile(KEY) == 5
    assert cluster.status["phase"] == "Complete"
    cluster.now = 5
    await reconcile(KEY)
    assert cluster.calls()[-2:] == ["DELETE photos-1", "POST events"]
    event = cluster.server.bodies[-1]
    assert (event["reason"], "proxy" in event["note"]) == (c.CONTAINER_RUNS_ON, True)


async def test_newest_event_is_found_on_whatever_page_it_is(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    cluster.cache.observe_attempt(make_attempt(1).job)
    cluster.now = 15
    cluster.events = [
        [make_event("FailedCreate", "old", at=1)],
        [make_event("FailedCreate", "new", at=3)],
        [make_event("FailedCreate", "older", at=2)],
    ]
    await reconcile(KEY)
    assert cluster.status["failure"]["message"] == "new"


async def test_cause_that_the_queue_gives_is_written_and_no_events_are_read(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    cluster.cache.observe_attempt(make_attempt(1, suspended=True).job)
    cluster.cache.workloads["attempt-1"] = make_workload("Pending", "1 more needed")
    cluster.now = 60
    assert await reconcile(KEY) is None
    assert "GET events" not in cluster.calls()
    ready = condition(cluster.status, c.PODS_READY)
    assert ready["message"] == "Pending: 1 more needed"


async def test_changed_queue_is_set_on_the_job_with_this_uid(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    assert cluster.body
    labels = {"kueue.x-k8s.io/queue-name": "team"}
    cluster.body["metadata"]["labels"] = labels
    cluster.jobs["photos-1"] = {"metadata": {"name": "photos-1", "uid": "attempt-1"}}
    cluster.cache.observe_attempt(make_attempt(1, suspended=True, queue="tema").job)
    await reconcile(KEY)
    patch = [body for body in cluster.server.bodies if "metadata" in body][-1]
    assert "PATCH photos-1" in cluster.calls()
    assert patch == {"metadata": {"uid": "attempt-1", "labels": labels}}


@pytest.mark.parametrize("status", [403, 422, 500], ids=["policy", "rule", "webhook is down"])
async def test_status_that_is_refused_is_told_by_one_event_and_creates_no_second_attempt(
    cluster: ScriptedCluster, reconcile: Reconciler, status: int
) -> None:
    cluster.fail = {"PATCH status": status}
    for _ in range(3):
        with pytest.raises(ApiError):
            await reconcile(KEY)
    assert list(cluster.jobs) == ["photos-1"]
    notes = [body for body in cluster.server.bodies if body.get("kind") == "Event"]
    assert [note["reason"] for note in notes] == [c.WRITE_REFUSED]
    assert "PATCH status is refused" in notes[0]["note"]
    cluster.fail = {}
    await reconcile(KEY)
    assert cluster.status["attempts"] == 1
    assert cluster.cache.refusals == {}


async def test_status_that_a_busy_server_does_not_take_is_no_refusal(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.fail = {"PATCH status": 503}
    with pytest.raises(ApiError):
        await reconcile(KEY)
    assert "POST events" not in cluster.calls()


@pytest.mark.parametrize(
    ("ahead", "deadline", "phase"),
    [
        pytest.param(-180, 200, "Starting", id="this machine is ahead: not too early"),
        pytest.param(180, 60, "Failed", id="this machine is behind: not too late"),
    ],
)
async def test_deadline_is_kept_by_the_clock_of_the_api_server(
    cluster: ScriptedCluster, ahead: float, deadline: int, phase: str
) -> None:
    server_time = time.time() + ahead

    def answer(request: web.Request, body: Body) -> Answer:
        found = cluster.answer(request, body)
        found.headers["Date"] = formatdate(server_time, usegmt=True)
        return found

    started = datetime.datetime.fromtimestamp(server_time - 100, datetime.UTC)
    cluster.put(make_job(make_status(attempt=1), startupDeadlineSeconds=deadline))
    cluster.cache.observe_attempt(make_attempt(1, started=started).job)
    async with serving(ApiServer(answer)) as client:
        metrics = Metrics(cluster.cache)
        reconcile = Reconciler(client, cluster.cache, metrics, Settings(), clock=client.clock.now)
        await reconcile(KEY)
    assert cluster.status["phase"] == phase
    if phase == "Failed":
        ended = datetime.datetime.fromisoformat(cluster.status["completionTime"])
        assert abs(ended.timestamp() - server_time) < 30


async def test_image_of_ours_keeps_its_placement_after_an_operator_upgrade(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    status = make_status(attempts=1, image="trainer:gpu-of-last-year")
    cluster.put(make_job(status))
    await reconcile(KEY)
    pod: dict[str, Any] = cluster.jobs["photos-2"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["image"] == "trainer:gpu-of-last-year"
    assert "nodeAffinity" in pod["affinity"]


async def test_pod_on_a_lost_node_is_forced_after_its_job_was_deleted(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    pod = make_pod(deleting=0)
    cluster.cache.observe_attempt(make_attempt(1).job)
    cluster.cache.observe_pod(pod)
    cluster.pods = [msgspec.to_builtins(pod)]
    cluster.now = 60
    await reconcile(KEY)
    assert [ended["reason"] for ended in cluster.status["history"]] == [c.DISRUPTED]
    deletions = [call for call in cluster.calls() if call.startswith("DELETE")]
    assert deletions == ["DELETE photos-1", "DELETE pod-1"]
    assert cluster.server.bodies[-1]["gracePeriodSeconds"] == 0


async def test_end_of_the_time_to_live_of_a_job_that_is_kept_is_reported_once(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    done = make_status(phase="Complete", attempts=1, completion_time=later(0))
    job = make_job(done, ttlSecondsAfterFinished=5)
    labels = {"kustomize.toolkit.fluxcd.io/name": "team"}
    metadata = msgspec.structs.replace(job.metadata, labels=labels)
    cluster.put(msgspec.structs.replace(job, metadata=metadata))
    ended = make_attempt(1, ended="Complete").job
    cluster.cache.observe_attempt(ended)
    cluster.now = 5
    await reconcile(KEY)
    assert cluster.calls()[-2:] == ["DELETE photos-1", "POST events"]
    assert "Flux" in cluster.server.bodies[-1]["note"]
    cluster.cache.observe_attempt(ended, deleted=True)
    await reconcile(KEY)
    assert cluster.calls().count("POST events") == 1


@pytest.mark.parametrize("field", ["trainerStatus", "dataset", "checkpoint"])
async def test_status_that_is_refused_is_written_without_the_figure_that_is_not_valid(
    cluster: ScriptedCluster, reconcile: Reconciler, field: str
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    attempt = make_ended_attempt(
        1, 0, result_message("0.9", dataset={"classes": 3}, checkpoint={"epoch": 2})
    )
    cluster.cache.observe_attempt(attempt.job)
    cluster.cache.observe_pod(attempt.pods[0])
    cluster.pods = [msgspec.to_builtins(attempt.pods[0])]
    cluster.invalid = {field}
    await reconcile(KEY)
    assert (cluster.status["phase"], cluster.status["accuracy"]) == ("Complete", "0.9")
    assert {"trainerStatus", "dataset", "checkpoint"} - cluster.status.keys() == {field}
    before = len(cluster.calls())
    await reconcile(KEY)
    assert cluster.calls()[before:] == []


async def test_status_whose_essential_part_is_refused_is_tried_again(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.invalid = {"phase"}
    with pytest.raises(Invalid):
        await reconcile(KEY)
    cluster.invalid = set()
    await reconcile(KEY)
    assert cluster.status["phase"] == "Starting"


async def test_data_set_is_prepared_with_the_image_for_pods_without_gpus(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(workspace={"claimName": "work"}))
    await reconcile(KEY)
    (job,) = cluster.jobs.values()
    assert job["metadata"]["name"] == "photos-1-prepare"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "trainer:cpu"
    assert cluster.status["image"] == "trainer:gpu"


def completed(metrics: Metrics) -> float:
    labels = {"namespace": NAMESPACE}
    return metrics.registry.get_sample_value("finetune_jobs_completed_total", labels) or 0


async def test_end_is_counted_by_the_process_that_wrote_it_and_once(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1, phase="Training")))
    ended = make_ended_attempt(1, 0, result_message())
    cluster.cache.observe_attempt(ended.job)
    cluster.cache.observe_pod(ended.pods[0])
    cluster.pods = [msgspec.to_builtins(ended.pods[0])]
    cluster.fail["PATCH status"] = 500
    with pytest.raises(Unavailable):
        await reconcile(KEY)
    assert completed(reconcile.metrics) == 0
    cluster.fail.clear()
    await reconcile(KEY)
    assert cluster.status["phase"] == "Complete"
    await reconcile(KEY)
    assert completed(reconcile.metrics) == 1
    restarted = dataclasses.replace(reconcile, metrics=Metrics(cluster.cache))
    await restarted(KEY)
    assert completed(restarted.metrics) == 0
