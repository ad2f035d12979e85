"""Faults of nodes, with the real Job controller and the real scheduler."""

import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.support.kubelet_world import KubeletWorld, error_of
from tests.support.world import fine_tune_job

pytestmark = pytest.mark.timeout(150)
KUBELET = {"component": "kubelet"}


@pytest.fixture
def pool(world: KubeletWorld, plane: ControlPlane) -> Iterator[dict[str, str]]:
    """Two nodes whose label kubernetes.io/hostname is not their name; their node selector."""
    selector = {"example.test/pool": world.namespace}
    names = [f"ip-{number}.{world.namespace}.internal" for number in (1, 2)]
    for number, name in enumerate(names, 1):
        plane.add_node(name, labels={"kubernetes.io/hostname": f"ip-{number}", **selector})
    yield selector
    for name in names:
        plane.api.request("DELETE", f"/api/v1/nodes/{name}")


def job_in(pool: dict[str, str], **spec: Any) -> dict[str, Any]:
    return fine_tune_job(trainer={"gpusPerNode": 0, "nodeSelector": pool}, **spec)


def test_pod_that_a_kubelet_rejects_is_followed_on_another_node(
    world: KubeletWorld, pool: dict[str, str]
) -> None:
    world.apply(job_in(pool))
    first = world.wait_for_pod(1)
    world.reject(first)
    second = world.wait_for_pod(2)
    assert second["spec"]["nodeName"] != first["spec"]["nodeName"]
    status = world.status()
    assert [record["reason"] for record in status["history"]] == ["PodRejected"]
    assert "no healthy devices" in status["history"][0]["message"]
    assert (status.get("failures", 0), status["disruptions"]) == (0, 1)


def test_node_that_was_rebooted_and_one_that_cannot_start_containers_are_disruptions(
    world: KubeletWorld, pool: dict[str, str]
) -> None:
    world.apply(job_in(pool, backoffLimit=0))
    for number, code, reason, message in (
        (1, 255, "Unknown", ""),
        (2, 128, "StartError", "nvml error: driver/library version mismatch"),
    ):
        pod = world.wait_for_pod(number)
        world.run(pod)
        world.exit(pod, code, message, reason=reason)
    world.wait_for_pod(3)
    status = world.status()
    assert [record["reason"] for record in status["history"]] == ["Disrupted", "Disrupted"]
    assert "driver/library version mismatch" in status["history"][1]["message"]
    assert (status.get("failures", 0), status["disruptions"]) == (0, 2)


def test_node_whose_hardware_cannot_be_used_is_excluded_by_its_name(
    world: KubeletWorld, pool: dict[str, str]
) -> None:
    job = world.apply(job_in(pool))
    first = world.wait_for_pod(1)
    world.run(first)
    world.exit(first, 69, error_of(first, job, "UnsupportedHardware", "No code for this GPU."))
    second = world.wait_for_pod(2)
    assert second["spec"]["nodeName"] != first["spec"]["nodeName"]


def test_newest_warning_about_a_stuck_pod_is_reported(world: KubeletWorld) -> None:
    world.apply(fine_tune_job())
    pod = world.wait_for_pod()
    world.wait_in_kubelet(pod, "ContainerCreating", "")
    now = int(time.time())
    for number in range(60):  # the order of names, in which they are listed, is not that of times
        seen = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(now + 60 - number))
        event = {
            "metadata": {"name": f"{pod['metadata']['name']}.{number:03}"},
            "type": "Warning",
            "reason": "FailedCreatePodSandBox",
            "message": f"no runtime for nvidia is configured ({60 - number})",
            "source": KUBELET,
            "firstTimestamp": seen,
            "lastTimestamp": seen,
            "involvedObject": {
                "kind": "Pod",
                "namespace": world.namespace,
                "name": pod["metadata"]["name"],
                "uid": pod["metadata"]["uid"],
            },
        }
        world.api.request("POST", f"/api/v1/namespaces/{world.namespace}/events", event)
    failure = world.wait_for_failure("PodNotStarting")
    world.wait("the newest", lambda: world.status()["failure"]["message"].endswith("(60)"))
    assert failure["message"].startswith("FailedCreatePodSandBox: no runtime")
    assert "trainer.runtimeClassName" in failure["hint"]
