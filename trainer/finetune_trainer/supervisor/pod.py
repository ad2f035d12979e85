"""The trainer as process 1 of a container: settings from the environment, HTTP, signals, and
a termination message, however the attempt ends.
"""

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path

from finetune_trainer.contract.parse import parse_job, parse_reference
from finetune_trainer.pipeline import STAGES, Stage
from finetune_trainer.run.failure import explain
from finetune_trainer.run.gang import Gang
from finetune_trainer.run.signals import Signals
from finetune_trainer.supervisor import roles
from finetune_trainer.supervisor.gang import peers_of
from finetune_trainer.supervisor.http import serve
from finetune_trainer.supervisor.run_status import RunStatus
from finetune_trainer.supervisor.supervisor import Supervisor
from finetune_trainer.supervisor.termination import Ending, encode, fail, reference


def supervise(environment: Mapping[str, str], *, stages: tuple[Stage, ...] = STAGES) -> int:
    """Run the job in FINETUNE_JOB; return the exit code of the contract."""
    path = Path(environment.get("FINETUNE_TERMINATION_LOG", "/dev/termination-log"))
    with Signals() as signals:
        try:
            ending = _run(environment, stages=stages, signals=signals)
        except Exception as exception:
            ending = fail(parse_reference(environment.get("FINETUNE_JOB", "")), explain(exception))
    _log_ending(ending)
    try:
        # Not atomic: the kubelet mounts this very file, it cannot be replaced.
        path.write_bytes(encode(ending.termination))
    except OSError as error:
        reason = f"the termination message was not written to {path}: {error}"
        print(f"finetune-trainer: {reason}", file=sys.stderr)
    return ending.code


def _run(environment: Mapping[str, str], *, stages: tuple[Stage, ...], signals: Signals) -> Ending:
    job = parse_job(environment.get("FINETUNE_JOB", ""))
    gang = Gang.of(environment)
    role = roles.choose(environment, gang)
    stages = role.select(stages)
    run_status = RunStatus(reference(job), stages=stages)
    log = _ContainerLog()
    configured = int(environment.get("FINETUNE_PORT", "8080"))  # 0: any free port
    with serve(run_status, stages=stages, port=configured) as port:
        log.say(f"job {job.namespace}/{job.name}, attempt {job.attempt}, HTTP on port {port}")
        peers = peers_of(job, gang, log.say)
        ending = Supervisor(
            job=job,
            environment=environment,
            run_status=run_status,
            display=log,
            signals=signals,
            stages=stages,
            stall_seconds=_stall_seconds(environment, gang),
            role=role,
            peers=peers,
        ).run()
        peers.close(ending)
        return ending


def _stall_seconds(environment: Mapping[str, str], gang: Gang) -> float:
    """Return the stall limit; 0, no limit, for a follower: the leader stalls with any pod."""
    return float(environment.get("FINETUNE_STALL_SECONDS", "0")) if gang.is_leader else 0


class _ContainerLog:
    """Standard output. The training continues if its reader has closed it."""

    def output(self, data: bytes) -> None:
        with contextlib.suppress(BrokenPipeError):
            while data:
                data = data[os.write(sys.stdout.fileno(), data) :]

    def say(self, text: str) -> None:
        self.output(f"finetune-trainer: {text}\n".encode())

    def update(self, run_status: RunStatus) -> None:
        """Print nothing: /progress is read instead."""


def _log_ending(ending: Ending) -> None:
    log = _ContainerLog()
    if result := ending.termination.result:
        log.say(f"accuracy {result.accuracy}")
    if prepared := ending.termination.prepared:
        log.say(f"prepared data set {prepared.digest}")
    if error := ending.termination.error:
        log.say(f"{error.reason}: {error.message}")
        log.say(error.hint)
