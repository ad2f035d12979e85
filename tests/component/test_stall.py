"""A pod that answers /progress and does not work: the real operator asks it over HTTP."""

import datetime
import http.server
import json
import random
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.support.kubelet_world import KubeletWorld, ids_of
from tests.support.world import Object, condition, fine_tune_job

pytestmark = pytest.mark.timeout(90)


@contextmanager
def answering(body: Object) -> Iterator[str]:
    """Serve this /progress on port 8080 of an address of its own."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            content = json.dumps(body).encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: object) -> None:
            pass

    address = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}.{random.randint(1, 254)}"
    server = http.server.ThreadingHTTPServer((address, 8080), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield address
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def progress_of(pod: Object, job: Object, *, worked_seconds_ago: float) -> Object:
    worked = datetime.datetime.now(datetime.UTC) - datetime.timedelta(seconds=worked_seconds_ago)
    status = {"progressPercentage": 40, "lastUpdatedTime": worked.strftime("%Y-%m-%dT%H:%M:%SZ")}
    return {"job": ids_of(pod, job), "stage": "fit", "step": 7, "trainerStatus": status}


def test_stalled_attempt_is_deleted_and_the_next_one_starts_when_its_pod_is_gone(
    world: KubeletWorld,
) -> None:
    job = world.apply(fine_tune_job(stallDeadlineSeconds=60))
    pod = world.wait_for_pod()
    with answering(progress_of(pod, job, worked_seconds_ago=100)) as address:
        world.run(pod, address=address)
        failure = world.wait_for_failure("Stalled")
    assert "no progress for 60 s" in failure["message"]
    assert world.status()["failures"] == 1
    world.wait("its deletion", lambda: "deletionTimestamp" in world.pods()[0]["metadata"])
    assert "currentAttempt" not in world.status()
    world.take_away(pod)
    world.wait_for_pod(2)
    assert [ended["reason"] for ended in world.status()["history"]] == ["Stalled"]


def test_attempt_that_works_is_left_alone(world: KubeletWorld) -> None:
    job = world.apply(fine_tune_job(stallDeadlineSeconds=60))
    pod = world.wait_for_pod()
    with answering(progress_of(pod, job, worked_seconds_ago=5)) as address:
        world.run(pod, address=address)
        status = world.wait_for_phase("Training")
    assert condition(status, "MetricsAvailable")["status"] == "True"
    assert status["trainerStatus"]["progressPercentage"] == 40
    assert "history" not in status
