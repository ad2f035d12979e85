"""Containers that a mesh injects, with the real Job controller between: the trainer is judged."""

import time

import pytest

from tests.support.faults import sidecar
from tests.support.kubelet_world import KubeletWorld, error_of, result_of
from tests.support.world import Object, condition, fine_tune_job

pytestmark = pytest.mark.timeout(90)
MESH = {"gpusPerNode": 0, "podLabels": {sidecar.LABEL: "true"}}


def is_deleted(world: KubeletWorld, pod: Object) -> bool:
    return any(
        each["metadata"]["uid"] == pod["metadata"]["uid"]
        and "deletionTimestamp" in each["metadata"]
        for each in world.pods()
    )


def test_result_is_taken_and_the_pod_is_ended_though_a_sidecar_runs_on(
    world: KubeletWorld,
) -> None:
    job = world.apply(fine_tune_job(trainer=MESH))
    pod = world.wait_for_pod()
    assert [each["name"] for each in pod["spec"]["containers"]] == ["trainer", sidecar.NAME]
    world.run(pod)
    world.wait_for_phase("Starting")
    world.exit(pod, 0, result_of(pod, job, "0.9"), kept=True)
    assert world.wait_for_phase("Complete")["accuracy"] == "0.9"
    world.wait("the pod's deletion", lambda: is_deleted(world, pod))
    events = world.wait(
        "an Event",
        lambda: [e for e in world.items("events") if e["reason"] == "ContainerRunsOn"],
    )
    assert sidecar.NAME in events[0]["message"]
    world.exit(pod, 0, result_of(pod, job, "0.9"))
    world.take_away(pod)
    world.wait("no Job", lambda: not world.items("jobs"))


def test_failure_is_retried_though_a_sidecar_runs_on(world: KubeletWorld) -> None:
    job = world.apply(fine_tune_job(trainer=MESH))
    pod = world.wait_for_pod()
    world.run(pod)
    world.exit(pod, 75, error_of(pod, job, "TemporaryFailure", "The network failed."), kept=True)
    assert world.wait_for_failure("TemporaryFailure")["message"] == "The network failed."
    second = world.wait_for_pod(2, seconds=40)
    assert is_deleted(world, pod)
    world.run(second)
    world.exit(second, 0, result_of(second, job))
    assert world.wait_for_phase("Complete")["failures"] == 1


def test_trainer_that_runs_beside_a_sidecar_without_an_image_is_not_given_up(
    world: KubeletWorld,
) -> None:
    job = world.apply(fine_tune_job(trainer=MESH, startupDeadlineSeconds=3))
    pod = world.wait_for_pod()
    world.run(pod, waits='Back-off pulling image "example.test/proxy:1"')
    failure = world.wait_for_failure("ContainerError")
    assert sidecar.NAME in failure["message"]
    assert condition(world.status(), "PodsReady")["status"] == "True"
    time.sleep(4)  # the deadline passes
    assert world.status()["phase"] == "Starting"
    world.exit(pod, 0, result_of(pod, job), kept=True)
    assert "failure" not in world.wait_for_phase("Complete")
