"""The node, the chart and the volumes, once for all e2e tests; a FineTuneJob name for each."""

import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests import demo_photos
from tests.cluster import cluster as node
from tests.cluster import volumes
from tests.cluster.layout import KUBECONFIG, VOLUMES
from tests.demo.__main__ import install_operator
from tests.demo.clusters import Cluster
from tests.demo.clusters import node as start_node
from tests.e2e import photos
from tests.support.world import Object, World

GPUS = 4
SAMPLES = Path("deploy/samples")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Everything here needs root and the node."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.node)
            item.add_marker(pytest.mark.timeout(600))


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """The node with the images and the operator; a node that was down before is taken down."""
    was_up = bool(node.running_nodes())
    cluster = start_node()
    node.set_gpus(GPUS)
    install_operator(cluster)
    yield cluster
    if not was_up:
        node.down()


@pytest.fixture(scope="session")
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace that enforces the restricted pod security standard, with three filled volumes."""
    api = node.connect()
    volumes.recycle(api)
    name = f"e2e-{uuid.uuid4().hex[:6]}"
    metadata = {"name": name, "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    api.request("POST", "/api/v1/namespaces", {"metadata": metadata})
    for claim in ("photos", "workspace", "models"):
        size = {"requests": {"storage": "1Gi"}}
        spec = {"accessModes": ["ReadWriteMany"], "resources": size}
        path = f"/api/v1/namespaces/{name}/persistentvolumeclaims"
        api.request("POST", path, {"metadata": {"name": claim}, "spec": spec})
    world = World(api, kubeconfig=KUBECONFIG, namespace=name)
    demo_photos.lay_out(directory_of(world, "photos") / "demo")
    photos.write_hostile(directory_of(world, "photos") / "hostile")
    photos.write_small(directory_of(world, "photos") / "small")
    photos.write_small(directory_of(world, "photos") / "one-class", classes=1)
    yield name
    world.kubectl("delete", "namespace", name, "--timeout=120s")
    volumes.recycle(api)


@pytest.fixture
def world(namespace: str) -> Iterator[World]:
    """The namespace; what a test leaves in it is deleted."""
    world = World(node.connect(), kubeconfig=KUBECONFIG, namespace=namespace)
    yield world
    world.kubectl("delete", "finetunejobs", "--all", "--timeout=180s")
    world.wait("no pods", lambda: not world.pods(), seconds=180)


def directory_of(world: World, claim: str) -> Path:
    """Return the folder on this machine that the claim's volume is."""
    path = f"/api/v1/namespaces/{world.namespace}/persistentvolumeclaims/{claim}"
    volume = world.wait(f"claim {claim}", lambda: world.api.get(path)["spec"].get("volumeName"))
    return VOLUMES / str(volume)


def empty(world: World, claim: str) -> None:
    """Remove what earlier tests left in a volume."""
    for path in directory_of(world, claim).iterdir():
        shutil.rmtree(path)


def sample(name: str, **spec: object) -> Object:
    """Return a sample manifest over the demo photos; keywords replace parts of its spec."""
    job: Object = yaml.safe_load((SAMPLES / f"{name}.yaml").read_text())
    job["spec"]["dataset"]["source"]["uri"] = "pvc://photos/demo"
    job["spec"] |= spec
    return job
