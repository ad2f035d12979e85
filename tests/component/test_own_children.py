"""Children are the operator's by its own label and their owner, whatever others do to them."""

from typing import Any

import pytest

from tests.support.kubelet_world import KubeletWorld, result_of
from tests.support.world import Object, condition, fine_tune_job

pytestmark = pytest.mark.timeout(90)
MANAGED_BY = {"app.kubernetes.io/managed-by": "platform-team"}


def path_of(world: KubeletWorld, kind: str, name: str) -> str:
    group = "/apis/batch/v1" if kind == "jobs" else "/api/v1"
    return f"{group}/namespaces/{world.namespace}/{kind}/{name}"


def pod_of(world: KubeletWorld, job: Object) -> Any:
    """Wait for the pod of this FineTuneJob, not of an earlier one of its name."""
    uid = job["metadata"]["uid"]

    def found() -> Object | None:
        labels = "finetune-operator.dev/job-uid"
        own = (pod for pod in world.pods() if pod["metadata"]["labels"].get(labels) == uid)
        return next(own, None)

    return world.wait("the pod of the new job", found, seconds=40)


@pytest.mark.parametrize("kind", ["jobs", "pods"])
def test_child_whose_shared_label_a_policy_rewrites_is_followed_to_its_end(
    world: KubeletWorld, kind: str
) -> None:
    job = world.apply(fine_tune_job())
    pod = world.wait_for_pod()
    name = "photos-1" if kind == "jobs" else pod["metadata"]["name"]
    world.api.merge(path_of(world, kind, name), {"metadata": {"labels": MANAGED_BY}})
    world.run(pod)
    world.wait("a start", lambda: condition(world.status(), "PodsReady").get("status") == "True")
    world.exit(pod, 0, result_of(pod, job, "0.9"))
    assert world.wait_for_phase("Complete")["accuracy"] == "0.9"


def test_job_that_an_orphaning_deletion_left_is_ended_before_its_name_is_used_again(
    world: KubeletWorld,
) -> None:
    world.apply(fine_tune_job())
    old = world.wait_for_pod()
    world.run(old)
    world.kubectl("delete", "finetunejob", "photos", "--cascade=orphan")
    job = world.apply(fine_tune_job())
    world.wait("the old pod's end", lambda: is_ending(world, old))
    world.take_away(old)
    pod = pod_of(world, job)
    world.run(pod)
    world.exit(pod, 0, result_of(pod, job, "0.9"))
    assert world.wait_for_phase("Complete")["attempts"] == 1


def test_pod_that_an_orphaning_deletion_of_its_job_left_is_named_and_ended(
    world: KubeletWorld,
) -> None:
    world.apply(fine_tune_job())
    pod = world.wait_for_pod()
    world.run(pod)
    world.kubectl("delete", "job", "photos-1", "--cascade=orphan")
    name = pod["metadata"]["name"]
    world.wait(
        "its name", lambda: name in condition(world.status(), "PodsReady").get("message", "")
    )
    world.wait("its end", lambda: is_ending(world, pod))
    world.take_away(pod)
    assert world.wait_for_pod(2)


def test_status_of_an_earlier_job_that_a_restore_writes_does_not_win_over_the_attempt(
    world: KubeletWorld,
) -> None:
    job = world.apply(fine_tune_job())
    pod = world.wait_for_pod()
    world.run(pod)
    world.wait("a start", lambda: condition(world.status(), "PodsReady").get("status") == "True")
    group = "/apis/finetune-operator.dev/v1alpha1"
    path = f"{group}/namespaces/{world.namespace}/finetunejobs/photos/status"
    current = {"number": 2, "jobName": "photos-2"}
    restored = {"observedUid": "earlier", "attempts": 2, "currentAttempt": current}
    world.api.merge(path, {"status": {**restored, "checkpoint": {"epoch": 7, "step": 700}}})
    world.wait("its own status", lambda: world.status()["observedUid"] == job["metadata"]["uid"])
    assert (world.status()["attempts"], world.status().get("checkpoint")) == (1, None)
    world.exit(pod, 0, result_of(pod, job, "0.9"))
    assert world.wait_for_phase("Complete")["accuracy"] == "0.9"


def test_ended_job_makes_room_for_the_next_attempt_in_a_quota_of_jobs(world: KubeletWorld) -> None:
    quota = {"metadata": {"name": "jobs"}, "spec": {"hard": {"count/jobs.batch": "1"}}}
    path = f"/api/v1/namespaces/{world.namespace}/resourcequotas"
    world.api.request("POST", path, quota)
    world.wait("the quota", lambda: world.api.get(f"{path}/jobs").get("status", {}).get("used"))
    world.apply(fine_tune_job())
    pod = world.wait_for_pod()
    world.run(pod)
    world.exit(pod, 75)
    world.wait("the next attempt", lambda: world.status().get("attempts") == 2, seconds=40)


def is_ending(world: KubeletWorld, pod: Object) -> bool:
    name = pod["metadata"]["name"]
    found = [each for each in world.pods() if each["metadata"]["name"] == name]
    return not found or "deletionTimestamp" in found[0]["metadata"]
