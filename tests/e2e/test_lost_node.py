"""A node that is gone, and one that only seems to be: its pod is given up, the next attempt goes on
on another node, and what the old pod still writes does not reach it.
"""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster import cluster as node
from tests.cluster import images, processes
from tests.cluster.layout import NODES
from tests.demo.__main__ import install_operator
from tests.demo.clusters import Cluster
from tests.demo.clusters import node as start_node
from tests.e2e.conftest import GPUS, directory_of
from tests.e2e.test_faults import (
    TOLD_SECONDS,
    ends_when_deleted,
    long_run,
    process_of_stage,
    processes_of,
)
from tests.images.build import build
from tests.support.world import Object, World

pytestmark = [pytest.mark.slow]
FIRST, LOST = (each.name for each in NODES)
NODE_LOST_SECONDS = 10
GRACE_SECONDS = 5


@pytest.fixture(scope="module", autouse=True)
def _second_node(cluster: Cluster) -> Iterator[None]:
    """A second node with the trainer's image, and an operator on the first that waits less."""
    install_operator(cluster, f"settings.nodeLostSeconds={NODE_LOST_SECONDS}")
    node.up(node_count=2, gpus=GPUS)
    images.load(NODES[1], build("trainer").archive)
    yield
    node.drop_node(LOST)
    install_operator(start_node())
    node.set_gpus(GPUS)


def test_attempt_on_a_lost_node_goes_on_elsewhere(world: World) -> None:
    pod = _train_on_the_node_to_lose(world, "unlucky")
    node.stop_node(LOST)
    status = _wait_until_given_up(world, pod, "unlucky")
    assert repr(LOST) in status["failure"]["message"]
    assert "check the node" in status["failure"]["hint"]
    assert (status["disruptions"], status.get("failures", 0)) == (1, 0)
    second = world.wait_for_pod(2, "unlucky", seconds=TOLD_SECONDS)
    assert second["spec"]["nodeName"] == FIRST
    world.wait("resumed", lambda: "resumed at epoch" in world.log(second), seconds=90)
    ends_when_deleted(world, "unlucky")
    node.start_node(LOST)
    node.set_gpus(GPUS)


def test_pod_of_a_node_that_seems_lost_is_kept_out_of_the_run(world: World) -> None:
    first = _train_on_the_node_to_lose(world, "ghost")
    run = directory_of(world, "workspace") / "jobs" / world.job("ghost")["metadata"]["uid"]
    fit = _stop_between_checkpoints(first, run / "checkpoints")
    processes.end(f"{LOST}/kubelet")  # its containers stay
    _wait_until_given_up(world, first, "ghost")
    second = world.wait_for_pod(2, "ghost", seconds=TOLD_SECONDS)
    world.wait("resumed", lambda: "resumed at epoch" in world.log(second), seconds=90)
    os.kill(fit, signal.SIGCONT)  # it goes on to its next checkpoint
    world.wait("the old pod's own end", lambda: not _still_trains(first), seconds=90)
    assert f"Pod {second['metadata']['uid']} has taken over this run" in _log_on_disk(first)
    assert (run / "owner").read_text() == second["metadata"]["uid"]
    saved = world.status("ghost")["checkpoint"]["epoch"]
    world.wait("the next", lambda: world.status("ghost")["checkpoint"]["epoch"] > saved, seconds=60)
    assert len(world.status("ghost")["history"]) == 1
    node.start_node(LOST)
    node.set_gpus(GPUS)
    ends_when_deleted(world, "ghost")


def _train_on_the_node_to_lose(world: World, name: str) -> Object:
    """Start a job there; return its pod when it has saved something."""
    job = long_run(name)
    job["spec"]["trainer"] = {
        **job["spec"]["trainer"],
        "terminationGracePeriodSeconds": GRACE_SECONDS,
    }
    _close(world, FIRST, close=True)
    world.apply(job)
    pod = world.wait_for_pod(1, name, seconds=60)
    _close(world, FIRST, close=False)
    assert pod["spec"]["nodeName"] == LOST
    world.wait_for_epoch(1, name)
    return pod


def _wait_until_given_up(world: World, pod: Object, name: str) -> Object:
    """Return the status when it tells of it: 30 seconds after the cluster has given the pod up."""
    path = f"/api/v1/namespaces/{world.namespace}/pods/{pod['metadata']['name']}"
    world.wait(
        "the taint manager",
        lambda: "deletionTimestamp" in world.api.get(path)["metadata"],
        seconds=60,
    )
    waits = GRACE_SECONDS + NODE_LOST_SECONDS
    world.wait("the end", lambda: world.status(name).get("history"), seconds=waits + TOLD_SECONDS)
    status = world.status(name)
    assert [ended["reason"] for ended in status["history"]] == ["Disrupted"]
    return status


def _close(world: World, name: str, *, close: bool) -> None:
    world.api.merge(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": close or None}})


def _stop_between_checkpoints(pod: Object, checkpoints: Path) -> int:
    """Stop the process that trains, but not while it saves: its successor clears that away."""
    fit = process_of_stage(pod["metadata"]["uid"], "fit")
    while True:
        os.kill(fit, signal.SIGSTOP)
        if not any(checkpoints.glob(".*")):
            return fit
        os.kill(fit, signal.SIGCONT)
        time.sleep(0.3)


def _still_trains(pod: Object) -> bool:
    """Whether a process of the trainer runs in the pod, whatever the API server says."""
    return any(processes_of(pod["metadata"]["uid"], b"finetune_trainer"))


def _log_on_disk(pod: Object) -> str:
    """Read what a container wrote whose kubelet is gone."""
    directory = NODES[1].directory / "pod-logs"
    logs = directory.glob(f"*_{pod['metadata']['uid']}/*/*.log")
    return "".join(log.read_text(errors="replace") for log in logs)
