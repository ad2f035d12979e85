"""The status at a real API server: when it is written, who sees it how, what cannot be read."""

import asyncio
import datetime
import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.cluster.client import ApiError
from tests.cluster.controlplane import ControlPlane
from tests.support.faults import queue
from tests.support.kubelet_world import KubeletWorld, ids_of
from tests.support.operator_process import OperatorProcess
from tests.support.release import Release
from tests.support.world import FTJS, Object, World, condition, fine_tune_job

pytestmark = pytest.mark.timeout(90)
CRD = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions/finetunejobs.finetune-operator.dev"


class Trainer:
    """A trainer whose rate is another in each answer."""

    def __init__(self, address: str, ids: Object) -> None:
        self.percentage = 40
        self._answers = 0
        trainer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                content = json.dumps(trainer.answer(ids)).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer((address, 8080), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever)
        self._thread.start()

    def answer(self, ids: Object) -> Object:
        self._answers += 1
        figures = {
            "progressPercentage": self.percentage,
            "estimatedRemainingSeconds": 10_000 - self._answers,
            "metrics": [{"name": "images-per-second", "value": f"{self._answers}"}],
            "lastUpdatedTime": datetime.datetime.now(datetime.UTC).isoformat(),
        }
        return {"job": ids, "stage": "fit", "step": self._answers, "trainerStatus": figures}

    def wait_for_answers(self, count: int) -> None:
        until = self._answers + count
        deadline = time.monotonic() + 30
        while self._answers < until:
            assert time.monotonic() < deadline, "it is not asked any more"
            time.sleep(0.1)

    def close(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()


@pytest.fixture(scope="module")
def reader(bare_plane: ControlPlane) -> Release:
    """The chart in a control plane without controllers, and without an operator."""
    return Release(bare_plane, "reader")


@pytest.fixture
def trainer(world: KubeletWorld) -> Iterator[Trainer]:
    """A trainer of the FineTuneJob photos, which trains."""
    job = world.apply(fine_tune_job())
    pod = world.wait_for_pod()
    address = f"127.91.{id(world) >> 8 & 255}.{1 + id(world) % 200}"
    playing = Trainer(address, ids_of(pod, job))
    world.run(pod, address=address)
    try:
        world.wait_for_phase("Training")
        yield playing
    finally:
        playing.close()


def test_rate_of_a_running_trainer_is_not_written_and_a_percentage_is(
    world: KubeletWorld, trainer: Trainer
) -> None:
    trainer.wait_for_answers(2)
    before = world.job()["metadata"]["resourceVersion"]
    trainer.wait_for_answers(8)
    assert world.job()["metadata"]["resourceVersion"] == before
    trainer.percentage = 41

    def shown() -> bool:
        return bool(world.status()["trainerStatus"]["progressPercentage"] == 41)

    world.wait("the percentage", shown)
    assert condition(world.status(), "Reconciling")["status"] == "True"


def test_columns_show_where_a_job_waits_or_runs_and_why_it_failed(world: KubeletWorld) -> None:
    queued = fine_tune_job("queued")
    queued["metadata"]["labels"] = {queue.LABEL: "night"}
    for job in (queued, fine_tune_job("runs"), fine_tune_job("fails", backoffLimit=0)):
        world.apply(job)
    world.run(world.wait_for_pod(name="runs"))
    world.exit(world.wait_for_pod(name="fails"), 65)
    world.wait_for_phase("Failed", "fails")
    world.wait("the node", lambda: "node" in world.status("runs").get("currentAttempt", {}))
    world.wait_for_phase("Queued", "queued")
    figures = {"metrics": [{"name": "loss", "value": "0.4"}, {"name": "epoch", "value": "3"}]}
    path = f"{FTJS}/namespaces/{world.namespace}/finetunejobs/fails/status"
    world.api.merge(path, {"status": {"trainerStatus": figures}})
    table = world.kubectl("get", "finetunejobs", "-o", "wide").stdout.splitlines()
    heads = table[0].split()
    assert heads[:7] == ["NAME", "PHASE", "ACCURACY", "PROGRESS", "ETA", "ATTEMPTS", "AGE"]

    def cell(name: str, head: str) -> str:
        (row,) = (line for line in table if line.startswith(f"{name} "))
        return row[table[0].index(head) :].split("  ")[0].strip()

    assert cell("queued", "QUEUE") == "night"
    assert cell("runs", "NODE") == "node-a"
    assert (cell("fails", "REASON"), cell("fails", "EPOCH")) == ("InvalidData", "3")
    assert "exited with code 65" in cell("fails", "MESSAGE")


def test_job_that_no_operator_has_seen_has_not_observed_its_generation(
    bare_plane: ControlPlane, reader: Release
) -> None:
    bare_plane.add_namespace("unseen")
    world = World(bare_plane.api, kubeconfig=bare_plane.kubeconfig, namespace="unseen")
    world.apply(fine_tune_job())
    assert world.job()["status"] == {"observedGeneration": -1}
    path = f"{FTJS}/namespaces/unseen/finetunejobs"
    found = bare_plane.api.get(f"{path}?fieldSelector=status.phase%3DFailed")
    assert found["items"] == []
    merge = {"status": {"conditions": [{"type": "Failed", "status": "True"}]}}
    with pytest.raises(ApiError, match="lastTransitionTime: Required value"):
        bare_plane.api.merge(f"{path}/photos/status", merge)
    bare_plane.api.merge(f"{path}/photos/status", {"status": {"phase": "Failed"}})
    found = bare_plane.api.get(f"{path}?fieldSelector=status.phase%3DFailed")
    assert len(found["items"]) == 1


async def test_job_that_cannot_be_read_stops_no_other_and_makes_no_watch_stale(
    bare_plane: ControlPlane, reader: Release, tmp_path: Path
) -> None:
    bare_plane.add_namespace("unreadable")
    world = World(bare_plane.api, kubeconfig=bare_plane.kubeconfig, namespace="unreadable")
    _let_status_be_anything(bare_plane)
    world.apply(fine_tune_job("broken"))
    path = f"{FTJS}/namespaces/unreadable/finetunejobs/broken/status"
    bare_plane.api.merge(path, {"status": {"attempts": "three"}})
    settings = {"namespaces": "unreadable", "sweep_interval_seconds": "1"}
    with OperatorProcess(reader.write_kubeconfig(tmp_path / "kubeconfig"), **settings) as process:
        world.apply(fine_tune_job())
        world.wait("another job's phase", lambda: world.status().get("phase"))
        await asyncio.sleep(4)  # twice the patience with a stale watch
        assert process.get("/healthz") == "ok"
        assert "finetune_operator_unreadable_jobs 1.0" in process.get("/metrics")
        assert process.log().count("unreadable/broken cannot be read") == 1
    (event,) = [e for e in world.items("events") if e["reason"] == "Unreadable"]
    assert event["involvedObject"]["name"] == "broken"
    assert "$.status.attempts" in event["message"]


def _let_status_be_anything(plane: ControlPlane) -> None:
    """Change the CRD to what a newer one may be."""
    crd = plane.api.get(CRD)
    schema = crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"]
    schema["properties"]["status"]["properties"] = {}
    schema["properties"]["status"]["x-kubernetes-preserve-unknown-fields"] = True
    del crd["spec"]["versions"][0]["additionalPrinterColumns"]
    del crd["spec"]["versions"][0]["selectableFields"]
    plane.api.request("PUT", CRD, crd)
