"""Gangs: their leader reports, one pod's failure is the gang's, and all restart together."""

from typing import Any

import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import ContainerState, Pod, Terminated
from finetune_operator.decide import decide
from finetune_operator.policy.plan import Attempt, Observed, Plan
from finetune_operator.settings import Settings

from tests.support.builders import (
    disrupted,
    error_message,
    later,
    make_attempt,
    make_ended_pod,
    make_job,
    make_pod,
    make_status,
    result_message,
)


def plan_of(*pods: Pod, ended: str = "", at: float = 0, **seen: Any) -> Plan:
    job = make_job(make_status(attempt=1), trainer={"numNodes": 2, "gpusPerNode": 0})
    attempt: Attempt = make_attempt(1, *pods, nodes=2, ended=ended)
    seen_now = Observed(job=job, attempts=(attempt,), **seen)
    return decide(seen_now, later(at), Settings(trainer_gpu_image="trainer:1"))


def pod(index: int, phase: str = "Running", **fields: Any) -> Pod:
    return make_pod(phase, uid=f"pod-{index}", index=index, **fields)


def ended(index: int, code: int, message: str = "", *, at: float = 0, **fields: Any) -> Pod:
    state = ContainerState(
        terminated=Terminated(exit_code=code, message=message, finished_at=later(at))
    )
    return pod(index, "Failed" if code else "Succeeded", state=state, **fields)


def test_pods_are_ready_when_all_run() -> None:
    plan = plan_of(pod(0), pod(1, "Pending"))
    ready = plan.status.condition(c.PODS_READY)
    assert ready
    assert (plan.status.phase, ready.status) == ("Starting", "False")
    ready = plan_of(pod(0), pod(1)).status.condition(c.PODS_READY)
    assert ready
    assert ready.status == "True"


def test_startup_deadline_holds_for_the_last_pod() -> None:
    plan = plan_of(pod(0), pod(1, "Pending"), at=1800)
    failed = plan.status.condition("Failed")
    assert failed
    assert failed.reason == c.STARTUP_DEADLINE_EXCEEDED


def test_result_of_the_leader_completes_the_job_however_its_peers_ended() -> None:
    leader = make_ended_pod(0, result_message(pod_uid="pod-0"), uid="pod-0", index=0)
    plan = plan_of(leader, ended(1, 143), ended="Complete")
    assert (plan.status.phase, plan.status.accuracy) == ("Complete", "0.8704")


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_pod_that_failed_of_its_own_is_the_cause(order: tuple[int, int]) -> None:
    first, second = order
    cause = ended(first, 70, error_message("InternalError", "A bug.", pod_uid=f"pod-{first}"), at=5)
    plan = plan_of(ended(second, 83, at=1), cause, ended="Failed")
    failure = plan.status.failure
    assert failure
    assert (failure.reason, failure.pod, failure.exit_code) == ("InternalError", f"pod-{first}", 70)


def test_gang_whose_pods_all_miss_one_another_lost_a_peer() -> None:
    plan = plan_of(ended(0, 83, at=2), ended(1, 83, at=1), ended="Failed")
    assert plan.status.failure
    assert (plan.status.failure.reason, plan.status.failures) == (c.PEER_LOST, 1)


def test_eviction_of_one_pod_is_a_disruption_of_the_gang() -> None:
    evicted = ended(1, 143, at=1, conditions=(disrupted(),))
    plan = plan_of(ended(0, 83, at=2), evicted, ended="Failed")
    assert [record.reason for record in plan.status.history] == [c.DISRUPTED]
    assert plan.status.failures == 0


def test_gang_that_lost_a_node_is_given_up_when_its_other_pods_have_ended() -> None:
    deleted = pod(1, deleting=30, node="node-b")
    assert plan_of(pod(0), deleted, at=90).status.history == ()
    plan = plan_of(ended(0, 83), deleted, at=90)
    assert [record.reason for record in plan.status.history] == [c.DISRUPTED]


def test_result_of_the_leader_is_kept_though_a_peers_node_is_lost() -> None:
    leader = make_ended_pod(0, result_message(pod_uid="pod-0"), uid="pod-0", index=0)
    plan = plan_of(leader, pod(1, deleting=30, node="node-b"), at=90)
    assert (plan.status.phase, plan.status.accuracy) == ("Complete", "0.8704")
