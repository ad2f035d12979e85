"""What a trainer says is read leniently, and garbage is no report."""

import json
from typing import Any

import pytest
from finetune_operator.api.contract import parse_progress, parse_termination
from finetune_operator.api.types import CheckpointStatus, Metric, ModelStatus

from tests.support.builders import error_message, result_message, termination_message

IDS = {"uid": "job-uid", "attempt": 1, "podUid": "pod-1"}
GARBAGE = ["", "null", "[]", "{}", "bye", '{"job": {}}', '{"x":' + "[" * 4000]


def test_fields_of_a_newer_trainer_are_passed_over() -> None:
    body = {"job": {**IDS, "new": 1}, "stage": "distill", "new": {"x": [1]}, "step": 7}
    progress = parse_progress(json.dumps(body).encode())
    assert progress
    assert (progress.stage, progress.step, progress.job.pod_uid) == ("distill", 7, "pod-1")


def test_fields_that_an_older_trainer_leaves_out_are_empty() -> None:
    progress = parse_progress(json.dumps({"job": IDS, "stage": "fit"}).encode())
    assert progress
    assert (progress.trainer_status, progress.checkpoint, progress.step) == (None, None, 0)


@pytest.mark.parametrize("text", GARBAGE)
def test_garbage_is_no_report(text: str) -> None:
    assert parse_progress(text.encode()) is None
    assert parse_termination(text) is None


def test_bytes_that_are_no_text_are_no_report() -> None:
    assert parse_progress(b'{"job": "\xff\xfe') is None


@pytest.mark.parametrize("part", [{"job": "me"}, {"job": {**IDS, "podUid": 1}}, {"stage": None}])
def test_wrong_type_of_what_a_report_must_have_is_no_report(part: dict[str, Any]) -> None:
    assert parse_progress(json.dumps({"job": IDS, "stage": "fit", **part}).encode()) is None


@pytest.mark.parametrize(
    ("part", "read"),
    [
        ('"progressPercentage": 250', 100),
        ('"progressPercentage": -5', 0),
        ('"progressPercentage": 1e300', 100),
        ('"progressPercentage": 42.7', 42),
        ('"progressPercentage": 1e999', None),
        ('"progressPercentage": NaN', None),
        ('"progressPercentage": "half"', None),
        ('"progressPercentage": true', None),
        ('"progressPercentage": ' + "9" * 5000, 100),
    ],
)
def test_percentage_is_a_whole_number_from_0_to_100_or_none(part: str, read: int | None) -> None:
    body = f'{{"job": {json.dumps(IDS)}, "stage": "fit", "trainerStatus": {{{part}}}}}'
    progress = parse_progress(body.encode())
    assert progress
    assert progress.trainer_status
    assert progress.trainer_status.progress_percentage == read


def test_figures_of_a_report_are_what_the_api_server_can_store() -> None:
    status = {"progressPercentage": 7, "estimatedRemainingSeconds": 2**63}
    more = {
        "dataset": {"classes": 2**64, "trainImages": -1, "digest": "d" * 10_000},
        "checkpoint": {"epoch": 2**80, "step": -(2**80), "time": ["now"]},
        "model": {"name": "x\ud800", "sha256": 256},
    }
    body = {"job": IDS, "stage": "fit", "trainerStatus": status, **more}
    progress = parse_progress(json.dumps(body).encode())
    assert progress
    assert progress.trainer_status
    assert progress.trainer_status.estimated_remaining_seconds == 2**63 - 1
    assert progress.dataset
    assert (progress.dataset.classes, progress.dataset.train_images) == (2**63 - 1, 0)
    assert len(progress.dataset.digest) == 4096
    assert progress.checkpoint == CheckpointStatus(epoch=2**63 - 1, step=0)
    assert progress.model == ModelStatus(name="x?")


def test_metrics_are_finite_numbers_with_a_name_each_once_and_not_too_many() -> None:
    odd = [
        {"name": "loss", "value": "NaN"},
        {"name": "lr", "value": "-inf"},
        {"name": "speed", "value": "fast"},
        {"name": "digits", "value": "1" * 1000},
        {"name": "number", "value": 3},
        {"value": "1"},
        None,
        {"name": "a", "value": "1"},
        {"name": "a", "value": "2e-3"},
    ]
    message = result_message(metrics=odd)
    termination = parse_termination(message)
    assert termination
    assert termination.result
    assert termination.result.metrics == (Metric(name="a", value="2e-3"),)
    many = [{"name": f"m{number}", "value": "1"} for number in range(1000)]
    termination = parse_termination(result_message(metrics=many))
    assert termination
    assert termination.result
    assert len(termination.result.metrics) == 64


@pytest.mark.parametrize(
    "more",
    [
        {"dataset": {"classes": "ten"}},
        {"dataset": []},
        {"model": {"name": "lone \ud800 surrogate"}},
        {"metrics": {"loss": "1"}},
        {"metrics": None},
        {"checkpoint": {"epoch": 2**70, "step": float("nan")}},
        {"output": "pvc://models"},
    ],
    ids=str,
)
def test_absurd_figure_beside_the_accuracy_does_not_take_it_away(more: dict[str, Any]) -> None:
    termination = parse_termination(result_message("0.9", **more))
    assert termination
    assert termination.result
    assert termination.result.accuracy == "0.9"


def test_termination_with_result_and_error_keeps_both() -> None:
    message = termination_message(
        result={"accuracy": "0.6"}, error={"reason": "AccuracyBelowMinimum", "logTail": ["a"]}
    )
    termination = parse_termination(message)
    assert termination
    assert termination.result
    assert termination.error
    assert (termination.result.accuracy, termination.error.log_tail) == ("0.6", ("a",))


@pytest.mark.parametrize("accuracy", ["0", "0.8704", "1", "1.0", "0.123456789012"])
def test_accuracy_is_a_decimal_from_0_to_1(accuracy: str) -> None:
    termination = parse_termination(result_message(accuracy))
    assert termination
    assert termination.result
    assert termination.result.accuracy == accuracy


@pytest.mark.parametrize("accuracy", ["", "87%", "1.01", "-0.5", "nan", "inf", "1e-3", "0.5\n"])
def test_accuracy_that_no_metric_could_carry_is_no_result(accuracy: str) -> None:
    termination = parse_termination(result_message(accuracy))
    assert termination
    assert termination.result is None


def test_error_without_more_than_a_reason_is_read() -> None:
    termination = parse_termination(error_message("InvalidData", message=""))
    assert termination
    assert termination.error
    assert (termination.error.message, termination.error.hint) == ("", "")
