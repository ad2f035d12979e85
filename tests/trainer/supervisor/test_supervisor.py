"""The supervisor with real processes: how stages end, and what the operator reads of it."""

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from finetune_trainer.cli.display import PlainDisplay
from finetune_trainer.contract import ExitCode
from finetune_trainer.contract.parse import parse_job
from finetune_trainer.run.signals import Signals
from finetune_trainer.supervisor.run_status import RunStatus
from finetune_trainer.supervisor.supervisor import Supervisor
from finetune_trainer.supervisor.termination import reference

from tests.trainer.support.pods import make_job, start_pod, wait_until
from tests.trainer.support.small_stages import table

FAILURES = [
    code for code in ExitCode if code not in (ExitCode.Complete, ExitCode.AccuracyBelowMinimum)
]


def test_a_finished_job_leaves_its_result_and_exits_0(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=succeed")
    assert pod.wait() == 0
    ended = pod.termination
    assert (ended.job.uid, ended.job.attempt) == (make_job()["uid"], 2)
    assert ended.job.pod_uid == make_job()["podUid"]
    assert ended.result is not None
    assert ended.result.accuracy == "0.7500"
    assert ended.error is None
    assert (pod.job_directory / "owner").read_text() == make_job()["podUid"]


def test_a_directory_says_whose_it_is_and_when_its_job_began(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=raise_bug")
    pod.wait()
    record = pod.job_directory / "job.json"
    assert json.loads(record.read_text()) == {"namespace": "team-a", "name": "flowers"}
    os.utime(record, (1, 1))
    start_pod(tmp_path, "fetch=succeed").wait()
    assert record.stat().st_mtime == 1


def test_a_result_of_an_earlier_attempt_is_reported_again_without_running(tmp_path: Path) -> None:
    first = start_pod(tmp_path, "fetch=succeed")
    first.wait()
    message = first.message
    (tmp_path / "termination-log").unlink()
    again = start_pod(tmp_path, "fetch=raise_bug")
    assert again.wait() == 0
    assert again.message == message


def test_a_result_of_another_job_is_not_reported(tmp_path: Path) -> None:
    start_pod(tmp_path, "fetch=succeed").wait()
    assert start_pod(tmp_path, "fetch=raise_bug", job=make_job(uid="other")).wait() == 70


@pytest.mark.parametrize("attempt", [1, 2])
def test_an_accuracy_below_the_minimum_fails_and_is_kept(tmp_path: Path, attempt: int) -> None:
    for _ in range(attempt):
        job = make_job(training={"minAccuracy": "0.77"})
        pod = start_pod(tmp_path, "fetch=succeed", job=job)
        assert pod.wait() == ExitCode.AccuracyBelowMinimum
    ended = pod.termination
    assert ended.result is not None
    assert ended.result.accuracy == "0.7500"
    assert ended.error is not None
    assert ended.error.reason == "AccuracyBelowMinimum"
    assert "0.77" in ended.error.message


def test_an_accuracy_equal_to_the_minimum_is_enough(tmp_path: Path) -> None:
    job = make_job(training={"minAccuracy": "0.75"})
    assert start_pod(tmp_path, "fetch=succeed", job=job).wait() == 0


@pytest.mark.parametrize("code", FAILURES)
def test_a_stage_ends_the_job_with_its_code_reason_and_hint(tmp_path: Path, code: ExitCode) -> None:
    job = make_job(name=f"job-{int(code)}")
    pod = start_pod(tmp_path, "fetch=fail_as_asked", "fit=succeed", job=job)
    assert pod.wait() == code
    ended = pod.termination
    assert ended.result is None
    assert ended.error is not None
    assert ended.error.reason == code.name
    if code is not ExitCode.Interrupted:
        assert ended.error.message == f"message of {code.name}"
        assert ended.error.hint == f"hint of {code.name}"


def test_a_bug_ends_with_its_traceback(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=raise_bug")
    assert pod.wait() == ExitCode.InternalError
    error = pod.termination.error
    assert error is not None
    assert error.message == "KeyError: 'no such key in here'"
    assert error.log_tail[-1] == "KeyError: 'no such key in here'"
    assert any("in raise_bug" in line for line in error.log_tail)


def test_an_error_may_hold_a_file_name_that_is_not_utf_8(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=name_a_file_that_is_not_utf_8")
    assert pod.wait() == ExitCode.InputNotFound
    assert pod.termination.error is not None
    assert pod.termination.error.message == "no photos"
    assert pod.termination.error.hint == "Found there: n\\udce9."


def test_a_full_disk_is_an_input_output_error(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=fill_disk")
    assert pod.wait() == ExitCode.InputOutputError
    assert pod.termination.error is not None
    assert "No space is left" in pod.termination.error.message


def test_a_refused_file_is_named(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=be_refused")
    assert pod.wait() == ExitCode.PermissionDenied
    assert pod.termination.error is not None
    assert "/claims/photos/cat.jpg" in pod.termination.error.message
    assert "fsGroup" in pod.termination.error.hint


@pytest.mark.parametrize(
    ("stage", "code", "name"), [("crash", 139, "SIGSEGV"), ("be_killed", 137, "SIGKILL")]
)
def test_a_signal_is_named_with_the_stage(tmp_path: Path, stage: str, code: int, name: str) -> None:
    pod = start_pod(tmp_path, f"fit={stage}")
    assert pod.wait() == code
    error = pod.termination.error
    assert error is not None
    assert error.reason == "Crashed"
    assert error.message == f"Stage fit was ended by {name}."


def test_an_error_names_the_stage_of_a_process_of_several(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=succeed", "model=succeed", "+fit=crash", "evaluate=succeed")
    assert pod.wait() == 139
    assert pod.termination.error is not None
    assert pod.termination.error.message == "Stage fit was ended by SIGSEGV."
    begun = [line.split("stage ")[1] for line in pod.log.splitlines() if "stage " in line]
    assert begun == ["fetch", "model", "fit"]


def test_a_stage_that_fails_ends_its_process(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=raise_bug", "+prepare=succeed")
    assert pod.wait() == ExitCode.InternalError
    assert "stage prepare" not in pod.log


def test_a_crash_in_c_shows_the_python_lines_that_led_there(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fit=crash")
    pod.wait()
    assert pod.termination.error is not None
    assert any("in crash" in line for line in pod.termination.error.log_tail)


def test_an_unknown_exit_code_is_an_internal_error_with_the_last_line(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fit=exit_silently")
    assert pod.wait() == ExitCode.InternalError
    assert pod.termination.error is not None
    assert pod.termination.error.message == "Stage fit ended with exit code 3: last words"


def test_a_long_error_fits_into_the_termination_message(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=fail_at_length")
    assert pod.wait() == ExitCode.InvalidData
    assert 100 < len(pod.message) <= 4096
    assert pod.termination.error is not None
    assert pod.termination.error.reason == "InvalidData"


def test_sigterm_lets_the_stage_save_and_ends_as_interrupted(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=save_on_sigterm", "fit=succeed")
    pod.wait_for("waiting")
    pod.process.send_signal(signal.SIGTERM)
    assert pod.wait() == ExitCode.Interrupted
    assert (pod.job_directory / "saved").exists()
    assert not (pod.job_directory / "result.json").exists()
    assert pod.termination.error is not None
    assert pod.termination.error.reason == "Interrupted"
    assert "fetch" in pod.termination.error.message


def test_sigterm_before_the_stage_can_handle_it_is_interrupted_too(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=wait")
    pod.wait_for("stage fetch")
    pod.process.send_signal(signal.SIGTERM)
    assert pod.wait() == ExitCode.Interrupted


def test_a_repeated_sigterm_still_waits_but_a_second_interrupt_does_not(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=ignore_sigterm")
    pod.wait_for("waiting")
    for _ in range(3):
        pod.process.send_signal(signal.SIGTERM)
        time.sleep(0.1)
    assert pod.process.poll() is None
    pod.process.send_signal(signal.SIGINT)
    assert pod.wait() == ExitCode.Interrupted


def test_a_stage_without_progress_is_killed_as_stalled(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fit=wait", FINETUNE_STALL_SECONDS="1")
    assert pod.wait() == ExitCode.Stalled
    assert pod.termination.error is not None
    assert "fit showed no progress for 1 s" in pod.termination.error.message


def test_invalid_reports_are_ignored(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=send_invalid_reports")
    assert pod.wait() == 0
    assert pod.log.count("sent an invalid report") == 4


def test_helpers_die_with_their_stage_and_orphans_are_reaped(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=leave_orphans", "fit=wait")
    pod.wait_for("waiting")
    children = Path(f"/proc/{pod.process.pid}/task/{pod.process.pid}/children")
    # Left are the stage that waits and the daemon that has its own session, none as a zombie.
    wait_until(lambda: len(children.read_text().split()) == 1)
    pod.process.send_signal(signal.SIGTERM)
    assert pod.wait() == ExitCode.Interrupted


def test_the_memory_of_the_supervisor_does_not_grow_with_the_log(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=write_much", "fit=wait")
    pod.wait_for("waiting")
    status = Path(f"/proc/{pod.process.pid}/status").read_text()
    peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1])
    assert peak < 64 * 1024
    assert os.path.getsize(tmp_path / "log") > 80_000_000
    progress = json.loads(pod.get("/progress"))
    assert len(progress["trainerStatus"]["metrics"]) == 64
    pod.process.send_signal(signal.SIGTERM)
    pod.wait()


def test_the_supervisor_never_loads_mxnet_or_numpy(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=wait")
    pod.wait_for("waiting")
    maps = Path(f"/proc/{pod.process.pid}/maps").read_text()
    assert "mxnet" not in maps
    assert "numpy" not in maps
    pod.process.send_signal(signal.SIGTERM)
    pod.wait()


def test_a_port_in_use_is_reported(tmp_path: Path) -> None:
    first = start_pod(tmp_path, "fetch=wait")
    first.get("/healthz")
    port = first.log.partition("HTTP on port ")[2].split()[0]
    (tmp_path / "second").mkdir()
    second = start_pod(tmp_path / "second", "fetch=succeed", FINETUNE_PORT=port)
    assert second.wait() == ExitCode.InternalError
    assert second.termination.error is not None
    assert "Address already in use" in second.termination.error.message
    first.process.send_signal(signal.SIGTERM)
    first.wait()


def test_a_workspace_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=succeed", FINETUNE_WORKSPACE="/sys/workspace")
    assert pod.wait() == ExitCode.PermissionDenied
    assert pod.termination.error is not None
    assert "/sys/workspace" in pod.termination.error.message


def test_a_result_that_cannot_be_read_is_ignored(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=succeed")
    pod.wait()
    (pod.job_directory / "result.json").write_text('{"accuracy": 1')
    assert start_pod(tmp_path, "fetch=succeed").wait() == 0
    assert "result.json is ignored" in pod.log


def test_a_stall_shows_the_last_lines_that_its_hint_names(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fit=wait", FINETUNE_STALL_SECONDS="1")
    pod.wait()
    assert pod.termination.error is not None
    assert "waiting" in pod.termination.error.log_tail


def test_two_interrupts_at_once_are_an_interruption_not_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(sys.path))
    job = parse_job(json.dumps(make_job()))
    stages = table("fetch=ignore_sigterm")

    class Impatient(PlainDisplay):
        def say(self, text: str) -> None:
            os.kill(os.getpid(), signal.SIGINT)
            os.kill(os.getpid(), signal.SIGINT)

    with Signals() as signals:
        ending = Supervisor(
            job=job,
            environment={
                "FINETUNE_JOB": json.dumps(make_job()),
                "FINETUNE_WORKSPACE": str(tmp_path),
            },
            run_status=RunStatus(reference(job), stages=stages),
            display=Impatient(),
            signals=signals,
            stages=stages,
        ).run()
    assert signals.hurry
    assert ending.code == ExitCode.Interrupted


def test_files_that_a_killed_attempt_left_half_written_are_removed(tmp_path: Path) -> None:
    pod = start_pod(tmp_path, "fetch=raise_bug")
    pod.wait()
    (pod.job_directory / ".best.k1ll3d/best").mkdir(parents=True)
    start_pod(tmp_path, "fetch=succeed").wait()
    assert not list(pod.job_directory.glob(".best*"))
