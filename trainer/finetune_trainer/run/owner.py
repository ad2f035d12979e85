"""The owner of a job's directory: a fence, so that a pod on a lost node does not write into the run
of its successor.
"""

from pathlib import Path

from finetune_trainer.contract import ExitCode, Job, TrainerError
from finetune_trainer.run.files import write_atomic, write_json
from finetune_trainer.run.handoff import OWNER, RECORD, JobRecord


def claim(directory: Path, pod_uid: str) -> None:
    """Make this pod the owner: from now on `check` fails in the pod that was the owner before."""
    write_atomic(directory / OWNER, pod_uid.encode())


def record(directory: Path, job: Job) -> None:
    """Write once which job the directory belongs to; the file's time is when the job began."""
    if not (directory / RECORD).exists():
        write_json(directory / RECORD, JobRecord(namespace=job.namespace, name=job.name))


def check(directory: Path, pod_uid: str) -> None:
    """Raise if another pod has taken over; to be called right before a rename."""
    owner = (directory / OWNER).read_text()
    if owner != pod_uid:
        raise TrainerError(
            ExitCode.TemporaryFailure,
            f"Pod {owner} has taken over this run from pod {pod_uid}, which stops here.",
        )
