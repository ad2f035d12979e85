"""A stale cache leads to no decision that is final: reconcile reads from the API server first."""

from typing import Any

import msgspec
import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Condition, Pod
from finetune_operator.reconcile import Reconciler

from tests.support.builders import (
    UID,
    later,
    make_attempt,
    make_ended_attempt,
    make_ended_pod,
    make_history,
    make_job,
    make_pod,
    make_status,
    result_message,
)
from tests.support.scripted_cluster import KEY, ScriptedCluster
from tests.support.world import condition


async def test_pods_of_an_attempt_that_ended_with_a_result_are_not_listed(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    attempt = make_ended_attempt(1, 0, result_message())
    cluster.put(make_job(make_status(attempt=1)))
    cluster.cache.observe_attempt(attempt.job)
    cluster.cache.observe_pod(attempt.pods[0])
    await reconcile(KEY)
    assert "GET pods" not in cluster.calls()
    assert cluster.status["phase"] == "Complete"


async def test_pod_that_a_queue_took_back_is_not_judged_while_the_one_with_the_result_is_unseen(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    cluster.cache.observe_attempt(make_attempt(1, ended="Complete").job)
    cluster.cache.observe_pod(make_ended_pod(143))
    result = make_ended_pod(0, result_message(), uid="pod-2")
    cluster.pods = [msgspec.to_builtins(result)]
    assert await reconcile(KEY) == 1
    assert "history" not in cluster.status


async def test_attempt_that_the_watch_has_not_shown_is_not_taken_for_deleted(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    owner = {"kind": c.KIND, "uid": UID, "controller": True}
    metadata = {"name": "photos-1", "uid": "attempt-1", "ownerReferences": [owner]}
    cluster.jobs["photos-1"] = {"metadata": metadata}
    assert await reconcile(KEY) == 1
    assert cluster.calls() == ["GET photos", "GET photos-1"]


@pytest.mark.parametrize("name", ["photos-1", "photos-1-prepare"])
async def test_suspended_job_is_not_said_to_be_while_a_creation_that_was_not_answered_runs(
    cluster: ScriptedCluster, reconcile: Reconciler, name: str
) -> None:
    cluster.put(make_job(suspend=True))
    owner = {"kind": c.KIND, "uid": UID, "controller": True}
    metadata = {"name": name, "uid": "attempt-1", "ownerReferences": [owner]}
    cluster.jobs[name] = {"metadata": metadata}
    assert await reconcile(KEY) == 1
    assert not cluster.status
    cluster.jobs.clear()
    await reconcile(KEY)
    assert condition(cluster.status, "Suspended")["status"] == "True"


async def test_end_of_an_unwritten_preparation_waits_for_its_pods_termination_message(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(workspace={"claimName": "work"}))
    cluster.cache.observe_attempt(make_attempt(1, prepare=True, ended="Complete").job)
    cluster.pods = [msgspec.to_builtins(make_pod("Succeeded"))]
    assert await reconcile(KEY) == 1
    assert not cluster.status


@pytest.mark.parametrize(
    "deletion", [None, "2026-11-24T08:00:00Z"], ids=["not found", "terminating"]
)
async def test_attempt_deleted_for_a_suspension_is_not_taken_for_spared_by_a_resume(
    cluster: ScriptedCluster, reconcile: Reconciler, deletion: str | None
) -> None:
    suspending = Condition(type=c.SUSPENDED, status="False", reason="Suspending")
    cluster.put(make_job(make_status(attempt=1, conditions=(suspending,))))
    cluster.cache.observe_attempt(make_attempt(1).job)
    if deletion:
        owner = {"kind": c.KIND, "uid": UID, "controller": True}
        metadata = {"name": "photos-1", "uid": "attempt-1", "ownerReferences": [owner]}
        cluster.jobs["photos-1"] = {"metadata": {**metadata, "deletionTimestamp": deletion}}
    assert await reconcile(KEY) == 1
    assert condition(cluster.status, "Suspended")["reason"] == "Suspending"


@pytest.mark.parametrize("uid", ["", "another"], ids=["nothing", "a stranger"])
async def test_attempt_whose_name_now_has(
    cluster: ScriptedCluster, reconcile: Reconciler, uid: str
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    if uid:
        owner = {"kind": c.KIND, "uid": uid, "controller": True}
        cluster.jobs["photos-1"] = {"metadata": {"name": "photos-1", "ownerReferences": [owner]}}
    await reconcile(KEY)
    assert cluster.status["history"][0]["reason"] == c.JOB_DELETED


async def test_job_that_ended_is_not_judged_before_its_pod_is_seen(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    cluster.cache.observe_attempt(make_attempt(1, ended="Complete").job)
    cluster.pods = [msgspec.to_builtins(make_pod())]
    assert await reconcile(KEY) == 1
    assert "history" not in cluster.status
    cluster.pods = []
    await reconcile(KEY)
    assert cluster.status["history"][0]["reason"] == c.RESULT_LOST


async def test_job_that_was_deleted_is_not_judged_before_its_pods_are_seen(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    ended = make_ended_pod(0, result_message("0.9"))
    cluster.cache.observe_pod(make_pod())  # without its end
    ended = msgspec.structs.replace(
        ended, metadata=msgspec.structs.replace(ended.metadata, resource_version="9")
    )
    cluster.pods = [msgspec.to_builtins(ended)]
    assert await reconcile(KEY) == 1
    assert "history" not in cluster.status
    cluster.cache.observe_pod(ended)
    await reconcile(KEY)
    assert cluster.status["accuracy"] == "0.9"


@pytest.mark.parametrize(
    "spec", [{"suspend": True}, {"activeDeadlineSeconds": 60}], ids=["suspended", "out of time"]
)
async def test_attempt_is_not_stopped_before_the_result_that_it_just_left_is_seen(
    cluster: ScriptedCluster, reconcile: Reconciler, spec: dict[str, Any]
) -> None:
    cluster.put(make_job(make_status(attempt=1, active_since=later(0)), **spec))
    cluster.cache.observe_attempt(make_attempt(1).job)
    cluster.cache.observe_pod(make_pod())
    ended = make_ended_pod(0, result_message("0.9"))
    ended = msgspec.structs.replace(
        ended, metadata=msgspec.structs.replace(ended.metadata, resource_version="9")
    )
    cluster.pods = [msgspec.to_builtins(ended)]
    cluster.now = 60
    assert await reconcile(KEY) == 1
    assert "DELETE photos-1" not in cluster.calls()
    cluster.cache.observe_pod(ended)
    await reconcile(KEY)
    assert cluster.status["accuracy"] == "0.9"


async def test_ended_attempt_is_not_deleted_before_the_end_of_its_pod_is_seen(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempts=1, failures=1, history=make_history("Crashed"))))
    cluster.cache.observe_attempt(make_attempt(1).job)
    cluster.cache.observe_pod(make_pod())  # without its end
    ended = make_ended_pod(139)
    ended = msgspec.structs.replace(
        ended, metadata=msgspec.structs.replace(ended.metadata, resource_version="9")
    )
    cluster.pods = [msgspec.to_builtins(ended)]
    cluster.now = 6
    assert await reconcile(KEY) == 1
    cluster.cache.observe_pod(ended)
    await reconcile(KEY)
    assert "DELETE photos-1" not in cluster.calls()


@pytest.mark.parametrize("attempt", [1, 0], ids=["written down", "to be adopted"])
async def test_attempt_that_seems_not_to_start_is_not_given_up_before_its_pod_is_seen(
    cluster: ScriptedCluster, reconcile: Reconciler, attempt: int
) -> None:
    cluster.put(make_job(make_status(attempt=attempt), startupDeadlineSeconds=60))
    cluster.cache.observe_attempt(make_attempt(1).job)
    cluster.pods = [msgspec.to_builtins(make_pod())]
    cluster.now = 60
    assert await reconcile(KEY) == 1
    assert "DELETE photos-1" not in cluster.calls()
    cluster.cache.observe_pod(make_pod())
    await reconcile(KEY)
    assert condition(cluster.status, c.PODS_READY)["status"] == "True"


def unseen(pod: Pod) -> dict[str, Any]:
    """A pod that the API server lists, and no watch reports."""
    body: dict[str, Any] = msgspec.to_builtins(pod)
    return body


async def test_end_of_a_pod_that_the_watch_never_shows_is_taken_from_a_list(
    cluster: ScriptedCluster, reconcile: Reconciler, caplog: pytest.LogCaptureFixture
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    ended = make_attempt(1, ended="Complete").job
    cluster.cache.observe_attempt(ended)
    cluster.jobs["photos-1"] = msgspec.to_builtins(ended)
    cluster.pods = [unseen(make_ended_pod(0, result_message("0.9")))]
    for cluster.now in (0, 5, 9):
        assert await reconcile(KEY) == 1
    assert not caplog.messages
    cluster.now = 10
    await reconcile(KEY)
    assert cluster.status["accuracy"] == "0.9"
    assert "team/photos: the watches have missed" in caplog.text
    assert reconcile.metrics.registry.get_sample_value("finetune_operator_stale_cache_total") == 1


async def test_result_that_the_watch_never_shows_of_a_deleted_job_is_taken_from_a_list(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    cluster.pods = [unseen(make_ended_pod(0, result_message("0.9")))]
    for cluster.now in (0, 9):
        assert await reconcile(KEY) == 1
    cluster.now = 10
    await reconcile(KEY)
    assert cluster.status["accuracy"] == "0.9"


async def test_start_of_a_pod_that_the_watch_never_shows_is_taken_from_a_list(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    job = make_attempt(1).job
    active = msgspec.structs.replace(job, status=msgspec.structs.replace(job.status, active=1))
    cluster.cache.observe_attempt(active)
    cluster.jobs["photos-1"] = msgspec.to_builtins(active)
    cluster.pods = [unseen(make_pod())]
    await reconcile(KEY)
    for cluster.now in (10, 30):
        assert await reconcile(KEY) == 5
        assert condition(cluster.status, c.PODS_READY)["status"] == "True"


@pytest.mark.parametrize("labels", [make_attempt(1).job.metadata.labels, {}])
async def test_job_that_the_watch_never_shows_is_followed_by_its_name(
    cluster: ScriptedCluster, reconcile: Reconciler, labels: dict[str, str]
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    job = make_attempt(1).job
    metadata = msgspec.structs.replace(job.metadata, labels=labels)
    cluster.jobs["photos-1"] = msgspec.to_builtins(msgspec.structs.replace(job, metadata=metadata))
    cluster.pods = [unseen(make_pod())]
    await reconcile(KEY)
    cluster.now = 10
    await reconcile(KEY)
    assert cluster.status["currentAttempt"]["jobName"] == "photos-1"
    assert condition(cluster.status, c.PODS_READY)["status"] == "True"


async def test_cache_that_catches_up_has_all_its_time_again(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    cluster.cache.observe_attempt(make_attempt(1, ended="Failed").job)
    pod = make_pod()
    cluster.pods = [unseen(pod)]
    assert await reconcile(KEY) == 1
    cluster.cache.observe_pod(pod)
    cluster.now = 10
    await reconcile(KEY)
    cluster.cache.observe_pod(pod, deleted=True)
    assert await reconcile(KEY) == 1


async def test_next_attempt_waits_for_a_pod_that_the_watch_has_not_shown(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    cluster.pods = [msgspec.to_builtins(make_pod())]
    assert await reconcile(KEY) == 1
    assert cluster.jobs == {}
    ended = make_ended_pod(143)
    cluster.pods = [msgspec.to_builtins(ended)]
    assert await reconcile(KEY) == 1
    assert cluster.jobs == {}
    cluster.cache.observe_pod(ended)
    await reconcile(KEY)
    assert list(cluster.jobs) == ["photos-2"]
