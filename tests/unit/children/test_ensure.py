"""A child that is refused, or whose name is taken, blocks its attempt."""

import pytest
from finetune_operator.api import constants as c
from finetune_operator.reconcile import Reconciler

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
