"""What a cluster does to a run: each is told with a reason and a hint, and no pod stays behind."""

import os
import signal
import subprocess
import time

import pytest

from tests.e2e.conftest import sample
from tests.world import Object, World, condition

TOLD_SECONDS = 30
"""Within which the status tells what the cluster knows."""


def small(name: str = "tutorial", *, trainer: Object | None = None, **spec: object) -> Object:
    """Return the tutorial's sample on a few pictures: some 20 seconds."""
    job = sample("tutorial", dataset={"source": {"uri": "pvc://photos/small"}}, **spec)
    job["metadata"]["name"] = name
    job["spec"]["trainer"] |= trainer or {}
    return job


def on_a_gpu(name: str, **spec: object) -> Object:
    """Return a job that holds a GPU but cannot start: its image is nowhere."""
    trainer = {"gpusPerNode": 1, "image": "registry.invalid/trainer:1", "resources": {}}
    job = small(name, trainer=trainer, **spec)
    job["spec"]["dataset"]["prepare"] = "Inline"
    return job


def test_missing_secret_is_named(world: World) -> None:
    variable = {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "login", "key": "token"}}}
    world.apply(small(trainer={"env": [variable]}))
    failure = world.wait_for_failure("ConfigError", "tutorial", seconds=TOLD_SECONDS)
    assert 'secret "login" not found' in failure["message"]
    assert "Create the Secret" in failure["hint"]


def test_quota_that_is_exceeded_is_told_and_waited_for(world: World) -> None:
    quotas = f"/api/v1/namespaces/{world.namespace}/resourcequotas"
    quota = {"metadata": {"name": "gpus"}, "spec": {"hard": {"requests.nvidia.com/gpu": "0"}}}
    world.api.request("POST", quotas, quota)
    try:
        world.wait("the quota", lambda: world.api.get(f"{quotas}/gpus")["status"].get("hard"))
        world.apply(on_a_gpu("tutorial"))
        failure = world.wait_for_failure("CreateRefused", "tutorial", seconds=TOLD_SECONDS)
    finally:
        world.api.request("DELETE", f"{quotas}/gpus")
    assert "exceeded quota: gpus" in failure["message"]
    assert "ResourceQuota" in failure["hint"]
    pod = world.wait_for_pod(1, "tutorial", seconds=120)
    assert pod["spec"]["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_deadline_ends_the_run_and_frees_its_gpu(world: World) -> None:
    world.apply(on_a_gpu("tutorial", activeDeadlineSeconds=6))
    world.wait_for_pod(1, "tutorial")
    status = world.wait_for_phase("Failed", "tutorial", seconds=TOLD_SECONDS)
    assert status["failure"]["reason"] == "DeadlineExceeded"
    assert "activeDeadlineSeconds" in status["failure"]["hint"]
    world.wait("no pods", lambda: not world.pods(), seconds=TOLD_SECONDS)


def test_startup_deadline_tells_what_was_waited_for(world: World) -> None:
    world.apply(on_a_gpu("tutorial", startupDeadlineSeconds=8))
    status = world.wait_for_phase("Failed", "tutorial", seconds=TOLD_SECONDS)
    assert condition(status, "Failed")["reason"] == "StartupDeadlineExceeded"
    assert "registry.invalid/trainer:1" in status["failure"]["message"]
    world.wait("no pods", lambda: not world.pods(), seconds=TOLD_SECONDS)


def test_evicted_run_goes_on_and_is_not_counted_and_a_suspended_one_too(world: World) -> None:
    world.apply(small())
    pod = world.wait_for_pod(1, "tutorial")
    until_epoch(world, 1)
    name = pod["metadata"]["name"]
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": name, "namespace": world.namespace},
    }
    path = f"/api/v1/namespaces/{world.namespace}/pods/{name}/eviction"
    world.api.request("POST", path, eviction)
    world.wait_for_pod(2, "tutorial", seconds=60)
    until_epoch(world, 3)
    world.change("tutorial", {"suspend": True})
    status = world.wait_for_phase("Suspended", "tutorial", seconds=TOLD_SECONDS)
    world.wait("no running pods", lambda: not running(world), seconds=TOLD_SECONDS)
    saved = status["checkpoint"]["epoch"]
    assert saved >= 3
    world.change("tutorial", {"suspend": False})
    status = world.wait_for_phase("Complete", "tutorial", seconds=180)
    assert [record["reason"] for record in status["history"]] == [
        "Disrupted",
        "Suspended",
        "Complete",
    ]
    assert (status["attempts"], status.get("failures", 0), status["disruptions"]) == (3, 0, 1)
    log = world.kubectl("logs", "job/tutorial-3").stdout
    assert f"resumed at epoch {status['history'][1]['checkpointEpoch']}" in log


def test_finished_job_is_gone_after_its_time_to_live(world: World) -> None:
    world.apply(sample("finetunejob", ttlSecondsAfterFinished=3))
    world.wait_for_phase("Complete", seconds=120)
    world.wait("nothing", lambda: not world.items("finetunejobs"), seconds=TOLD_SECONDS)
    world.wait("no children", lambda: not (world.items("jobs") or world.pods()), seconds=60)


@pytest.mark.slow
def test_stalled_run_is_ended_told_and_goes_on(world: World) -> None:
    world.apply(small(stallDeadlineSeconds=60))
    until_epoch(world, 2)
    found = subprocess.check_output(["pgrep", "-f", "finetune_trainer stage fit"], text=True)
    for pid in map(int, found.split()):
        os.kill(pid, signal.SIGSTOP)
    stopped = time.monotonic()
    failure = world.wait_for_failure("Stalled", "tutorial", seconds=60 + TOLD_SECONDS)
    assert time.monotonic() - stopped > 50
    assert "fit" in failure["message"]
    assert failure["hint"]
    status = world.wait_for_phase("Complete", "tutorial", seconds=180)
    assert [record["reason"] for record in status["history"]] == ["Stalled", "Complete"]


def until_epoch(world: World, epoch: int) -> None:
    """Wait for a checkpoint."""
    world.wait(
        f"epoch {epoch}",
        lambda: world.status("tutorial").get("checkpoint", {}).get("epoch", 0) >= epoch,
        seconds=200,
    )


def running(world: World) -> list[Object]:
    """Return the pods that run."""
    return [pod for pod in world.pods() if pod["status"]["phase"] == "Running"]
