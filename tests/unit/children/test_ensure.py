"""A child that is refused, or whose name is taken, blocks its attempt."""

import msgspec
import pytest
from finetune_operator.api import constants as c
from finetune_operator.children.ensure import not_created
from finetune_operator.kube.client import Unavailable
from finetune_operator.reconcile import Reconciler

from tests.support.api_server import Body
from tests.support.builders import (
    NOW,
    make_ended_attempt,
    make_history,
    make_job,
    make_status,
    without_owner,
)
from tests.support.scripted_cluster import KEY, ScriptedCluster, failure
from tests.support.world import condition

DENIED = 'admission webhook "policy.test" denied the request: no team'


@pytest.mark.parametrize(
    ("status", "answer", "retry"),
    [
        pytest.param(403, {"message": "exceeded quota: gpus"}, 15, id="quota"),
        pytest.param(422, {"message": DENIED, "reason": "Invalid"}, 15, id="policy by 422"),
        pytest.param(404, {"message": DENIED}, 15, id="policy by 404"),
        pytest.param(409, {"message": DENIED}, 15, id="policy by 409"),
        pytest.param(422, {"message": "x", "reason": "Injected"}, 15, id="not the API server"),
        pytest.param(500, {"message": "failed calling webhook"}, 5, id="webhook is down"),
        pytest.param(504, {"message": "timed out"}, 5, id="time-out"),
        pytest.param(401, {"message": "Unauthorized"}, 5, id="token"),
    ],
)
async def test_attempt_that_is_refused_was_not_started_and_is_tried_again(
    cluster: ScriptedCluster, reconcile: Reconciler, status: int, answer: Body, retry: float
) -> None:
    cluster.fail, cluster.words = {"POST jobs": status}, answer
    for _ in range(2):
        assert await reconcile(KEY) == retry
        assert "attempts" not in cluster.status
        assert "currentAttempt" not in cluster.status
        assert (cluster.status["phase"], failure(cluster)) == ("Pending", c.CREATE_REFUSED)
        assert answer["message"] in cluster.status["failure"]["message"]
        ready = condition(cluster.status, c.PODS_READY)
        assert ready["status"] == "False"
        assert (ready["reason"], ready["message"]) == (
            c.CREATE_REFUSED,
            cluster.status["failure"]["message"],
        )
    assert cluster.calls().count("PATCH status") == 1
    warnings = [body for body in cluster.server.bodies if body.get("type") == "Warning"]
    assert [warning["reason"] for warning in warnings] == [c.CREATE_REFUSED]
    cluster.fail = {}
    await reconcile(KEY)
    assert cluster.status["attempts"] == 1
    assert "refusedSince" not in cluster.status
    assert "failure" not in cluster.status
    assert condition(cluster.status, c.PODS_READY)["reason"] == c.STARTING


def test_busy_server_says_when_to_try_again() -> None:
    error = Unavailable("too many requests", status=429, retry_after=1)
    assert not_created("Job", "photos-1", error).retry_after_seconds == 1


@pytest.mark.parametrize(
    ("status", "reason"),
    [(422, "Invalid"), (400, "BadRequest")],
    ids=["a field is refused", "it does not parse"],
)
async def test_job_that_can_never_be_created_fails_at_once_in_the_servers_words(
    cluster: ScriptedCluster, reconcile: Reconciler, status: int, reason: str
) -> None:
    text = "spec.template.spec.containers[0].resources.limits: Invalid value: must be an integer"
    cluster.fail, cluster.words = {"POST jobs": status}, {"message": text, "reason": reason}
    assert await reconcile(KEY) is None
    assert (cluster.status["phase"], failure(cluster)) == ("Failed", c.INVALID_SPEC)
    assert "Job 'photos-1' was not created: " + text == cluster.status["failure"]["message"]
    assert "under another name" in cluster.status["failure"]["hint"]


async def test_refused_job_ends_with_its_startup_deadline(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(startupDeadlineSeconds=20))
    cluster.fail, cluster.words = {"POST jobs": 403}, {"message": "exceeded quota"}
    assert await reconcile(KEY) == 15
    cluster.now = 15
    assert await reconcile(KEY) == 5
    assert cluster.status["phase"] == "Pending"
    cluster.now = 20
    assert await reconcile(KEY) is None
    assert (cluster.status["phase"], failure(cluster)) == ("Failed", c.CREATE_REFUSED)
    *_, failed = cluster.status["conditions"]
    assert failed["reason"] == c.STARTUP_DEADLINE_EXCEEDED
    assert "within startupDeadlineSeconds (20 s)" in failed["message"]
    assert "exceeded quota" in failed["message"]


async def test_refused_job_ends_with_its_active_deadline(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(activeDeadlineSeconds=10, ttlSecondsAfterFinished=3))
    cluster.fail = {"POST jobs": 500}
    assert await reconcile(KEY) == 5
    cluster.now = 10
    assert await reconcile(KEY) == 3
    *_, failed = cluster.status["conditions"]
    assert (cluster.status["phase"], failed["reason"]) == ("Failed", c.DEADLINE_EXCEEDED)
    assert "POST jobs is refused" in failed["message"]


async def test_second_attempt_that_is_refused_is_pending_and_has_a_deadline_of_its_own(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    ended = make_status(attempts=1, failures=1, history=make_history(c.TEMPORARY_FAILURE))
    cluster.put(make_job(ended, startupDeadlineSeconds=60))
    cluster.fail, cluster.now = {"POST jobs": 403}, 3600
    assert await reconcile(KEY) == 15
    assert (cluster.status["phase"], cluster.status["attempts"]) == ("Pending", 1)
    cluster.now = 3660
    await reconcile(KEY)
    assert cluster.status["phase"] == "Failed"


async def test_suspension_stops_the_clock_of_a_refused_job(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(startupDeadlineSeconds=60))
    cluster.fail = {"POST jobs": 403}
    await reconcile(KEY)
    cluster.edit(suspend=True)
    await reconcile(KEY)
    assert cluster.status["phase"] == "Suspended"
    cluster.edit(suspend=False)
    cluster.watch()
    cluster.now = 3600
    assert await reconcile(KEY) == 15
    assert cluster.status["phase"] == "Pending"


async def test_name_that_someone_else_has_fails_the_job(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.jobs["photos-1"] = {"metadata": {"name": "photos-1", "uid": "x"}}
    assert await reconcile(KEY) is None
    assert (cluster.status["phase"], failure(cluster)) == ("Failed", c.NAME_TAKEN)
    assert "'photos-1'" in cluster.status["failure"]["message"]


async def test_ended_job_goes_when_a_quota_leaves_no_room_for_the_next(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempts=1, history=make_history(c.TEMPORARY_FAILURE))))
    cluster.now = 60
    cluster.cache.observe_attempt(make_ended_attempt(1, 75).job)
    cluster.fail = {"POST jobs": 403}
    await reconcile(KEY)
    assert "DELETE photos-1" not in cluster.calls()  # another refusal: the log is kept
    quota = "exceeded quota: jobs, requested: count/jobs.batch=1, used: count/jobs.batch=1"
    cluster.words = {"message": quota}
    assert await reconcile(KEY) == 2
    assert cluster.calls()[-1] == "DELETE photos-1"
    assert failure(cluster) == c.CREATE_REFUSED
    assert [ended["number"] for ended in cluster.status["history"]] == [1]
    cluster.now = 600
    assert await reconcile(KEY) == 15


async def test_ended_job_keeps_its_log_when_the_next_is_given_up_for_want_of_room(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    status = make_status(attempts=1, history=make_history(c.CRASHED), refused_since=NOW)
    cluster.put(make_job(status, startupDeadlineSeconds=60))
    cluster.cache.observe_attempt(make_ended_attempt(1, 75).job)
    cluster.now, cluster.fail = 60, {"POST jobs": 403}
    cluster.words = {"message": "exceeded quota: jobs, requested: count/jobs.batch=1"}
    await reconcile(KEY)
    assert (cluster.status["phase"], failure(cluster)) == ("Failed", c.CREATE_REFUSED)
    assert "No Job was created within" in cluster.status["failure"]["message"]
    assert "DELETE photos-1" not in cluster.calls()


async def test_name_that_an_earlier_job_left_without_an_owner_is_made_free(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    left = without_owner(make_ended_attempt(1, 0).job, uid="earlier")
    cluster.jobs["photos-1"] = msgspec.to_builtins(left)
    cluster.cache.observe_attempt(left)
    assert await reconcile(KEY) == 2
    assert cluster.calls()[-1] == "DELETE photos-1"
    assert (cluster.status["phase"], failure(cluster)) == ("Pending", c.NAME_TAKEN)
    cluster.cache.observe_attempt(left, deleted=True)
    cluster.jobs.clear()
    await reconcile(KEY)
    assert cluster.status["attempts"] == 1


async def test_name_that_an_earlier_job_of_that_name_still_has_is_waited_for(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    owner = {"kind": c.KIND, "name": "photos", "uid": "earlier", "controller": True}
    metadata = {"name": "photos-1", "uid": "x", "ownerReferences": [owner]}
    cluster.jobs["photos-1"] = {"metadata": metadata}
    assert await reconcile(KEY) == 2
    assert (cluster.status["phase"], failure(cluster)) == ("Pending", c.NAME_TAKEN)
    cluster.jobs.clear()
    await reconcile(KEY)
    assert cluster.status["attempts"] == 1
