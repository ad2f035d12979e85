"""A node that is lost in the middle of a run, with its kubelet alone or with all that ran on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import cluster as nodes
from tests.cluster import images, processes
from tests.cluster.cgroups import end_containers
from tests.cluster.layout import NODES, Node
from tests.demo.clusters import Cluster
from tests.e2e.test_lifecycle import small, until_epoch
from tests.images.build import build
from tests.world import World

FIRST, SECOND = NODES[:2]
SOON = [
    {"key": f"node.kubernetes.io/{taint}", "operator": "Exists", "effect": "NoExecute"}
    | {"tolerationSeconds": 2}
    for taint in ("unreachable", "not-ready")
]


@pytest.fixture
def second_node(world: World, cluster: Cluster) -> Iterator[Node]:
    """A second node, the only one that takes new pods."""
    nodes.up(node_count=2)
    images.load(SECOND, build("trainer").archive)
    _cordon(world, FIRST, wish=True)
    yield SECOND
    _cordon(world, FIRST, wish=False)
    processes.end(SECOND.name)
    end_containers(SECOND.cgroup)
    nodes.start_node(SECOND.name)
    _cordon(world, SECOND, wish=True)  # the other tests know of one node


@pytest.mark.slow
@pytest.mark.parametrize("all_of_it", [True, False], ids=["power cut", "kubelet only"])
def test_run_on_a_lost_node_goes_on_elsewhere_and_the_lost_pod_writes_nothing(
    world: World, second_node: Node, all_of_it: bool
) -> None:
    trainer = {"tolerations": SOON, "terminationGracePeriodSeconds": 5, "resources": {}}
    job = small(trainer=trainer, training={"recipe": "tutorial", "epochs": 200})
    world.apply(job)
    until_epoch(world, 2)
    _cordon(world, FIRST, wish=False)
    if all_of_it:
        nodes.stop_node(second_node.name)
    else:
        processes.end(f"{second_node.name}/kubelet")
    pod = world.wait_for_pod(2, "tutorial", seconds=240)
    assert pod["spec"]["nodeName"] == FIRST.name
    status = world.status("tutorial")
    assert [record["reason"] for record in status["history"]] == ["Disrupted"]
    assert (status.get("failures", 0), status["disruptions"]) == (0, 1)
    reached = status["checkpoint"]["epoch"]
    until_epoch(world, reached + 2)
    if not all_of_it:
        _wait_for_the_fence(world)
    log = world.kubectl("logs", pod["metadata"]["name"]).stdout
    assert "resumed at epoch" in log


def _wait_for_the_fence(world: World) -> None:
    """The lost trainer ends by itself when it finds that the run is another's."""

    def is_alone() -> bool:
        return not any(map(_is_trainer, processes.find(SECOND.name)))

    world.wait("the lost trainer to end", is_alone, seconds=60)


def _is_trainer(pid: int) -> bool:
    try:
        return b"finetune_trainer" in Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return False


def _cordon(world: World, node: Node, *, wish: bool) -> None:
    world.api.merge(f"/api/v1/nodes/{node.name}", {"spec": {"unschedulable": wish}})
