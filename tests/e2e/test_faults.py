"""What goes wrong around a job on a real node is told within seconds, and leaves no GPU taken.

The cases run at the same time, each on a FineTuneJob of its own; the tests collect them.
"""

import contextlib
import os
import signal
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import pytest

from tests.cluster import cluster as node
from tests.cluster.layout import KUBECONFIG
from tests.e2e.conftest import sample
from tests.support.world import Object, World, condition

TOLD_SECONDS = 30  # after the cluster knows
GPU = "nvidia.com/gpu"
# One that the pod holds and the trainer does not use: a stand-in cannot compute.
HOLDS_GPU = {
    "gpusPerNode": 0,
    "gpuResourceName": "example.com/none",
    "resources": {"requests": {"cpu": "100m"}, "limits": {GPU: "1"}},
    "terminationGracePeriodSeconds": 20,
}
CASES: dict[str, Callable[[World], None]] = {}


def case(function: Callable[[World], None]) -> Callable[[World], None]:
    CASES[function.__name__.replace("_", " ")] = function
    return function


@case
def missing_secret_is_named(world: World) -> None:
    source = {"uri": "https://example.test/photos.zip", "secretRef": {"name": "bucket-key"}}
    spec = {"dataset": {"source": source}, "startupDeadlineSeconds": 20, "trainer": HOLDS_GPU}
    world.apply(named(sample("finetunejob", **spec), "secret"))
    world.wait("the kubelet's word", lambda: _waits(world, "secret"), seconds=60)
    failure = world.wait_for_failure("ConfigError", "secret", seconds=TOLD_SECONDS)
    assert '"bucket-key"' in failure["message"]
    assert "Secret" in failure["hint"]
    status = world.wait_for_phase("Failed", "secret", seconds=60)
    assert condition(status, "Failed")["reason"] == "StartupDeadlineExceeded"
    assert '"bucket-key"' in status["failure"]["message"]
    holds_nothing(world, "secret")


@case
def exceeded_quota_is_told(world: World) -> None:
    api, namespace = world.api, f"quota-{uuid.uuid4().hex[:6]}"
    labels = {"pod-security.kubernetes.io/enforce": "restricted"}
    api.request("POST", "/api/v1/namespaces", {"metadata": {"name": namespace, "labels": labels}})
    quota = {"metadata": {"name": "gpus"}, "spec": {"hard": {f"requests.{GPU}": "1"}}}
    api.request("POST", f"/api/v1/namespaces/{namespace}/resourcequotas", quota)
    other = World(api, kubeconfig=KUBECONFIG, namespace=namespace)
    other.apply(sample("gpu", trainer={"gpusPerNode": 2}, dataset=_inline()))
    other.wait("the Job controller's word", lambda: other.items("events"), seconds=60)
    failure = other.wait_for_failure("CreateRefused", "gpu", seconds=TOLD_SECONDS)
    assert "exceeded quota: gpus" in failure["message"]
    assert "trainer.gpusPerNode" in failure["hint"]
    other.delete("gpu")
    other.wait("no Jobs", lambda: not other.items("jobs"), seconds=60)
    api.request("DELETE", f"/api/v1/namespaces/{namespace}")


@case
def evicted_pod_is_replaced_and_costs_no_failure(world: World) -> None:
    world.apply(long_run("evicted"))
    pod = world.wait_for_pod(1, "evicted", seconds=60)["metadata"]["name"]
    world.wait_for_epoch(1, "evicted")
    eviction = {
        "apiVersion": "policy/v1",
        "kind": "Eviction",
        "metadata": {"name": pod, "namespace": world.namespace},
    }
    world.api.request("POST", f"/api/v1/namespaces/{world.namespace}/pods/{pod}/eviction", eviction)
    world.wait("its end", lambda: _pod_has_ended(world, pod), seconds=60)
    world.wait_for_pod(2, "evicted", seconds=TOLD_SECONDS)
    # The Job is made before the status says why: the pod may be quicker.
    world.wait("its history", lambda: world.status("evicted").get("history"))
    status = world.status("evicted")
    assert [ended["reason"] for ended in status["history"]] == ["Disrupted"]
    assert (status["disruptions"], status.get("failures", 0)) == (1, 0)
    # The next attempt's status has taken the place of this one's failure.
    event = world.wait("its Event", lambda: _event_about(world, "evicted", "Disrupted"))
    assert "Attempt 1 ended" in event["message"]
    assert "evict" in event["message"].lower()
    ends_when_deleted(world, "evicted")


@case
def job_beyond_its_deadline_is_ended(world: World) -> None:
    world.apply(named(long_run("late"), "late", activeDeadlineSeconds=20))
    world.wait_for_pod(1, "late", seconds=60)
    status = world.wait_for_phase("Failed", "late", seconds=20 + TOLD_SECONDS)
    assert condition(status, "Failed")["reason"] == "DeadlineExceeded"
    assert "activeDeadlineSeconds (20 s)" in status["failure"]["message"]
    assert "activeDeadlineSeconds" in status["failure"]["hint"]
    holds_nothing(world, "late")


@case
def job_goes_with_its_children_when_its_time_to_live_is_over(world: World) -> None:
    dataset = {"source": {"uri": "pvc://photos/nowhere"}}
    spec = {"dataset": dataset, "trainer": HOLDS_GPU, "ttlSecondsAfterFinished": 3}
    world.apply(named(sample("finetunejob", **spec), "brief"))
    world.wait_for_phase("Failed", "brief", seconds=90)
    world.wait("no FineTuneJob", lambda: not _is_there(world, "brief"), seconds=TOLD_SECONDS)
    world.wait("no children", lambda: not pods_of(world, "brief"), seconds=TOLD_SECONDS)
    assert not [j for j in world.items("jobs") if j["metadata"]["name"].startswith("brief-")]


@case
def suspended_job_gives_its_gpu_back_and_goes_on_where_it_was(world: World) -> None:
    world.apply(long_run("paused"))
    world.wait_for_epoch(2, "paused")
    world.change("paused", {"suspend": True})
    status = world.wait(
        "Suspended", lambda: _if_condition(world, "paused", "Suspended"), seconds=60
    )
    assert status["phase"] == "Suspended"
    saved = status["checkpoint"]["epoch"]
    assert saved >= 2
    assert [ended["reason"] for ended in status["history"]] == ["Suspended"]
    holds_nothing(world, "paused")
    world.change("paused", {"suspend": False})
    pod = world.wait_for_pod(2, "paused", seconds=TOLD_SECONDS)["metadata"]["name"]
    world.wait_for_epoch(saved + 1, "paused")
    log = world.kubectl("logs", pod).stdout
    assert f"resumed at epoch {saved}" in log
    assert "Epoch[0] " not in log
    assert world.status("paused").get("failures", 0) == 0
    ends_when_deleted(world, "paused")


@pytest.fixture(scope="module")
def outcomes(namespace: str) -> Iterator[dict[str, Future[None]]]:
    """All cases, running."""
    world = World(node.connect(), kubeconfig=KUBECONFIG, namespace=namespace)
    with ThreadPoolExecutor(len(CASES)) as pool:
        yield {name: pool.submit(run, world) for name, run in CASES.items()}
    world.kubectl("delete", "finetunejobs", "--all", "--timeout=180s")
    world.wait("no pods", lambda: not world.pods(), seconds=180)


@pytest.mark.parametrize("name", CASES)
def test_fault_is_told_and_leaves_nothing(outcomes: dict[str, Future[None]], name: str) -> None:
    outcomes[name].result()


@pytest.mark.slow
def test_trainer_that_hangs_is_ended_and_started_again(world: World) -> None:
    world.apply(named(long_run("hangs"), "hangs", stallDeadlineSeconds=60))
    pod = world.wait_for_pod(1, "hangs", seconds=60)
    world.wait_for_epoch(1, "hangs")
    os.kill(process_of_stage(pod["metadata"]["uid"], "fit"), signal.SIGSTOP)
    world.wait("its end", lambda: world.status("hangs").get("history"), seconds=60 + TOLD_SECONDS)
    status = world.status("hangs")
    assert [ended["reason"] for ended in status["history"]] == ["Stalled"]
    assert status["failures"] == 1
    assert "stage fit" in status["failure"]["message"].lower()
    assert status["failure"]["hint"]
    pod = world.wait_for_pod(2, "hangs", seconds=2 * TOLD_SECONDS)
    world.wait("resumed", lambda: "resumed at epoch" in world.log(pod), seconds=90)
    ends_when_deleted(world, "hangs")


@pytest.mark.slow
def test_pod_that_fills_its_disk_is_evicted_and_says_so(world: World) -> None:
    limits = {GPU: "1", "ephemeral-storage": "1Mi"}
    resources = {"requests": {"cpu": "100m"}, "limits": limits}
    job = named(long_run("full"), "full")
    job["spec"]["trainer"] = HOLDS_GPU | {"resources": resources}
    del job["spec"]["workspace"]  # then the photos are packed on the node's own disk
    world.apply(job)
    world.wait("its end", lambda: world.status("full").get("history"), seconds=180)
    status = world.status("full")
    assert status["history"][0]["reason"] == "Disrupted"
    assert "ephemeral" in status["history"][0]["message"]
    event = world.wait("its Event", lambda: _event_about(world, "full", "Disrupted"))
    assert "trainer.resources.limits.ephemeral-storage" in event["message"]
    ends_when_deleted(world, "full")


def long_run(name: str) -> Object:
    """Return a job that holds a GPU and trains for longer than any test waits."""
    training = {"recipe": "tutorial", "epochs": 200}
    return named(sample("tutorial", dataset=_inline(), training=training, trainer=HOLDS_GPU), name)


def named(job: Object, name: str, **spec: object) -> Object:
    """Give a job another name, and more to its spec."""
    return {**job, "metadata": {"name": name}, "spec": {**job["spec"], **spec}}


def pods_of(world: World, name: str) -> list[Object]:
    """Return the pods of a FineTuneJob."""
    label = "finetune-operator.dev/job-name"
    return [pod for pod in world.pods() if pod["metadata"]["labels"].get(label) == name]


def holds_nothing(world: World, name: str) -> None:
    """Wait until no pod of the job holds a GPU or may run."""

    def held() -> list[Object]:
        return [p for p in pods_of(world, name) if p["status"]["phase"] in ("Pending", "Running")]

    world.wait(f"no running pod of {name}", lambda: not held(), seconds=TOLD_SECONDS)


def ends_when_deleted(world: World, name: str) -> None:
    """Delete a job that runs; nothing of it stays."""
    world.delete(name)
    world.wait(f"no pods of {name}", lambda: not pods_of(world, name), seconds=60)


def _inline() -> Object:
    return {"source": {"uri": "pvc://photos/small"}, "prepare": "Inline"}


def _waits(world: World, name: str) -> bool:
    statuses = [s for p in pods_of(world, name) for s in p["status"].get("containerStatuses", [])]
    reasons = [each["state"].get("waiting", {}).get("reason") for each in statuses]
    return "CreateContainerConfigError" in reasons


def _event_about(world: World, job: str, reason: str) -> Object | None:
    for event in world.items("events"):
        if (event["involvedObject"]["name"], event["reason"]) == (job, reason):
            return event
    return None


def _if_condition(world: World, name: str, type: str) -> Object | None:
    status = world.status(name)
    return status if condition(status, type).get("status") == "True" else None


def _pod_has_ended(world: World, name: str) -> bool:
    pods = {pod["metadata"]["name"]: pod["status"]["phase"] for pod in world.pods()}
    return pods.get(name) in (None, "Succeeded", "Failed")


def _is_there(world: World, name: str) -> bool:
    return name in [job["metadata"]["name"] for job in world.items("finetunejobs")]


def process_of_stage(pod_uid: str, stage: str) -> int:
    """Return the process of a pod on this machine that runs a stage."""
    (pid,) = processes_of(pod_uid, f"\0{stage}=finetune_trainer.".encode())
    return pid


def processes_of(pod_uid: str, command: bytes) -> Iterator[int]:
    """Yield the processes of a pod on this machine that have this in their command lines."""
    for entry in Path("/proc").iterdir():
        with contextlib.suppress(OSError):  # it ended meanwhile, or is no process
            inside = entry.name.isdigit() and pod_uid in (entry / "cgroup").read_text()
            if inside and command in (entry / "cmdline").read_bytes():
                yield int(entry.name)
