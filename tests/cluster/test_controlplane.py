"""The control plane alone: fast, complete enough for the operator, gone with its test."""

import json
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.cluster.client import ApiError
from tests.cluster.controlplane import ControlPlane

pytestmark = pytest.mark.timeout(60)
STARTS_AND_DIES = """
import os, signal
from tests.cluster.controlplane import ControlPlane
with ControlPlane(controllers=False) as plane:
    print(plane.directory, flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(scope="module")
def audit_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("audit") / "audit.log"


@pytest.fixture(scope="module")
def plane(audit_log: Path) -> Iterator[ControlPlane]:
    started = time.monotonic()
    with ControlPlane(scheduler=True, audit_log=audit_log) as plane:
        print(f"control plane ready in {time.monotonic() - started:.1f} s")
        plane.add_node("node-a", gpus=8)
        yield plane


def eventually(read: Callable[[], Any]) -> Any:
    deadline = time.monotonic() + 20
    while not (result := read()):
        assert time.monotonic() < deadline, "waited 20 s"
        time.sleep(0.05)
    return result


def submit_job(plane: ControlPlane, namespace: str, gpus: int) -> None:
    resources = {"limits": {"nvidia.com/gpu": str(gpus)}}
    container = {"name": "main", "image": "none", "resources": resources}
    template = {"spec": {"restartPolicy": "Never", "containers": [container]}}
    job = {"metadata": {"name": "job"}, "spec": {"template": template}}
    plane.api.request("POST", f"/apis/batch/v1/namespaces/{namespace}/jobs", job)


def pods(plane: ControlPlane, namespace: str) -> list[dict[str, Any]]:
    items: list[dict[str, Any]] = plane.api.get(f"/api/v1/namespaces/{namespace}/pods")["items"]
    return items


def test_pod_of_a_job_is_created_and_bound_to_a_node_with_gpus(plane: ControlPlane) -> None:
    plane.add_namespace("bound")
    submit_job(plane, "bound", gpus=2)
    assert eventually(
        lambda: [
            pod["spec"]["nodeName"] for pod in pods(plane, "bound") if pod["spec"].get("nodeName")
        ]
    ) == ["node-a"]


def test_pod_that_wants_more_gpus_than_a_node_has_stays_unschedulable(plane: ControlPlane) -> None:
    plane.add_namespace("unbound")
    submit_job(plane, "unbound", gpus=9)
    conditions = eventually(
        lambda: [c for pod in pods(plane, "unbound") for c in pod["status"].get("conditions", [])]
    )
    assert conditions[0]["reason"] == "Unschedulable"


def test_pods_go_with_their_job_and_all_with_their_namespace(plane: ControlPlane) -> None:
    plane.add_namespace("gone")
    submit_job(plane, "gone", gpus=0)
    eventually(lambda: pods(plane, "gone"))
    plane.api.request(
        "DELETE", "/apis/batch/v1/namespaces/gone/jobs/job?propagationPolicy=Foreground"
    )
    # No kubelet is there to end the pod.
    name = pods(plane, "gone")[0]["metadata"]["name"]
    plane.api.request("DELETE", f"/api/v1/namespaces/gone/pods/{name}?gracePeriodSeconds=0")
    eventually(lambda: not plane.api.exists("/apis/batch/v1/namespaces/gone/jobs/job"))
    plane.api.request("DELETE", "/api/v1/namespaces/gone")
    eventually(lambda: not plane.api.exists("/api/v1/namespaces/gone"))


def test_restarted_apiserver_has_the_same_address_and_data(plane: ControlPlane) -> None:
    plane.add_namespace("kept")
    plane.restart_apiserver()
    assert plane.api.exists("/api/v1/namespaces/kept")


def test_audit_log_names_user_verb_and_object(plane: ControlPlane, audit_log: Path) -> None:
    plane.add_namespace("audited")
    entries = [json.loads(line) for line in audit_log.read_text().splitlines()]
    assert ("admin", "create", "audited") in {
        (entry["user"]["username"], entry["verb"], entry.get("objectRef", {}).get("name"))
        for entry in entries
    }


def test_refusal_is_raised_with_the_servers_words(plane: ControlPlane) -> None:
    with pytest.raises(ApiError, match='namespaces \\\\"nowhere\\\\" not found') as caught:
        plane.api.get("/api/v1/namespaces/nowhere")
    assert caught.value.code == 404


def test_nothing_outlives_a_killed_test_process() -> None:
    command = [sys.executable, "-c", STARTS_AND_DIES]
    result = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    assert result.returncode == -signal.SIGKILL
    directory = result.stdout.strip()
    eventually(lambda: not Path(directory).exists())
    assert subprocess.run(["pgrep", "--full", directory], check=False).returncode == 1
