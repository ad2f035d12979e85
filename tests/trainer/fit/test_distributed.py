"""Gangs of two pods on the loopback, with one workspace: real supervisors, and real MXNet in the
tests of the fit.
"""

import contextlib
import os
import re
import signal
import socket
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from finetune_trainer.contract import ExitCode
from finetune_trainer.model.network import load
from finetune_trainer.run.history import HISTORY, read

from tests.trainer.support.pods import Pod, make_job, start_pod

TRAINING: dict[str, Any] = {
    "recipe": "tutorial",
    "batchSizePerDevice": 4,
    "optimizer": {"momentum": "0.9"},
}
WAIT = "fit=save_on_sigterm"
"""A fit without MXNet."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def start_gang(
    root: Path, *stages: str, attempt: int = 1, epochs: int = 2, **environment: str
) -> list[Pod]:
    """Start both pods; without `stages`, with the stages of gang_stages."""
    job = {"attempt": attempt, "training": TRAINING | {"epochs": epochs}}
    environment["FINETUNE_GANG_PORT"] = str(free_port())
    return [start_member(root, *stages, index=i, job=job, **environment) for i in (0, 1)]


def start_member(
    root: Path, *stages: str, index: int, job: dict[str, Any], **environment: str
) -> Pod:
    directory = root / f"pod-{index}"
    directory.mkdir(parents=True, exist_ok=True)
    settings = {
        "FINETUNE_WORKSPACE": str(root / "workspace"),
        "FINETUNE_NODES": "2",
        "JOB_COMPLETION_INDEX": str(index),
        "FINETUNE_COORDINATOR": "127.0.0.1",
        "FINETUNE_GANG_PORT": str(free_port()),
        "FINETUNE_PEER_SECONDS": "3",
    }
    return start_pod(
        directory,
        *stages,
        module="" if stages else "tests.trainer.support.gang_stages",
        job=make_job(**{"podUid": f"pod-{index} of {job.get('attempt', 1)}"} | job),
        **settings | environment,
    )


def job_directory(root: Path) -> Path:
    return root / "workspace/jobs" / str(make_job()["uid"])


def weights(pod: Pod) -> str:
    found = re.search(r"weights of this pod, the same on all: (\w+)", pod.log)
    assert found, pod.log
    return found[1]


def descendants(pid: int) -> list[int]:
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *(found for child in map(int, children) for found in descendants(child))]


def send_to_all(pod: Pod, number: signal.Signals) -> None:
    for pid in descendants(pod.process.pid):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def kill(pod: Pod) -> None:
    """Kill the container without any message, as the loss of its node does."""
    send_to_all(pod, signal.SIGKILL)
    pod.wait()


def message(pod: Pod) -> str:
    assert pod.termination.error is not None
    return pod.termination.error.message


@pytest.mark.parametrize(
    ("settings", "share", "known"),
    [
        ({"optimizer": {"name": "adam"}}, {"batchSizePerDevice": 16}, ""),
        (
            {"optimizer": {"learningRate": "0.5"}, "gradientClipping": "0.05"},
            {"batchSizePerDevice": 8, "gradientAccumulation": 2},
            "half of the classes",
        ),
    ],
)
def test_a_gang_gives_what_one_pod_gives_with_the_batch_of_all(
    settings: dict[str, Any], share: dict[str, Any], known: str, tmp_path: Path
) -> None:
    whole = {"recipe": "tutorial", "epochs": 6} | settings
    job = {"training": whole | share}
    environment = {"PLAIN": "1", "KNOWN": known}
    gang = environment | {"FINETUNE_GANG_PORT": str(free_port())}
    leader, follower = (start_member(tmp_path, index=i, job=job, **gang) for i in (0, 1))
    job = {"training": whole | {"batchSizePerDevice": 32}}
    environment["FINETUNE_NODES"] = "1"
    alone = start_member(tmp_path / "1", index=0, job=job, **environment)
    assert [pod.wait() for pod in (leader, follower, alone)] == [0] * 3, leader.log
    assert weights(leader) == weights(follower)
    found, start = (
        load(job_directory(tmp_path) / "best"),
        load(tmp_path / "workspace/laid-out/jobs/uid-1/model"),
    )
    for name, value in load(job_directory(tmp_path / "1") / "best").args.items():
        np.testing.assert_allclose(found.args[name].asnumpy(), value.asnumpy(), atol=1e-5)
    moved = found.args["hidden_weight"] - start.args["hidden_weight"]
    assert np.abs(moved.asnumpy()).max() > 0.001
    # The leader alone writes and reports.
    assert leader.termination.result is not None
    assert follower.termination.result is None
    assert follower.termination.error is None
    assert (job_directory(tmp_path) / "owner").read_text() == "pod-0 of 1"
    assert "Validation-accuracy" not in follower.log
    epochs = read(job_directory(tmp_path) / HISTORY)
    assert [row.epoch for row in epochs] == [1, 2, 3, 4, 5, 6]
    assert all(row.learning_rate and row.images_per_second for row in epochs)


@pytest.mark.slow
def test_a_gang_that_lost_a_pod_resumes_with_the_bits_of_one_that_did_not(tmp_path: Path) -> None:
    pods = start_gang(tmp_path, epochs=16)
    pods[0].wait_for("Epoch[1] Validation")
    kill(pods[1])
    began = time.monotonic()
    assert pods[0].wait() == ExitCode.PeerLost
    assert time.monotonic() - began < 3
    assert message(pods[0]).startswith("Pod 1 of the gang (")
    assert pods[0].termination.checkpoint is not None
    pods = start_gang(tmp_path, attempt=2, epochs=16)
    straight = start_gang(tmp_path / "straight", epochs=16)
    assert [pod.wait() for pod in (*pods, *straight)] == [0] * 4
    assert all("resumed at epoch" in pod.log for pod in pods)
    assert len({weights(pod) for pod in (*pods, *straight)}) == 1


def test_a_request_to_stop_one_pod_stops_all_after_the_leader_has_saved(tmp_path: Path) -> None:
    pods = start_gang(tmp_path, epochs=1000)
    pods[0].wait_for("Epoch[1] Validation")
    pods[1].process.send_signal(signal.SIGTERM)
    assert [pod.wait() for pod in pods] == [ExitCode.Interrupted] * 2
    assert pods[0].termination.checkpoint is not None


@pytest.mark.slow
def test_a_recipe_that_cannot_be_shared_is_trained_by_the_leader_alone(tmp_path: Path) -> None:
    job = {"training": {"recipe": "features", "epochs": 2}}
    port = str(free_port())
    pods = [start_member(tmp_path, index=i, job=job, FINETUNE_GANG_PORT=port) for i in (0, 1)]
    assert [pod.wait() for pod in pods] == [0, 0]
    assert "pod 0 of the gang trains it alone" in pods[1].log


@pytest.mark.parametrize("dead", [0, 1])
def test_a_dead_pod_ends_the_other_as_peer_lost(tmp_path: Path, dead: int) -> None:
    pods = start_gang(tmp_path, WAIT)
    for pod in pods:
        pod.wait_for("waiting")
    kill(pods[dead])
    assert pods[1 - dead].wait() == ExitCode.PeerLost
    assert message(pods[1 - dead]).startswith(f"Pod {dead} of the gang (")


def test_an_unreachable_pod_ends_the_other_as_peer_lost(tmp_path: Path) -> None:
    pods = start_gang(tmp_path, WAIT, FINETUNE_PEER_SECONDS="2")
    for pod in pods:
        pod.wait_for("waiting")
    send_to_all(pods[1], signal.SIGSTOP)
    assert pods[0].wait() == ExitCode.PeerLost
    assert "sent no message for 2 s" in message(pods[0])
    kill(pods[1])


def test_a_pod_that_fails_gives_the_others_its_reason(tmp_path: Path) -> None:
    leader, follower = start_gang(tmp_path, "fetch=wait", "fit=raise_bug")
    assert follower.wait() == ExitCode.InternalError
    assert leader.wait() == ExitCode.PeerLost
    assert "ended with InternalError: KeyError" in message(leader)


def test_a_request_to_stop_the_leader_is_no_loss_to_the_others(tmp_path: Path) -> None:
    pods = start_gang(tmp_path, WAIT)
    for pod in pods:
        pod.wait_for("waiting")
    pods[0].process.send_signal(signal.SIGTERM)
    assert [pod.wait() for pod in pods] == [ExitCode.Interrupted] * 2


def test_a_leader_that_is_not_found_is_an_error_after_the_time_to_join(tmp_path: Path) -> None:
    pod = start_member(tmp_path, WAIT, index=1, job={}, FINETUNE_JOIN_SECONDS="1")
    assert pod.wait() == ExitCode.PeerLost
    assert "pod 0 of the gang at 127.0.0.1:" in message(pod)
    assert "was not reached within 1 s" in message(pod)


def test_pods_that_do_not_join_are_an_error_after_the_time_to_join(tmp_path: Path) -> None:
    pod = start_member(tmp_path, WAIT, index=0, job={}, FINETUNE_JOIN_SECONDS="1")
    assert pod.wait() == ExitCode.PeerLost
    assert message(pod) == "Pod 1 of the gang did not join within 1 s."


def test_a_pod_of_another_attempt_is_refused(tmp_path: Path) -> None:
    port = str(free_port())
    environment = {"FINETUNE_GANG_PORT": port, "FINETUNE_JOIN_SECONDS": "3"}
    leader = start_member(tmp_path, WAIT, index=0, job={"attempt": 1}, **environment)
    late = start_member(tmp_path, WAIT, index=1, job={"attempt": 2}, **environment)
    assert [leader.wait(), late.wait()] == [ExitCode.PeerLost] * 2
    assert "has joined" not in leader.log
    assert "a pod of another attempt answers" in late.log


def test_a_follower_of_a_job_with_a_result_ends_at_once(tmp_path: Path) -> None:
    directory = job_directory(tmp_path)
    directory.mkdir(parents=True)
    (directory / "result.json").write_text('{"accuracy": "0.5000", "recipe": "tutorial"}')
    pod = start_member(tmp_path, WAIT, index=1, job={})
    assert pod.wait() == 0
    assert "result of an earlier attempt" in pod.log
    assert pod.termination.result is None
