"""The figures of a job for the metrics: what its status says, and nothing that is no number."""

from typing import Any

import msgspec
import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Condition
from finetune_operator.api.types import (
    CheckpointStatus,
    DatasetStatus,
    Failure,
    FineTuneJob,
    Metric,
    Status,
    TrainerStatus,
)
from finetune_operator.observe.summary import Summary, queued_since, summarize

from tests.support.builders import NOW, later, make_history, make_job, make_status

FIGURES = {
    "epoch": "3",
    "loss": "0.41",
    "train-accuracy": "0.9",
    "accuracy": "0.81",
    "learning-rate": "0.002",
    "images-per-second": "212.4",
    "data-stall": "0.07",
}
CHECKPOINT = CheckpointStatus(epoch=3, time="2026-01-01T12:00:30Z")


def figures(metrics: dict[str, str] | None = None, **fields: Any) -> TrainerStatus:
    named = FIGURES if metrics is None else metrics
    return TrainerStatus(
        **{"progress_percentage": 40, "estimated_remaining_seconds": 600}
        | {"metrics": tuple(Metric(name=name, value=value) for name, value in named.items())}
        | {"last_updated_time": "2026-01-01T12:00:40Z"}
        | fields
    )


def created(job: FineTuneJob, **metadata: Any) -> FineTuneJob:
    changed = msgspec.structs.replace(job.metadata, creation_timestamp=NOW, **metadata)
    return msgspec.structs.replace(job, metadata=changed)


def summary(status: Status, **spec: Any) -> Summary:
    return summarize(created(make_job(status, **spec)))


def seconds(value: float | None) -> float | None:
    return None if value is None else value - NOW.timestamp()


def not_ready(at: float, type: str = c.PODS_READY, status: str = "False") -> Condition:
    return Condition(type=type, status=status, last_transition_time=later(at))


def test_running_job_has_the_figures_of_its_last_epoch() -> None:
    status = make_status(
        attempt=2,
        phase="Training",
        trainer_status=figures(),
        checkpoint=CHECKPOINT,
        failures=1,
        disruptions=3,
    )
    job = summary(status)
    assert (job.epoch, job.train_loss, job.train_accuracy, job.accuracy) == (3, 0.41, 0.9, 0.81)
    assert (job.learning_rate, job.images_per_second, job.data_wait) == (0.002, 212.4, 0.07)
    assert (job.progress, job.remaining) == (0.4, 600)
    assert (seconds(job.saved), seconds(job.progressed)) == (30, 40)
    assert (job.attempts, job.failures, job.disruptions) == (2, 1, 3)
    assert (seconds(job.created), seconds(job.started), job.completed) == (0, 0, None)
    assert job.waiting is None


@pytest.mark.parametrize("phase", ["Complete", "Failed", "Suspended", "Starting", "Pending"])
def test_when_no_pod_runs_the_curve_stays_and_what_was_true_of_the_pod_ends(phase: str) -> None:
    status = make_status(phase=phase, trainer_status=figures(), checkpoint=CHECKPOINT)
    job = summary(status)
    assert (job.epoch, job.train_loss, job.accuracy, job.learning_rate) == (3, 0.41, 0.81, 0.002)
    assert job.progress == 0.4
    assert (job.progressed, job.saved, job.remaining) == (None, None, None)
    assert (job.images_per_second, job.data_wait) == (None, None)


def test_accuracy_of_a_finished_job_is_that_of_its_result() -> None:
    status = make_status(
        phase="Complete", accuracy="0.8704", trainer_status=figures(), completion_time=later(90)
    )
    job = summary(status)
    assert (job.accuracy, seconds(job.completed), job.finished) == (0.8704, 90, True)


@pytest.mark.parametrize("value", ["", "NaN", "inf", "-inf", "0,4", "high", "1e999"])
def test_what_is_no_number_is_left_out(value: str) -> None:
    job = summary(
        make_status(phase="Training", trainer_status=figures(dict.fromkeys(FIGURES, value)))
    )
    assert (job.epoch, job.train_loss, job.accuracy, job.data_wait) == (None, None, None, None)


@pytest.mark.parametrize(
    "time", ["", "soon", "2026-01-01T12:00:00", "0001-01-01T00:00:00Z", "9999-99-99T00:00:00Z"]
)
def test_what_is_no_time_is_left_out(time: str) -> None:
    trainer = figures(last_updated_time=time)
    status = make_status(
        phase="Training", trainer_status=trainer, checkpoint=CheckpointStatus(time=time)
    )
    assert (summary(status).progressed, summary(status).saved) == (None, None)


def test_job_that_was_never_reconciled_is_pending_since_it_was_created() -> None:
    job = summary(Status())
    assert (job.phase, seconds(job.waiting), job.started) == ("Pending", 0, None)


@pytest.mark.parametrize(
    ("status", "since"),
    [
        pytest.param(make_status(attempt=1, phase="Pending"), 0, id="at first"),
        pytest.param(
            make_status(attempt=1, phase="Starting", conditions=(not_ready(5),)), 5, id="starting"
        ),
        pytest.param(
            make_status(
                attempt=1, phase="Starting", conditions=(not_ready(5),), active_since=later(400)
            ),
            400,
            id="starting after its time in a queue",
        ),
        pytest.param(
            make_status(attempt=1, phase="Starting", conditions=(not_ready(9, status="True"),)),
            0,
            id="its trainer has not reported yet",
        ),
        pytest.param(
            make_status(
                phase="Pending",
                history=make_history(c.CRASHED, c.CRASHED),
                conditions=(not_ready(70),),
            ),
            70,
            id="since an attempt ended, however many could not start since",
        ),
        pytest.param(
            make_status(phase="Pending", conditions=(not_ready(70), not_ready(500, c.SUSPENDED))),
            500,
            id="since it was resumed",
        ),
        pytest.param(make_status(phase="Training", conditions=(not_ready(5),)), None, id="it runs"),
        pytest.param(make_status(phase="Suspended"), None, id="it is suspended"),
        pytest.param(make_status(phase="Complete"), None, id="it is complete"),
    ],
)
def test_wait_begins_when_the_last_pod_ended(status: Status, since: float | None) -> None:
    assert seconds(summary(status).waiting) == since


def test_time_in_a_queue_begins_with_the_attempt_or_when_it_came_back() -> None:
    attempt = make_status(attempt=2).current_attempt
    assert attempt
    second = msgspec.structs.replace(attempt, start_time=later(60))
    for at, expected in ((40, 60), (900, 900)):
        status = make_status(phase="Queued", current_attempt=second, conditions=(not_ready(at),))
        assert queued_since(created(make_job(status))) == later(expected)


def test_summary_says_what_is_trained_and_what_it_waits_for() -> None:
    status = make_status(
        phase="Starting",
        failure=Failure(reason=c.UNSCHEDULABLE),
        dataset=DatasetStatus(digest="sha256:0123456789abcdef"),
    )
    trainer = {"gpusPerNode": 4, "numNodes": 2}
    asked = make_job(status, trainer=trainer, training={"recipe": "full"})
    job = summarize(created(asked, labels={c.LABEL_QUEUE: "gpus"}))
    assert (job.reason, job.dataset, job.gpus) == (c.UNSCHEDULABLE, "0123456789ab", 8)
    assert (job.recipe, job.model, job.queue) == ("full", "efficientnet-lite0", "gpus")


@pytest.mark.parametrize(
    ("spec", "model"),
    [
        ({"model": {"source": {"uri": "https://example.org/a.onnx"}}}, "https"),
        ({"model": {"source": {"uri": "pvc://models/a"}}}, "pvc"),
        ({"model": {}, "training": {"resumeFrom": {"uri": "s3://models/a"}}}, "s3"),
        ({"model": {"source": {"uri": 7}}}, ""),
        ({"model": {"name": ["a"]}}, ""),
    ],
)
def test_model_without_a_name_is_told_by_where_it_comes_from(
    spec: dict[str, Any], model: str
) -> None:
    assert summary(Status(), **spec).model == model
