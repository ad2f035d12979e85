"""Stages of a few lines, run by the real supervisor in real processes.

`python -m tests.trainer.support.small_stages fetch=succeed fit=crash` supervises the job in
FINETUNE_JOB with these two stages, each a function of this module. With `run MANIFEST DATA
WORKSPACE OUTPUT` before the stages it is a local run.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from finetune_trainer.cli.run import RunOptions, run_local
from finetune_trainer.contract import (
    CheckpointStatus,
    DatasetStatus,
    ExitCode,
    Metric,
    ModelStatus,
    Result,
    TrainerError,
)
from finetune_trainer.pipeline import Stage
from finetune_trainer.run import handoff
from finetune_trainer.run.context import Run
from finetune_trainer.run.files import write_json
from finetune_trainer.run.reporter import Work
from finetune_trainer.supervisor.pod import supervise

DATASET = DatasetStatus(
    classes=3, train_images=12, validation_images=6, rejected_images=1, digest="d" * 64
)
MODEL = ModelStatus(name="efficientnet-lite0", sha256="e" * 64, head="fc")


def succeed(run: Run) -> None:
    """Leave a result with accuracy 0.75."""
    metrics = (Metric(name="accuracy", value="0.7500"),)
    run.reporter.progress(step=1, fraction=1.0, metrics=metrics)
    write_json(
        run.paths.job / handoff.RESULT,
        Result(accuracy="0.7500", recipe="features", metrics=metrics, dataset=DATASET),
    )


def report_all(run: Run) -> None:
    """Report everything that can be reported, then wait."""
    run.reporter.dataset(DATASET)
    run.reporter.model(MODEL)
    run.reporter.checkpoint(CheckpointStatus(epoch=1, step=2, time="2026-01-01T00:00:00Z"))
    run.reporter.progress(
        step=3,
        fraction=0.5,
        metrics=(
            Metric(name="accuracy", value="0.5"),
            Metric(name="epoch", value="1"),
            Metric(name="learning-rate", value="1.25e-06"),
            Metric(name="loss", value="none"),
            Metric(name="speed-of-light", value="3e8"),
        ),
        note="epoch 1 of 2",
        work=Work(steps=2, images=16, step_seconds=1.5, data_wait_seconds=0.25, checkpoints=1),
    )
    print("half of it is done", flush=True)
    wait(run)


def wait(run: Run) -> None:
    """Do nothing for a minute."""
    print("waiting", flush=True)
    time.sleep(60)


def save_on_sigterm(run: Run) -> None:
    """Write a file when asked to stop, as a fit saves its checkpoint."""

    def save(number: int, frame: object) -> None:
        (run.paths.job / "saved").write_text("saved")
        raise TrainerError(ExitCode.Interrupted, "saved epoch 3")

    signal.signal(signal.SIGTERM, save)
    wait(run)


def ignore_sigterm(run: Run) -> None:
    """Block like a long call into C."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    wait(run)


def fail_as_asked(run: Run) -> None:
    """Fail with the exit code that the job's name ends with."""
    code = ExitCode(int(run.job.name.rpartition("-")[2]))
    raise TrainerError(code, f"message of {code.name}", f"hint of {code.name}")


def fail_at_length(run: Run) -> None:
    """Fail with more text than a termination message holds."""
    raise TrainerError(ExitCode.InvalidData, "\u00e9\x01" * 100_000, "h" * 10_000)


def raise_bug(run: Run) -> None:
    """Fail as a bug does."""
    raise KeyError("no such key in here")


def name_a_file_that_is_not_utf_8(run: Run) -> None:
    """Fail with a name as the file system has it."""
    name = os.fsdecode(b"n\xe9")
    raise TrainerError(ExitCode.InputNotFound, "no photos", f"Found there: {name}.")


def fill_disk(run: Run) -> None:
    """Fail as a full disk does."""
    with open("/dev/full", "wb", buffering=0) as file:
        file.write(b"x")


def be_refused(run: Run) -> None:
    """Fail as a file of another user does."""
    raise PermissionError(13, "Permission denied", "/claims/photos/cat.jpg")


def crash(run: Run) -> None:
    """Die in C, as MXNet's decoder does."""
    ctypes.string_at(0)


def be_killed(run: Run) -> None:
    """Die as a process that the kernel's out-of-memory killer ends."""
    os.kill(os.getpid(), signal.SIGKILL)


def exit_silently(run: Run) -> None:
    """End with a code that is not in the contract."""
    print("last words", flush=True)
    os._exit(3)


def write_much(run: Run) -> None:
    """Print 80 MB, half of it one line, and report 5000 metrics."""
    for block in ((b"x" * 99 + b"\n") * 1_000, b"y" * 100_000):
        for _ in range(400):
            os.write(1, block)
    for number in range(5_000):
        run.reporter.progress(step=number, metrics=(Metric(name=f"m{number}", value="1"),))
    print("\nthe end", flush=True)
    succeed(run)


def send_invalid_reports(run: Run) -> None:
    """Send invalid reports, then succeed."""
    for line in (b"not json", b'{"fraction": NaN}', b'{"step": "one"}', b"[" * 200_000):
        os.write(int(os.environ["FINETUNE_REPORT_FD"]), line + b"\n")
    succeed(run)


def leave_orphans(run: Run) -> None:
    """Leave a helper in the group and a daemon outside it; both hold the output open."""
    for new_session in (False, True):
        subprocess.Popen(["sleep", "3"], start_new_session=new_session)
    # Its parent ends at once: process 1 inherits it, and has to reap it.
    subprocess.run(["sh", "-c", "(sleep 0.2; exit 7) &"], check=True)
    time.sleep(0.5)
    succeed(run)


def table(*stages: str) -> tuple[Stage, ...]:
    """Return the stage table for `name=function` pairs; +name: in the process before it."""
    pairs = [stage.split("=") for stage in stages]
    return tuple(
        Stage(name.lstrip("+"), f"{__spec__.name}:{function}", 1, follows_on=name[0] == "+")
        for name, function in pairs
    )


def main(arguments: list[str]) -> int:
    """Supervise, or run a manifest locally."""
    if arguments[0] != "run":
        return supervise(os.environ, stages=table(*arguments))
    manifest, data, workspace, output = map(Path, arguments[1:5])
    options = RunOptions(
        manifest=manifest,
        data=data,
        validation_data=None,
        workspace=workspace,
        output=output,
        fresh=False,
    )
    return run_local(options, stages=table(*arguments[5:]))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
