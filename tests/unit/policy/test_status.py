"""Times as people say them, and the bounds of what others say."""

import msgspec
import pytest
from finetune_operator.api.contract import Result
from finetune_operator.api.kubernetes import Pod
from finetune_operator.api.types import Failure, Metric, Status
from finetune_operator.policy.outcome import Outcome
from finetune_operator.policy.status import StatusUpdate, duration

from tests.support.builders import (
    NOW,
    later,
    make_attempt,
    make_figures,
    make_job,
    make_pod,
    make_progress,
    make_status,
)


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


def metrics_of(status: Status) -> dict[str, str]:
    assert status.trainer_status
    return {metric.name: metric.value for metric in status.trainer_status.metrics}


def test_figures_of_a_new_epoch_are_written_at_once_and_together() -> None:
    epochs = [
        {"epoch": f"{epoch}", "loss": f"0.{epoch}", "train-accuracy": f"0.8{epoch}"}
        | {"accuracy": f"0.7{epoch}", "learning-rate": f"0.00{epoch}"}
        for epoch in (1, 2)
    ]
    first, second = (make_figures(at=at, metrics=each) for at, each in enumerate(epochs))
    update = StatusUpdate(make_job(make_status(attempt=1, trainer_status=first)), NOW)
    update.take_progress(make_progress(trainer_status=second))
    assert metrics_of(update.finish()).items() >= epochs[1].items()


def test_figures_of_the_last_epoch_stay_beside_the_result() -> None:
    figures = make_figures(metrics={"epoch": "8", "loss": "0.2"})
    update = StatusUpdate(make_job(make_status(attempt=1, trainer_status=figures)), NOW)
    result = Result(accuracy="0.9", metrics=(Metric(name="accuracy", value="0.9"),))
    update.record(Outcome(reason="Complete", result=result))
    update.complete(result)
    metrics = metrics_of(update.finish())
    assert (metrics["epoch"], metrics["loss"], metrics["accuracy"]) == ("8", "0.2", "0.9")


def described(status: Status, stage: str, *, at: float) -> Status:
    update = StatusUpdate(make_job(status), later(at))
    progress = make_progress(stage)
    live = make_attempt(1, make_pod())
    update.describe(live, failure=None, progress=progress, unreachable=False, queued="")
    return update.finish()


def test_start_of_the_fit_is_its_first_report_and_stays_that() -> None:
    status = make_status(attempt=1)
    for at, stage in enumerate(("prepare", "model")):
        status = described(status, stage, at=at)
        assert status.fit_start_time is None
    status = described(status, "fit", at=10)
    assert status.fit_start_time == later(10)
    again = described(described(status, "prepare", at=500), "fit", at=600)
    assert again.fit_start_time == later(10)


@pytest.mark.parametrize(
    ("pods", "node"),
    [
        ((), "gpu-1"),
        ((make_pod("Pending", node="gpu-7"),), "gpu-1"),
        ((make_pod(node="gpu-7"),), "gpu-7"),
    ],
    ids=["no pod yet", "a pod that does not run", "a pod that runs"],
)
def test_current_attempt_has_the_node_of_the_pod_that_runs_or_ran_last(
    pods: tuple[Pod, ...], node: str
) -> None:
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
