"""A child that is refused, or whose name is taken, blocks its attempt."""

import msgspec
import pytest
from finetune_operator.api import constants as c
from finetune_operator.reconcile import Reconciler

from tests.support.builders import (
    make_ended_attempt,
    make_history,
    make_job,
    make_status,
    without_owner,
)
from tests.support.scripted_cluster import KEY, ScriptedCluster, failure


@pytest.mark.parametrize("status", [403, 422])
async def test_attempt_that_is_refused_was_not_started_and_is_tried_again(
    cluster: ScriptedCluster, reconcile: Reconciler, status: int
) -> None:
    cluster.fail = {"POST jobs": status}
    for _ in range(2):
        assert await reconcile(KEY) == 15
        assert "attempts" not in cluster.status
        assert "currentAttempt" not in cluster.status
        assert failure(cluster) == c.CREATE_REFUSED
    assert cluster.calls().count("PATCH status") == 1
    cluster.fail = {}
    await reconcile(KEY)
    assert cluster.status["attempts"] == 1


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
    cluster.refusal = (
        "exceeded quota: jobs, requested: count/jobs.batch=1, used: count/jobs.batch=1"
    )
    assert await reconcile(KEY) == 2
    assert cluster.calls()[-1] == "DELETE photos-1"
    assert failure(cluster) == c.CREATE_REFUSED
    assert [ended["number"] for ended in cluster.status["history"]] == [1]
    cluster.now = 600
    assert await reconcile(KEY) == 15


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
