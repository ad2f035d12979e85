"""Every row of the table of exit codes, and what decides beside the code."""

from pathlib import Path

import msgspec
import pytest
from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Condition, ContainerState, ContainerStatus, Terminated
from finetune_operator.api.types import Status
from finetune_operator.policy.outcome import (
    BY_EXIT_CODE,
    Outcome,
    job_deleted,
    outcome_of,
)
from finetune_operator.policy.plan import Attempt
from finetune_trainer.contract import ExitCode

from tests.support.builders import (
    disrupted,
    error_message,
    make_attempt,
    make_ended_attempt,
    make_ended_pod,
    make_pod,
    make_status,
    result_message,
    termination_message,
)


def outcome(attempt: Attempt, status: Status | None = None) -> Outcome:
    found = outcome_of(attempt, status or make_status(attempt=attempt.number))
    assert found
    return found


def test_every_exit_code_of_the_trainer_has_a_reason_here_and_a_line_in_the_contract() -> None:
    page = Path("docs/trainer-contract.md").read_text()
    for code in set(ExitCode) - {ExitCode.Complete}:
        assert BY_EXIT_CODE[code][0] == code.name
        assert f"| {code.value} | {code.name} |" in page


@pytest.mark.parametrize(
    ("code", "reason", "retried"),
    [
        (64, "InvalidSpec", False),
        (65, "InvalidData", False),
        (66, "InputNotFound", False),
        (69, "UnsupportedHardware", True),
        (70, "InternalError", True),
        (73, "OutputNotWritable", False),
        (74, "InputOutputError", True),
        (75, "TemporaryFailure", True),
        (77, "PermissionDenied", False),
        (80, "AccuracyBelowMinimum", False),
        (81, "Diverged", False),
        (82, "Stalled", True),
        (83, "PeerLost", True),
        (84, "DeviceOutOfMemory", False),
        (134, "Crashed", True),
        (136, "Crashed", True),
        (139, "Crashed", True),
        (137, "Crashed", True),
        (159, "Crashed", True),
        (192, "Crashed", True),
        (128, "UnknownError", True),
        (193, "UnknownError", True),
        (1, "UnknownError", True),
        (255, "UnknownError", True),
    ],
)
def test_exit_code_gives_reason_and_retry_and_counts(code: int, reason: str, retried: bool) -> None:
    ended = outcome(make_ended_attempt(1, code))
    assert (ended.reason, ended.retried, ended.counted) == (reason, retried, True)
    assert ended.failure
    assert (ended.failure.exit_code, ended.failure.pod) == (code, "pod-1")
    assert f"code {code}" in ended.failure.message


@pytest.mark.parametrize(
    ("code", "signal"),
    [
        (134, "SIGABRT"),
        (136, "SIGFPE"),
        (137, "SIGKILL"),
        (139, "SIGSEGV"),
        (159, "SIGSYS"),
        (164, "signal 36"),
    ],
)
def test_crash_names_its_signal(code: int, signal: str) -> None:
    failure = outcome(make_ended_attempt(1, code)).failure
    assert failure
    assert signal in failure.hint


def test_kernel_that_killed_for_memory_is_out_of_memory() -> None:
    ended = outcome(make_ended_attempt(1, 137, reason="OOMKilled"))
    assert (ended.reason, ended.retried, ended.counted) == (c.OUT_OF_MEMORY, True, True)
    assert ended.failure
    assert "limits.memory" in ended.failure.hint


def test_deleted_pod_that_could_not_save_within_its_grace_is_interrupted() -> None:
    ended = outcome(make_ended_attempt(1, 137, deleting=30))
    assert (ended.reason, ended.retried, ended.counted) == (c.INTERRUPTED, True, True)
    assert ended.failure
    assert "terminationGracePeriodSeconds" in ended.failure.hint


def test_trainers_own_message_is_kept_with_the_log_it_chose() -> None:
    message = error_message(
        "InternalError", "A bug.", hint="Report it.", logTail=["Traceback", "x"]
    )
    failure = outcome(make_ended_attempt(1, 70, message)).failure
    assert failure
    assert (failure.message, failure.hint) == ("A bug.", "Report it.")
    assert failure.log_tail == ("Traceback", "x")


def test_without_a_report_the_end_of_the_log_is_kept() -> None:
    lines = [f"line {number}" for number in range(30)] + ["x" * 2000]
    failure = outcome(make_ended_attempt(1, 70, "\n".join(lines))).failure
    assert failure
    assert len(failure.log_tail) == 20
    assert failure.log_tail[0] == "line 11"
    assert len(failure.log_tail[-1]) == 512


def test_message_of_another_pod_is_ignored() -> None:
    message = termination_message(
        "someone-else", error={"reason": "InvalidData", "message": "Not mine."}
    )
    failure = outcome(make_ended_attempt(1, 70, message)).failure
    assert failure
    assert failure.message == "The trainer exited with code 70 (Error)."


class TestLife:
    @pytest.mark.parametrize(
        "attempt",
        [
            pytest.param(make_attempt(), id="without a pod"),
            pytest.param(make_attempt(1, make_pod("Pending")), id="pod pending"),
            pytest.param(make_attempt(1, make_pod()), id="pod running"),
            pytest.param(make_attempt(1, make_ended_pod(0)), id="pod ended, Job not yet"),
            pytest.param(
                make_attempt(1, make_pod(), ended="Complete"), id="Job ended, pod not yet"
            ),
            pytest.param(make_attempt(1, make_pod(), deleting=True), id="Job being deleted"),
            pytest.param(
                make_attempt(1, make_ended_pod(0, "garbage"), deleting=True),
                id="Job being deleted, pod ended without a result",
            ),
        ],
    )
    def test_attempt_lives(self, attempt: Attempt) -> None:
        assert outcome_of(attempt, make_status(attempt=1)) is None

    def test_result_of_a_pod_whose_job_is_being_deleted_counts(self) -> None:
        attempt = make_attempt(1, make_ended_pod(0, result_message()), deleting=True)
        ended = outcome(attempt)
        assert (ended.reason, ended.result and ended.result.accuracy) == (c.COMPLETE, "0.8704")


class TestPodDeleted:
    """What the Job's condition still says; messages of Kubernetes 1.34's Job controller."""

    def test_exit_code_is_read_from_the_jobs_condition(self) -> None:
        message = (
            "Container trainer for pod team/photos-1-x7k2p failed with exit code 65 "
            "matching FailJob rule at index 1"
        )
        ended = outcome(make_attempt(1, ended="Failed", message=message))
        assert (ended.reason, ended.retried) == (c.INVALID_DATA, False)
        assert ended.failure
        assert ended.failure.message == message

    def test_disruption_is_read_from_the_jobs_condition(self) -> None:
        message = (
            "Pod team/photos-1-x7k2p has condition DisruptionTarget "
            "matching FailJob rule at index 0"
        )
        ended = outcome(make_attempt(1, ended="Failed", message=message))
        assert (ended.reason, ended.counted) == (c.DISRUPTED, False)

    def test_lost_result_is_asked_for_again_without_counting(self) -> None:
        ended = outcome(make_attempt(1, ended="Complete"))
        assert (ended.reason, ended.retried, ended.counted) == (c.RESULT_LOST, True, False)

    def test_job_that_failed_without_a_message_is_an_unknown_error(self) -> None:
        assert outcome(make_attempt(1, ended="Failed")).reason == c.UNKNOWN_ERROR


@pytest.mark.parametrize(
    "message",
    [
        "",
        "bye",
        '{"job": 1}',
        termination_message(),
        result_message("87%"),
        result_message("NaN"),
        "[" * 4096,
    ],
)
def test_pod_that_ends_well_without_a_result_counts(message: str) -> None:
    """Its image does not keep the contract: retrying for free could go on for days."""
    ended = outcome(make_ended_attempt(1, 0, message))
    assert (ended.reason, ended.retried, ended.counted) == (c.RESULT_LOST, True, True)


class TestDisruptions:
    @pytest.mark.parametrize(
        "attempt",
        [
            pytest.param(make_ended_attempt(1, 137, conditions=(disrupted(),)), id="condition"),
            pytest.param(
                make_attempt(
                    1,
                    make_pod("Failed", reason="Evicted", message="low on memory"),
                    ended="Failed",
                ),
                id="evicted by the kubelet",
            ),
        ],
    )
    def test_disruption_is_retried_and_not_counted(self, attempt: Attempt) -> None:
        ended = outcome(attempt)
        assert (ended.reason, ended.retried, ended.counted) == (c.DISRUPTED, True, False)

    def test_pod_that_filled_its_disk_says_so_and_what_to_raise(self) -> None:
        message = "Pod ephemeral local storage usage exceeds the total limit of containers 1Mi."
        full = make_pod("Failed", reason="Evicted", message=message)
        job = "Job has reached the specified backoff limit"
        failure = outcome(make_attempt(1, full, ended="Failed", message=job)).failure
        assert failure
        assert message in failure.message
        assert "trainer.resources.limits.ephemeral-storage" in failure.hint

    def test_disruption_that_is_false_is_none(self) -> None:
        condition = Condition(type="DisruptionTarget", status="False")
        assert outcome(make_ended_attempt(1, 70, conditions=(condition,))).reason == "InternalError"

    def test_disrupted_pod_that_left_a_result_is_complete(self) -> None:
        ended = make_ended_pod(0, result_message(), conditions=(disrupted(),))
        assert outcome(make_attempt(1, ended, ended="Failed")).reason == c.COMPLETE


def test_job_that_someone_deleted_is_a_disruption_and_one_that_suspend_deleted_is_none() -> None:
    deleted = job_deleted(make_status(attempt=1), suspended=False)
    assert (deleted.reason, deleted.retried, deleted.counted) == (c.JOB_DELETED, True, False)
    suspended = job_deleted(make_status(attempt=1), suspended=True)
    assert (suspended.reason, suspended.counted, suspended.failure) == (c.SUSPENDED, False, None)


def test_exit_code_of_a_sidecar_is_not_the_trainers() -> None:
    pod = make_ended_pod(65)
    sidecar = ContainerStatus(
        name="sidecar", state=ContainerState(terminated=Terminated(exit_code=1))
    )
    statuses = (sidecar, *pod.status.container_statuses)
    status = msgspec.structs.replace(pod.status, container_statuses=statuses)
    pod = msgspec.structs.replace(pod, status=status)
    assert outcome(make_attempt(1, pod, ended="Failed")).reason == c.INVALID_DATA
