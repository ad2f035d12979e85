"""The main job: apply a manifest, get an accuracy, see it everywhere it should be."""

import json
import time

import pytest

from tests.demo.clusters import Cluster
from tests.e2e.conftest import directory_of, sample
from tests.e2e.correct_answers import count_correct
from tests.grafana import boards
from tests.prometheus import Prometheus
from tests.support.world import World, condition

SYSTEM = "finetune-system"


def test_sample_gives_the_accuracy_in_status_volume_and_prometheus(
    world: World, cluster: Cluster
) -> None:
    broken = sample("finetunejob", dataset={"source": {"uri": "pvc://photos/nowhere"}})
    broken["metadata"]["name"] = "broken"  # the dashboards show failures too
    world.apply(broken)
    world.wait_for_phase("Failed", "broken", seconds=60)
    start = time.monotonic()
    job = world.apply(sample("finetunejob"))
    with Prometheus(operator_address(world)) as prometheus:
        status = world.wait_for_phase("Complete", seconds=180)
        print(f"\nComplete after {time.monotonic() - start:.0f} s, accuracy {status['accuracy']}")
        assert float(status["accuracy"]) >= 0.83
        assert status["attempts"] == 1
        assert status["dataset"]["classes"] == 10
        labels = f'{{name="photos", namespace="{world.namespace}"}}'
        prometheus.wait_for(f"finetune_job_accuracy{labels} == {status['accuracy']}")
        for query in boards.queries("finetune-fleet", "finetune-operator"):
            if not query.may_be_empty:
                expression = boards.fill_in(query.expression, boards.ALL, seconds=60)
                assert prometheus.wait_for(expression), f"{query} has no data"
    model = directory_of(world, "models") / "photos" / job["metadata"]["uid"]
    assert json.loads((model / "metrics.json").read_text())["accuracy"] == float(status["accuracy"])
    assert _recounted(world, job) == status["accuracy"]
    assert status["accuracy"] in world.kubectl("get", "finetunejob", "photos").stdout


@pytest.mark.timeout(1400)  # half of the sample's epochs, while the other tests have the CPUs, too
def test_tutorial_survives_its_pod_and_counts_exactly(world: World) -> None:
    job = world.apply(sample("tutorial", training={"recipe": "tutorial", "epochs": 4}))
    first = world.wait_for_pod(1, "tutorial")
    world.wait_for_epoch(2, "tutorial", seconds=500)
    world.kubectl("delete", "pod", first["metadata"]["name"], "--wait=false")
    second = world.wait_for_pod(2, "tutorial", seconds=180)
    assert len([pod for pod in world.pods() if pod["status"]["phase"] == "Running"]) <= 1
    status = world.wait_for_phase("Complete", "tutorial", seconds=700)
    log = world.log(second)
    ended = status["history"][0]
    assert (ended["reason"], status.get("failures", 0)) == ("Interrupted", 0)
    assert f"resumed at epoch {ended['checkpointEpoch']}" in log
    assert "Epoch[3] Validation-accuracy=" in log
    assert "Epoch[0] " not in log
    assert _recounted(world, job) == status["accuracy"]
    assert condition(status, "Complete")["status"] == "True"


@pytest.fixture
def small_tutorial() -> dict[str, object]:
    """A run of some 20 seconds."""
    return sample("tutorial", dataset={"source": {"uri": "pvc://photos/small"}})


def test_job_finishes_once_when_the_operator_is_replaced(
    world: World, cluster: Cluster, small_tutorial: dict[str, object]
) -> None:
    world.apply(small_tutorial)
    world.wait_for_phase("Training", "tutorial", seconds=90)
    command = ("kubectl", "-n", SYSTEM, "delete", "pod", "--all")
    cluster.run(*command)
    status = world.wait_for_phase("Complete", "tutorial", seconds=180)
    assert status["attempts"] == 1
    assert len(world.items("jobs")) == 1
    assert status["accuracy"]


def test_deleted_job_leaves_no_pod(world: World, small_tutorial: dict[str, object]) -> None:
    world.apply(small_tutorial)
    world.wait_for_phase("Training", "tutorial", seconds=90)
    world.kubectl("delete", "finetunejob", "tutorial", "--wait=false")
    world.wait("no pods", lambda: not world.pods() and not world.items("jobs"), seconds=60)


def _recounted(world: World, job: dict[str, object]) -> str:
    metadata = job["metadata"]
    assert isinstance(metadata, dict)
    model = directory_of(world, "models") / metadata["name"] / metadata["uid"]
    digest = world.status(metadata["name"])["dataset"]["digest"]
    packed = directory_of(world, "workspace") / "packed" / digest
    correct, total = count_correct(model, packed / "val.rec")
    return f"{correct / total:.4f}"


def operator_address(world: World) -> str:
    """Return the address of the operator's metrics."""
    pods = world.api.get(f"/api/v1/namespaces/{SYSTEM}/pods")["items"]
    running = next(pod for pod in pods if pod["status"]["phase"] == "Running")
    return f"{running['status']['podIP']}:8080"
