"""Jobs that succeed, fail, are retried, wait, stall and train as a gang, while a Prometheus scrapes
the operator and the trainers' pods. From this run the documentation's pictures are drawn.
"""

import contextlib
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.cluster.client import Api
from tests.e2e.conftest import sample
from tests.e2e.test_faults import named, process_of_stage
from tests.prometheus import discovered
from tests.support.world import Object, World

CURVE = "flowers"
"""The job whose learning curve is looked at."""
SMALL = {"source": {"uri": "pvc://photos/small"}, "prepare": "Inline"}
EPOCHS = 8


@contextlib.contextmanager
def trainers_of(api: Api, file: Path) -> Iterator[None]:
    """Keep a file of what Prometheus would discover of the trainers' pods while the context lasts:
    Debian's Prometheus does not know Kubernetes.
    """
    stop = threading.Event()

    def follow() -> None:
        while not stop.wait(1):
            path = "/api/v1/pods?labelSelector=finetune-operator.dev%2Fjob-uid"
            targets = [target for pod in api.get(path)["items"] for target in _targets(pod)]
            draft = file.with_suffix(".draft")
            draft.write_text(json.dumps(targets))
            draft.replace(file)

    file.write_text("[]")
    follower = threading.Thread(target=follow)
    follower.start()
    try:
        yield
    finally:
        stop.set()
        follower.join()


def _targets(pod: Object) -> Iterator[Object]:
    metadata, status = pod["metadata"], pod["status"]
    if status["phase"] != "Running":
        return
    ready = any(c["type"] == "Ready" and c["status"] == "True" for c in status["conditions"])
    for container in pod["spec"]["containers"]:
        for port in container.get("ports", ()):
            labels = discovered(
                metadata["labels"],
                namespace=metadata["namespace"],
                pod_name=metadata["name"],
                pod_ready=str(ready).lower(),
                pod_container_name=container["name"],
                pod_container_port_name=port["name"],
            )
            address = f"{status['podIP']}:{port['containerPort']}"
            yield {"targets": [address], "labels": labels}


def play(world: World) -> None:
    """Play all jobs to their ends; those that wait still wait then."""
    world.apply(_without_photos("bark"))
    world.apply(_too_large("cones"))
    world.wait_for_phase("Failed", "bark", seconds=90)
    _queue(world, "leaves")
    _train(world)
    _fail(world)
    _stall(world)
    _train_gang(world)


def _train(world: World) -> None:
    """Let a job crash once and go on."""
    training = {"recipe": "tutorial", "epochs": EPOCHS}
    world.apply(named(sample("tutorial", training=training), CURVE))
    _crash(world, CURVE, epoch=3)
    world.wait_for_phase("Complete", CURVE, seconds=900)


def _fail(world: World) -> None:
    """Let a job crash as often as it may."""
    world.apply(_small("mushrooms", epochs=12, backoffLimit=0))
    _crash(world, "mushrooms", epoch=2)
    world.wait_for_phase("Failed", "mushrooms", seconds=120)


def _crash(world: World, name: str, *, epoch: int) -> None:
    pod = world.wait_for_pod(1, name, seconds=60)
    world.wait_for_epoch(epoch, name)
    os.kill(process_of_stage(pod["metadata"]["uid"], "fit"), signal.SIGSEGV)


def _stall(world: World) -> None:
    world.apply(_small("moss", epochs=12, stallDeadlineSeconds=60))
    pod = world.wait_for_pod(1, "moss", seconds=60)
    world.wait_for_epoch(2, "moss")
    os.kill(process_of_stage(pod["metadata"]["uid"], "fit"), signal.SIGSTOP)
    world.wait_for_phase("Complete", "moss", seconds=600)


def _train_gang(world: World) -> None:
    job = _small("ferns", epochs=10)
    job["spec"]["trainer"]["numNodes"] = 2
    world.apply(job)
    world.wait_for_phase("Complete", "ferns", seconds=600)


def _small(name: str, *, epochs: int, **spec: object) -> Object:
    trainer = {"gpusPerNode": 0, "resources": {"requests": {"cpu": "100m"}}}
    training = {"recipe": "tutorial", "epochs": epochs}
    job = sample("tutorial", dataset=SMALL, training=training, trainer=trainer)
    return named(job, name, **spec)


def _queue(world: World, name: str) -> None:
    """Let a job be taken back by its queue, as Kueue does it, and wait there."""
    job = _small(name, epochs=100)
    job["metadata"]["labels"] = {"kueue.x-k8s.io/queue-name": "night"}
    world.apply(job)
    world.wait_for_pod(1, name, seconds=60)
    path = f"/apis/batch/v1/namespaces/{world.namespace}/jobs/{name}-1"
    world.api.merge(path, {"spec": {"suspend": True}})
    world.wait_for_phase("Queued", name, seconds=120)


def _without_photos(name: str) -> Object:
    return named(sample("finetunejob", dataset={"source": {"uri": "pvc://photos/nowhere"}}), name)


def _too_large(name: str) -> Object:
    """Return a job that no node has the GPUs for."""
    return named(sample("gpu", trainer={"gpusPerNode": 8}, dataset=SMALL), name)
