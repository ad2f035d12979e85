"""Faults of a node, in the words of kubelets and container runtimes, are no failures of a job."""

import msgspec
import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import ContainerState, ContainerStatus, Pod, Terminated
from finetune_operator.policy.outcome import Outcome, outcome_of, unpreferred_nodes

from tests.support.builders import (
    error_message,
    make_attempt,
    make_ended_attempt,
    make_ended_pod,
    make_history,
    make_pod,
    make_status,
)

MISMATCH = (
    "failed to create containerd task: OCI runtime create failed: nvidia-container-cli: "
    "initialization error: nvml error: driver/library version mismatch: unknown"
)
NOT_FOUND = "The container could not be located when the pod was terminated"


def outcome(pod: Pod, *, disrupted_before: int = 0) -> Outcome:
    """The outcome of an attempt that no rule of the podFailurePolicy ended."""
    status = make_status(attempt=9, history=make_history(*[c.POD_REJECTED] * disrupted_before))
    attempt = make_attempt(9, pod, ended="Failed", reason="BackoffLimitExceeded")
    found = outcome_of(attempt, status)
    assert found
    return found


@pytest.mark.parametrize(
    ("reason", "message"),
    [
        ("UnexpectedAdmissionError", "Pod was rejected: Allocate failed due to no healthy devices"),
        ("OutOfcpu", "Pod was rejected: Node didn't have enough resource: cpu"),
        ("OutOfnvidia.com/gpu", "Pod was rejected: Node didn't have enough resource"),
        ("NodeAffinity", "Pod was rejected: Predicate NodeAffinity failed"),
        ("NodeShutdown", "Pod was rejected as the node is shutting down."),
        ("Terminated", "Pod was terminated in response to imminent node shutdown."),
        ("TopologyAffinityError", "Resources cannot be allocated with Topology locality"),
        ("WordOfANewKubelet", ""),
    ],
)
def test_pod_that_the_kubelet_rejects_is_a_disruption_in_the_kubelets_words(
    reason: str, message: str
) -> None:
    ended = outcome(make_pod("Failed", reason=reason, message=message))
    assert (ended.reason, ended.retried, ended.counted) == (c.POD_REJECTED, True, False)
    assert ended.node == "node-a"
    assert ended.failure
    assert f"({reason}): {message}" in ended.failure.message
    assert "kubectl describe node node-a" in ended.failure.hint


@pytest.mark.parametrize("message", ["", error_message("Interrupted")], ids=["killed", "saved"])
@pytest.mark.parametrize(
    ("reason", "expected"),
    [
        ("UnexpectedAdmissionError", (c.DISRUPTED, False)),
        ("NodeAffinity", (c.DISRUPTED, False)),
        ("DeadlineExceeded", (c.INTERRUPTED, True)),
    ],
)
def test_trainer_that_a_restarted_kubelet_ends_is_disrupted(
    reason: str, expected: tuple[str, bool], message: str
) -> None:
    pod = make_ended_pod(143, message)
    why = "Pod was rejected: no healthy devices"
    status = msgspec.structs.replace(pod.status, reason=reason, message=why)
    ended = outcome(msgspec.structs.replace(pod, status=status))
    assert (ended.reason, ended.counted) == expected
    if ended.reason == c.DISRUPTED:
        assert ended.failure
        assert why in ended.failure.message


@pytest.mark.parametrize(
    ("code", "reason", "said"),
    [(255, "Unknown", "restarted"), (128, "StartError", "could not start")],
)
def test_fault_before_the_trainer_was_started_is_that_of_its_init_container(
    code: int, reason: str, said: str
) -> None:
    terminated = Terminated(exit_code=code, reason=reason)
    init = ContainerStatus(name="istio-init", state=ContainerState(terminated=terminated))
    pod = make_pod("Failed")
    status = msgspec.structs.replace(pod.status, init_container_statuses=(init,))
    ended = outcome(msgspec.structs.replace(pod, status=status))
    assert (ended.reason, ended.counted) == (c.DISRUPTED, False)
    assert ended.failure
    assert said in ended.failure.message
    assert "'istio-init'" in ended.failure.message


def test_rejection_of_one_pod_of_a_gang_is_the_cause_of_the_others_ends() -> None:
    rejected = make_pod("Failed", uid="pod-1", index=1, node="node-b", reason="OutOfcpu")
    others = [make_ended_pod(code, uid=f"pod-{code}", index=0) for code in (83, 143)]
    attempt = make_attempt(1, *others, rejected, ended="Failed", nodes=3)
    ended = outcome_of(attempt, make_status(attempt=1))
    assert ended
    assert (ended.reason, ended.counted, ended.node) == (c.POD_REJECTED, False, "node-b")


@pytest.mark.parametrize(
    ("code", "reason", "message", "said"),
    [
        pytest.param(255, "Unknown", "", "(exit code 255, Unknown)", id="containerd restarted"),
        pytest.param(137, "ContainerStatusUnknown", NOT_FOUND, NOT_FOUND, id="kubelet restarted"),
        pytest.param(128, "StartError", MISMATCH, MISMATCH, id="containerd cannot start it"),
        pytest.param(127, "ContainerCannotRun", "no such file", "no such file", id="nor Docker"),
        pytest.param(1, "WordOfANewRuntime", "Why.", "(WordOfANewRuntime): Why.", id="new word"),
    ],
)
def test_end_that_the_runtime_caused_is_a_disruption_in_its_words(
    code: int, reason: str, message: str, said: str
) -> None:
    ended = outcome(make_ended_pod(code, message, reason=reason))
    assert (ended.reason, ended.retried, ended.counted) == (c.DISRUPTED, True, False)
    assert ended.node == "node-a"
    assert ended.failure
    assert said in ended.failure.message
    assert ended.failure.exit_code == code


@pytest.mark.parametrize(
    "pod",
    [
        make_pod("Failed", reason="OutOfcpu"),
        make_ended_pod(128, 'exec: "python": executable file not found', reason="StartError"),
    ],
    ids=["rejected", "not started"],
)
def test_fault_that_every_node_has_counts_in_the_end(pod: Pod) -> None:
    assert not outcome(pod, disrupted_before=4).counted
    assert outcome(pod, disrupted_before=5).counted


def test_trainer_that_said_why_it_ended_is_believed() -> None:
    said = error_message("InternalError", "A bug.")
    ended = outcome(make_ended_pod(70, said, reason="Unknown"))
    assert (ended.reason, ended.counted) == (c.INTERNAL_ERROR, True)


def test_end_by_a_signal_in_the_runtimes_words_is_a_crash() -> None:
    ended = outcome_of(make_ended_attempt(1, 139, reason="seccomp killed"), make_status(attempt=1))
    assert ended
    assert (ended.reason, ended.counted) == (c.CRASHED, True)


def test_nodes_with_a_fault_are_not_preferred_and_other_nodes_of_disruptions_are_not_known() -> (
    None
):
    history = make_history(c.POD_REJECTED, c.DISRUPTED, c.STALLED, node="node-b")
    assert unpreferred_nodes(make_status(history=history)) == ("node-b",)
    assert unpreferred_nodes(make_status(history=make_history(c.DISRUPTED))) == ()
