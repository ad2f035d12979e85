"""Runs the stages in processes of their own, and returns how the attempt ended. No MXNet here.

MXNet can die of a signal or block in C; the supervisor survives that and reports it.
"""

import dataclasses
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

import msgspec

from finetune_trainer.contract import Error, ExitCode, Job, Result, Termination, TrainerError
from finetune_trainer.pipeline import STAGES, Stage, by_process, gpus_from, paths_from
from finetune_trainer.run import owner
from finetune_trainer.run.failure import explain
from finetune_trainer.run.files import clear_leftovers, read_json
from finetune_trainer.run.handoff import RESULT
from finetune_trainer.run.signals import Signals
from finetune_trainer.supervisor.child import Child, Lines, run_to_end
from finetune_trainer.supervisor.gang import Alone, Peers
from finetune_trainer.supervisor.roles import TRAIN, Role
from finetune_trainer.supervisor.run_status import Report, ReportedError, RunStatus
from finetune_trainer.supervisor.termination import Ending, fail, reference, with_checkpoint

_REPORT_BYTES = 64 * 1024
_EXIT_SECONDS = 10.0
"""Time for a stage that has reported its error to exit: MXNet may wait for other pods even then."""


class Display(Protocol):
    """The place where users see the run: the log of a pod, or a terminal."""

    def output(self, data: bytes) -> None:
        """Show what a stage printed."""

    def say(self, text: str) -> None:
        """Show a message of the supervisor."""

    def update(self, run_status: RunStatus) -> None:
        """Show the progress of the run."""


class Crash(Exception):
    """A stage's process died of a signal."""

    def __init__(self, stage: str, number: int) -> None:
        super().__init__(stage)
        self.code = 128 + number
        name = signal.Signals(number).name
        self.message = f"Stage {stage} was ended by {name}."
        self.hint = "See logTail for what the process printed last."
        if number == signal.SIGKILL:
            self.hint = (
                "Most likely the kernel killed it for lack of memory: raise "
                "trainer.resources.limits.memory or lower training.batchSizePerDevice."
            )


@dataclasses.dataclass(frozen=True, kw_only=True)
class Supervisor:
    """One attempt of one job."""

    job: Job
    environment: Mapping[str, str]
    """Variables of the stages' processes; the directories are read from them."""
    run_status: RunStatus
    display: Display
    signals: Signals
    stages: tuple[Stage, ...] = STAGES
    stall_seconds: float = 0
    """Seconds without progress after which a stage is killed; 0: no limit."""
    role: Role = TRAIN
    peers: Peers = dataclasses.field(default_factory=Alone)

    def run(self) -> Ending:
        """Run the stages, unless there is a result; return the ending, whatever happens."""
        try:
            if not self._has_result():
                self._run_stages()
            return self.role.conclude(self.job, self._directory)
        except Crash as crash:
            error = Error(
                reason="Crashed",
                message=crash.message,
                hint=crash.hint,
                log_tail=self.run_status.log_tail,
            )
            ending = Ending(crash.code, Termination(job=reference(self.job), error=error))
        except Exception as exception:
            ending = fail(
                reference(self.job), explain(exception), log_tail=self.run_status.log_tail
            )
        return with_checkpoint(ending, self.run_status.snapshot().checkpoint)

    @property
    def _directory(self) -> Path:
        return paths_from(self.environment, uid=self.job.uid).job

    def _has_result(self) -> bool:
        path = self._directory / RESULT
        if not self.role.reuses_result:
            return False
        try:
            read_json(path, Result)
        except FileNotFoundError:
            return False
        except msgspec.DecodeError as error:
            self.display.say(f"{path} is ignored: {error}")
            return False
        self.display.say(f"{path} has the result of an earlier attempt")
        return True

    def _run_stages(self) -> None:
        if self.role.writes:
            owner.claim(self._directory, self.job.pod_uid)
            owner.record(self._directory, self.job)
            clear_leftovers(self._directory)
        gpus = gpus_from(self.environment)
        for stages in by_process(self.stages, self.job, gpus=gpus):
            if self.signals.stop:
                raise _interrupted(stages[0].name)
            self.begin(stages[0])
            if not self._join(stages[0]):
                return
            self._run_process(stages)
        while not self.peers.released:
            self._wait_and_poll()
        self.run_status.finish()
        self.display.update(self.run_status)

    def begin(self, stage: Stage) -> None:
        """Record and show that a stage begins."""
        self.run_status.start(stage)
        self.display.say(f"stage {stage.name}")
        self.display.update(self.run_status)

    def _join(self, stage: Stage) -> bool:
        """Wait for the gang's leader; return False if it has finished before this pod joined."""
        while not self.peers.joined:
            if self._has_result():
                return False
            if self.signals.stop:
                raise _interrupted(stage.name)
            self._wait_and_poll()
        return True

    def _wait_and_poll(self) -> None:
        self.signals.wait(seconds=0.5)
        self.poll()

    def poll(self) -> None:
        """Record for /healthz that the loop is alive; exchange messages with the gang."""
        self.run_status.last_poll = time.monotonic()
        self.signals.stop |= self.peers.poll(stopping=self.signals.stop)

    def _run_process(self, stages: Sequence[Stage]) -> None:
        """Run stages in one process; raise TrainerError or Crash if it fails."""
        watch = _Watch(self, stages)
        extra = {**self.peers.environment, "PYTHONUNBUFFERED": "1"}
        functions = [f"{stage.name}={stage.function}" for stage in stages]
        child = Child(
            [sys.executable, "-P", "-m", "finetune_trainer", "stages", *functions],
            environment={**os.environ, **self.environment, **extra},
        )
        try:
            watch.run_to_end(child)
        finally:
            child.close()
        watch.check_status(child.status)
        self.peers.finished(stages[-1].name)


class _Watch:
    """Follows one process of stages: its output, its reports and its time limits."""

    def __init__(self, supervisor: Supervisor, stages: Sequence[Stage]) -> None:
        self._supervisor = supervisor
        self._stage, *self._later = stages
        self._error: ReportedError | None = None
        self._error_time = 0.0
        self._stopping = False
        self._stalled = False
        self._reports = Lines(self._take_report, limit=_REPORT_BYTES)

    def run_to_end(self, child: Child) -> None:
        run_to_end(
            child,
            output=self._take_output,
            reports=self._reports.feed,
            wakeup=self._supervisor.signals.wakeup,
            tick=lambda: self._tick(child),
        )

    def check_status(self, status: int) -> None:
        """Raise unless the process has ended well."""
        if self._stalled:
            seconds = f"{self._supervisor.stall_seconds:g}"
            raise TrainerError(
                ExitCode.Stalled,
                f"Stage {self._stage.name} showed no progress for {seconds} s and was killed.",
                "logTail has its last lines: look for a volume, server or device that hangs. If the"
                " stage only needs longer, raise stallDeadlineSeconds.",
            )
        if status == 0 and not self._error:
            return
        if self._stopping or status == -signal.SIGTERM:
            raise _interrupted(self._stage.name)
        if self._error:
            code, message, hint = self._error.code, self._error.message, self._error.hint
            raise TrainerError(ExitCode(code), message, hint)
        if status < 0:
            raise Crash(self._stage.name, -status)
        last = next(reversed(self._supervisor.run_status.log_tail), "it printed nothing")
        raise TrainerError(
            ExitCode.InternalError,
            f"Stage {self._stage.name} ended with exit code {status}: {last}",
            "This is a bug in the trainer: please report it with logTail.",
        )

    def _take_output(self, data: bytes) -> None:
        self._supervisor.display.output(data)
        self._supervisor.run_status.log(data)

    def _take_report(self, line: bytes) -> None:
        try:
            report = msgspec.json.decode(line, type=Report)
        except msgspec.DecodeError as error:
            self._supervisor.display.say(
                f"stage {self._stage.name} sent an invalid report: {error}"
            )
            return
        if self._later and report.stage == self._later[0].name:
            self._supervisor.peers.finished(self._stage.name)
            self._stage = self._later.pop(0)
            self._supervisor.begin(self._stage)
        if report.error:
            self._error, self._error_time = report.error, time.monotonic()
        self._supervisor.run_status.apply(report)
        self._supervisor.display.update(self._supervisor.run_status)

    def _tick(self, child: Child) -> None:
        run_status, signals = self._supervisor.run_status, self._supervisor.signals
        self._supervisor.poll()
        if signals.stop and not self._stopping:
            self._stopping = True
            child.signal(signal.SIGTERM)
        if signals.hurry or (
            self._error and run_status.last_poll - self._error_time > _EXIT_SECONDS
        ):
            child.signal(signal.SIGKILL)
        limit = self._supervisor.stall_seconds
        if limit and not self._stopping and run_status.last_poll - run_status.last_progress > limit:
            self._stalled = True
            child.signal(signal.SIGKILL)


def _interrupted(stage: str) -> TrainerError:
    return TrainerError(
        ExitCode.Interrupted,
        f"Stopped on request during stage {stage}.",
        "The next attempt resumes from the last checkpoint in the workspace.",
    )
