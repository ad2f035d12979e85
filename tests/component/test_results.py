"""A result that is there is taken, with the real Job controller between."""

import pytest

from tests.support.kubelet_world import KubeletWorld, result_of
from tests.support.world import fine_tune_job

pytestmark = pytest.mark.timeout(90)
JOBS = "/apis/finetune-operator.dev/v1alpha1/namespaces"


def test_deleted_job_that_a_finalizer_keeps_stops_and_gets_its_result(world: KubeletWorld) -> None:
    body = fine_tune_job()
    body["metadata"]["finalizers"] = ["backup.example.com/hold"]
    job = world.apply(body)
    pod = world.wait_for_pod()
    world.run(pod)
    world.wait_for_phase("Starting")
    world.delete()
    world.wait("the pod's deletion", lambda: world.pods()[0]["metadata"].get("deletionTimestamp"))
    world.exit(pod, 0, result_of(pod, job, "0.9"))
    assert world.wait_for_phase("Complete")["accuracy"] == "0.9"
    path = f"{JOBS}/{world.namespace}/finetunejobs/photos"
    world.api.merge(path, {"metadata": {"finalizers": None}})
    world.wait("its end", lambda: not world.items("finetunejobs"))


def test_pod_that_ends_well_while_its_job_is_suspended_by_a_queue_completes_the_job(
    world: KubeletWorld,
) -> None:
    job = world.apply(fine_tune_job())
    pod = world.wait_for_pod()
    world.run(pod)
    world.wait_for_phase("Starting")
    path = f"/apis/batch/v1/namespaces/{world.namespace}/jobs/photos-1"
    world.api.merge(path, {"spec": {"suspend": True}})
    world.wait("the pod's deletion", lambda: world.pods()[0]["metadata"].get("deletionTimestamp"))
    world.exit(pod, 0, result_of(pod, job, "0.9"))
    world.take_away(pod)
    status = world.wait_for_phase("Complete")
    assert (status["accuracy"], status["attempts"]) == ("0.9", 1)


@pytest.mark.parametrize("background", [True, False], ids=["background", "foreground"])
def test_pod_that_ends_well_while_its_job_is_deleted_completes_the_job(
    world: KubeletWorld, background: bool
) -> None:
    job = world.apply(fine_tune_job())
    pod = world.wait_for_pod()
    world.run(pod)
    world.wait_for_phase("Starting")
    policy = "Background" if background else "Foreground"
    body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": policy}
    path = f"/apis/batch/v1/namespaces/{world.namespace}/jobs/photos-1"
    world.api.request("DELETE", path, body)
    world.wait("the pod's deletion", lambda: world.pods()[0]["metadata"].get("deletionTimestamp"))
    world.exit(pod, 0, result_of(pod, job, "0.9"))
    world.take_away(pod)
    status = world.wait_for_phase("Complete")
    assert (status["accuracy"], status["attempts"]) == ("0.9", 1)


def test_absurd_figures_beside_the_accuracy_are_no_reason_to_lose_it(world: KubeletWorld) -> None:
    job = world.apply(fine_tune_job())
    pod = world.wait_for_pod()
    world.run(pod)
    message = result_of(pod, job, "0.9")
    message["result"] |= {
        "dataset": {"classes": 2**64, "digest": "lone \ud800 surrogate"},
        "checkpoint": {"epoch": 2**70, "step": -1},
        "metrics": [{"name": "loss", "value": "NaN"}],
        "model": ["efficientnet-lite0"],
    }
    world.exit(pod, 0, message)
    status = world.wait_for_phase("Complete")
    assert (status["accuracy"], status["dataset"]["classes"]) == ("0.9", 2**63 - 1)
