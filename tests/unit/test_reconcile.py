"""One pass against an HTTP server in the API server's place: order of calls, refusals, races."""

import copy
from collections.abc import AsyncIterator
from typing import Any

import msgspec
import pytest
from aiohttp import web
from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Condition
from finetune_operator.api.types import FineTuneJob
from finetune_operator.kube.client import Conflict, Forbidden
from finetune_operator.metrics import Metrics
from finetune_operator.observe.cache import Cache
from finetune_operator.reconcile import Reconciler
from finetune_operator.settings import Settings

from tests.support.api_server import Answer, ApiServer, Body, serving
from tests.support.builders import (
    NAMESPACE,
    UID,
    later,
    make_attempt,
    make_job,
    make_pod,
    make_status,
)
from tests.support.world import condition

KEY = (NAMESPACE, "photos")


class ScriptedCluster:
    """A FineTuneJob and the Jobs around it, behind HTTP; `fail` makes calls fail."""

    def __init__(self) -> None:
        self.server = ApiServer(self._answer)
        self.cache = Cache()
        self.now = 0.0
        self.jobs: dict[str, Body] = {}
        self.pods: list[Body] = []
        self.fail: dict[str, int] = {}
        """HTTP status by method and last part of the path: {"POST jobs": 403}."""
        self.put(make_job())

    def put(self, job: FineTuneJob) -> None:
        self.body: Body | None = msgspec.to_builtins(job)

    @property
    def status(self) -> Body:
        assert self.body
        status: Body = self.body.get("status", {})
        return status

    def calls(self) -> list[str]:
        return [f"{method} {path.split('/')[-1]}" for method, path, _ in self.server.requests]

    def _answer(self, request: web.Request, body: Body) -> Answer:
        parts = request.path.strip("/").split("/")
        call = f"{request.method} {parts[-1]}"
        if status := self.fail.get(call):
            return Answer({"message": f"{call} is refused"}, status=status)
        if request.method == "DELETE":
            return Answer({})
        if "finetunejobs" in parts:
            return self._fine_tune_job(request.method, body)
        if parts[-1] == "pods":
            return Answer({"metadata": {}, "items": self.pods})
        if parts[-1] == "events":
            return Answer({"metadata": {}, "items": []} if request.method == "GET" else body)
        if request.method == "POST":
            name = body["metadata"]["name"]
            if name in self.jobs:
                return Answer({"message": "already exists"}, status=409)
            metadata = {**body["metadata"], "uid": f"attempt-{name[-1]}"}
            self.jobs[name] = {**body, "metadata": metadata}
            return Answer(self.jobs[name])
        found = self.jobs.get(parts[-1])
        return Answer(found) if found else Answer({"message": "not found"}, status=404)

    def _fine_tune_job(self, method: str, body: Body) -> Answer:
        if self.body is None:
            return Answer({"message": "not found"}, status=404)
        if method == "PATCH":
            assert body["metadata"]["resourceVersion"] == self.body["metadata"]["resourceVersion"]
            status = copy.deepcopy(self.status)
            self.body["status"] = _merged(status, body["status"])
        return Answer(self.body)


def _merged(target: Body, patch: Body) -> Body:
    for key, value in patch.items():
        if value is None:
            target.pop(key, None)
        elif isinstance(value, dict) and isinstance(target.get(key), dict):
            _merged(target[key], value)
        else:
            target[key] = value
    return target


@pytest.fixture
def cluster() -> ScriptedCluster:
    return ScriptedCluster()


@pytest.fixture
async def reconcile(cluster: ScriptedCluster) -> AsyncIterator[Reconciler]:
    async with serving(cluster.server) as client:
        yield Reconciler(
            client,
            cluster.cache,
            Metrics(cluster.cache, queue_depth=lambda: 0),
            Settings(trainer_image="trainer:cpu", trainer_gpu_image="trainer:gpu"),
            clock=lambda: later(cluster.now),
        )


def failure(cluster: ScriptedCluster) -> str:
    reason: str = cluster.status["failure"]["reason"]
    return reason


async def test_new_job_gets_its_attempt_and_then_one_status_and_events(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    await reconcile(KEY)
    assert cluster.calls() == ["GET photos", "POST jobs", "PATCH status", "POST events"]
    assert cluster.status["attempts"] == 1
    assert cluster.status["image"] == "trainer:gpu"
    assert cluster.cache.jobs[KEY].phase == "Pending"


async def test_pass_that_finds_nothing_new_writes_nothing(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    for _ in range(3):
        await reconcile(KEY)
    before = len(cluster.calls())
    await reconcile(KEY)
    assert cluster.calls()[before:] == ["GET photos"]


async def test_job_that_is_deleted_or_terminating_keeps_its_children(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    assert cluster.body
    cluster.body["metadata"]["deletionTimestamp"] = "2026-01-01T12:00:00Z"
    assert await reconcile(KEY) is None
    cluster.body = None
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
    if cache_is_lost:  # its informer has not heard of the Job yet
        cluster.cache._attempts.clear()
    await reconcile(KEY)
    assert list(cluster.jobs) == ["photos-1"]
    assert cluster.status["attempts"] == 1
    assert cluster.status["currentAttempt"]["jobName"] == "photos-1"


class TestRefusals:
    @pytest.mark.parametrize("status", [403, 422])
    async def test_attempt_that_is_refused_was_not_started_and_is_tried_again(
        self, cluster: ScriptedCluster, reconcile: Reconciler, status: int
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

    async def test_name_that_a_stranger_has_fails_the_job(
        self, cluster: ScriptedCluster, reconcile: Reconciler
    ) -> None:
        cluster.jobs["photos-1"] = {"metadata": {"name": "photos-1", "uid": "x"}}
        assert await reconcile(KEY) is None
        assert (cluster.status["phase"], failure(cluster)) == ("Failed", c.NAME_TAKEN)
        assert "'photos-1'" in cluster.status["failure"]["message"]

    async def test_name_that_an_earlier_job_of_that_name_still_has_is_waited_for(
        self, cluster: ScriptedCluster, reconcile: Reconciler
    ) -> None:
        owner = {"kind": c.KIND, "name": "photos", "uid": "earlier", "controller": True}
        metadata = {"name": "photos-1", "uid": "x", "ownerReferences": [owner]}
        cluster.jobs["photos-1"] = {"metadata": metadata}
        assert await reconcile(KEY) == 2
        assert (cluster.status["phase"], failure(cluster)) == ("Pending", c.NAME_TAKEN)
        cluster.jobs.clear()
        await reconcile(KEY)
        assert cluster.status["attempts"] == 1


class TestLateWatches:
    async def test_attempt_that_the_watch_has_not_shown_is_not_taken_for_deleted(
        self, cluster: ScriptedCluster, reconcile: Reconciler
    ) -> None:
        cluster.put(make_job(make_status(attempt=1)))
        owner = {"kind": c.KIND, "uid": UID, "controller": True}
        metadata = {"name": "photos-1", "uid": "attempt-1", "ownerReferences": [owner]}
        cluster.jobs["photos-1"] = {"metadata": metadata}
        assert await reconcile(KEY) == 1
        assert cluster.calls() == ["GET photos", "GET photos-1"]

    @pytest.mark.parametrize("name", ["photos-1", "photos-prepare-1"])
    async def test_suspended_job_is_not_said_to_be_while_a_creation_that_was_not_answered_runs(
        self, cluster: ScriptedCluster, reconcile: Reconciler, name: str
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

    async def test_end_of_an_unwritten_preparation_waits_for_its_pods_last_words(
        self, cluster: ScriptedCluster, reconcile: Reconciler
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
        self, cluster: ScriptedCluster, reconcile: Reconciler, deletion: str | None
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
        self, cluster: ScriptedCluster, reconcile: Reconciler, uid: str
    ) -> None:
        cluster.put(make_job(make_status(attempt=1)))
        if uid:
            owner = {"kind": c.KIND, "uid": uid, "controller": True}
            cluster.jobs["photos-1"] = {
                "metadata": {"name": "photos-1", "ownerReferences": [owner]}
            }
        await reconcile(KEY)
        assert cluster.status["history"][0]["reason"] == c.JOB_DELETED

    async def test_job_that_ended_is_not_judged_before_its_pod_is_seen(
        self, cluster: ScriptedCluster, reconcile: Reconciler
    ) -> None:
        cluster.put(make_job(make_status(attempt=1)))
        cluster.cache.observe_attempt(make_attempt(1, ended="Complete").job)
        cluster.pods = [msgspec.to_builtins(make_pod())]
        assert await reconcile(KEY) == 1
        assert "history" not in cluster.status
        cluster.pods = []
        await reconcile(KEY)
        assert cluster.status["history"][0]["reason"] == c.RESULT_LOST

    @pytest.mark.parametrize("attempt", [1, 0], ids=["written down", "to be adopted"])
    async def test_attempt_that_seems_not_to_start_is_not_given_up_before_its_pod_is_seen(
        self, cluster: ScriptedCluster, reconcile: Reconciler, attempt: int
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

    async def test_next_attempt_waits_for_a_pod_that_the_watch_has_not_shown(
        self, cluster: ScriptedCluster, reconcile: Reconciler
    ) -> None:
        cluster.put(make_job(make_status(attempt=1)))
        cluster.pods = [msgspec.to_builtins(make_pod())]
        assert await reconcile(KEY) == 1
        assert cluster.jobs == {}
        cluster.pods = [msgspec.to_builtins(make_pod("Failed"))]
        await reconcile(KEY)
        assert list(cluster.jobs) == ["photos-2"]


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


async def test_event_that_is_lost_is_no_reason_to_fail(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.fail = {"POST events": 403}
    await reconcile(KEY)
    assert cluster.status["phase"] == "Pending"


async def test_child_that_is_stuck_is_looked_up_in_the_events_and_one_in_a_queue_more_seldom(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(make_status(attempt=1)))
    cluster.cache.observe_attempt(make_attempt(1).job)
    assert await reconcile(KEY) == 15
    assert "GET events" not in cluster.calls()
    cluster.now = 15
    assert await reconcile(KEY) == 5
    assert "GET events" in cluster.calls()
    cluster.cache.observe_attempt(make_attempt(1, suspended=True).job)
    assert await reconcile(KEY) == 60


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


async def test_end_of_the_time_to_live_of_a_job_that_is_kept_is_told_once(
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


async def test_data_set_is_prepared_with_the_image_for_pods_without_gpus(
    cluster: ScriptedCluster, reconcile: Reconciler
) -> None:
    cluster.put(make_job(workspace={"claimName": "work"}))
    await reconcile(KEY)
    (job,) = cluster.jobs.values()
    assert job["metadata"]["name"] == "photos-prepare-1"
    (container,) = job["spec"]["template"]["spec"]["containers"]
    assert container["image"] == "trainer:cpu"
    assert cluster.status["image"] == "trainer:gpu"
