"""Times as people say them, and the bounds of what others say."""

import msgspec
import pytest
from finetune_operator.api.kubernetes import Pod
from finetune_operator.api.types import Failure
from finetune_operator.policy.outcome import Outcome
from finetune_operator.policy.status import StatusUpdate, duration

from tests.support.builders import NOW, make_attempt, make_job, make_pod, make_status


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, ""),
        (0, "0s"),
        (59, "59s"),
        (60, "1m"),
        (719, "11m"),
        (3599, "59m"),
        (3600, "1h"),
        (11_100, "3h5m"),
        (86_400, "1d"),
        (187_200, "2d4h"),
    ],
)
def test_duration(seconds: int | None, text: str) -> None:
    assert duration(seconds) == text


def test_text_of_others_is_bounded_wherever_it_is_shown() -> None:
    long = "x" * 90_000
    update = StatusUpdate(make_job(make_status(attempt=1)), NOW)
    failure = Failure(reason=long, message=long, hint=long)
    update.record(Outcome(reason=long, failure=failure))
    update.fail(long, failure)
    status = update.finish()
    assert status.failure
    assert len(status.failure.message) == len(status.failure.hint) == 4096
    assert len(status.failure.reason) == len(status.history[0].reason) == 128
    assert len(status.history[0].message) == 256
    failed = status.condition("Failed")
    assert failed
    assert (len(failed.reason), len(failed.message)) == (128, 1024)


@pytest.mark.parametrize(
    ("pods", "node"),
    [((), ""), ((make_pod("Pending"),), ""), ((make_pod(node="gpu-7"),), "gpu-7")],
    ids=["no pod yet", "a pod without a node", "a pod on a node"],
)
def test_current_attempt_has_the_node_of_its_present_pod(pods: tuple[Pod, ...], node: str) -> None:
    status = make_status(attempt=1)
    assert status.current_attempt
    before = msgspec.structs.replace(status.current_attempt, node="gpu-1")
    status.current_attempt = before  # of a pod that was replaced
    update = StatusUpdate(make_job(status), NOW)
    update.take_node(make_attempt(1, *pods))
    assert update.status.current_attempt == msgspec.structs.replace(before, node=node)


def test_conditions_of_a_job_that_ended_say_why() -> None:
    update = StatusUpdate(make_job(make_status(attempt=1)), NOW)
    update.block(Failure(reason="Unschedulable", message="No node has 8 GPUs."))
    update.fail("DeadlineExceeded", Failure(reason="DeadlineExceeded", message="Too late."))
    ready = update.finish().condition("PodsReady")
    assert ready
    assert (ready.reason, ready.message) == ("DeadlineExceeded", "Too late.")
