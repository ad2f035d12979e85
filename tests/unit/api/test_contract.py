"""What a trainer says is read leniently, and garbage is no report."""

import json

import pytest
from finetune_operator.api.contract import parse_progress, parse_termination

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


def test_wrong_type_is_no_report() -> None:
    body = {"job": IDS, "stage": "fit", "trainerStatus": {"progressPercentage": "half"}}
    assert parse_progress(json.dumps(body).encode()) is None


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
    assert parse_termination(result_message(accuracy)) is None


def test_error_without_more_than_a_reason_is_read() -> None:
    termination = parse_termination(error_message("InvalidData", message=""))
    assert termination
    assert termination.error
    assert (termination.error.message, termination.error.hint) == ("", "")
