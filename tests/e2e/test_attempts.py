"""Attempts that are more than one pod: prepared apart, taken back by a queue, a gang."""

import pytest

from tests.e2e.conftest import sample
from tests.support.world import Object, World, condition


def _small(**trainer: object) -> Object:
    job = sample("tutorial", dataset={"source": {"uri": "pvc://photos/small"}})
    job["spec"]["trainer"] |= {"resources": {}, **trainer}
    return job


def _log(world: World, job: str) -> str:
    return world.kubectl("logs", f"job/{job}").stdout


def test_photos_are_prepared_by_a_job_of_their_own_and_packed_once(world: World) -> None:
    source = {"uri": "pvc://photos/small"}
    world.apply(sample("finetunejob", dataset={"source": source, "prepare": "Separate"}))
    status = world.wait_for_phase("Complete", seconds=180)
    assert [(r.get("prepare", False), r["reason"]) for r in status["history"]] == [
        (True, "Prepared"),
        (False, "Complete"),
    ]
    assert status["preparation"]["attempts"] == status["attempts"] == 1
    assert condition(status, "DatasetReady")["status"] == "True"
    digest = status["dataset"]["digest"]
    assert digest[:12] in _log(world, "photos-1-prepare")
    assert "stage fit" not in _log(world, "photos-1-prepare")
    assert "found packed in the workspace" in _log(world, "photos-1")


def test_wrong_photos_are_told_before_anything_would_train(world: World) -> None:
    source = {"uri": "pvc://photos/one-class"}
    world.apply(sample("finetunejob", dataset={"source": source, "prepare": "Separate"}))
    status = world.wait_for_phase("Failed", seconds=60)
    assert status["failure"]["reason"] == "InvalidData"
    assert status["failure"]["hint"]
    assert "attempts" not in status


@pytest.mark.slow
def test_attempt_that_a_queue_takes_back_goes_on_where_it_was(world: World) -> None:
    world.apply(_small())
    world.wait_for_epoch(2, "tutorial")
    _suspend(world, wish=True)
    status = world.wait_for_phase("Queued", "tutorial", seconds=60)
    assert condition(status, "PodsReady")["reason"] == "Queued"
    _suspend(world, wish=False)
    status = world.wait_for_phase("Complete", "tutorial", seconds=240)
    assert (status["attempts"], status.get("failures", 0), status.get("disruptions", 0)) == (
        1,
        0,
        0,
    )
    assert "resumed at epoch" in _log(world, "tutorial-1")


@pytest.mark.slow
def test_gang_trains_together_and_restarts_together(world: World) -> None:
    world.apply(_small(numNodes=2))
    world.wait_for_epoch(2, "tutorial")
    running = [pod for pod in world.pods() if pod["status"]["phase"] == "Running"]
    assert len(running) == 2
    follower = next(pod for pod in running if "-1-1-" in pod["metadata"]["name"])
    world.kubectl("delete", "pod", follower["metadata"]["name"], "--wait=false")
    status = world.wait_for_phase("Complete", "tutorial", seconds=300)
    assert (status["attempts"], status.get("failures", 0)) == (2, 0)
    assert status["history"][0]["reason"] == "Interrupted"
    leader = next(p for p in world.pods() if "-2-0-" in p["metadata"]["name"])
    log = world.log(leader)
    assert "resumed at epoch" in log
    world.kubectl("delete", "finetunejob", "tutorial")
    services = f"/api/v1/namespaces/{world.namespace}/services"
    world.wait("no Service", lambda: not world.api.get(services)["items"], seconds=60)


def _suspend(world: World, *, wish: bool) -> None:
    path = f"/apis/batch/v1/namespaces/{world.namespace}/jobs/tutorial-1"
    world.api.merge(path, {"spec": {"suspend": wish}})
