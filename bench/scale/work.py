"""The kinds of work that are compared: one object for each number makes one pod."""

import uuid
from collections.abc import Callable
from dataclasses import dataclass

import msgspec
from finetune_operator.api import constants as c
from finetune_operator.api.types import FineTuneJob
from finetune_operator.children.job import build_job
from finetune_operator.kube import urls
from finetune_operator.policy.plan import CreateAttempt
from finetune_operator.settings import Settings

from bench.population import NAMESPACE, Object, fine_tune_job
from tests.support.operator_process import IMAGE


@dataclass(frozen=True, kw_only=True)
class Work:
    """A kind of objects, and whether the operator is there."""

    name: str
    path: str
    build: Callable[[int], Object]
    operated: bool = False


def plain_job(number: int) -> Object:
    """Return the smallest Job."""
    container = {"name": c.CONTAINER, "image": IMAGE}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {"name": f"plain-{number:05}"},
        "spec": {"template": {"spec": {"restartPolicy": "Never", "containers": [container]}}},
    }


def same_job(number: int) -> Object:
    """Return the Job that the operator makes for a FineTuneJob, without its owner: the garbage
    collector would delete the Job of an owner that is not there.
    """
    body = fine_tune_job(number)
    body["metadata"] |= {"namespace": NAMESPACE, "uid": str(uuid.uuid4())}
    job = msgspec.convert(body, FineTuneJob)
    pull = Settings().image_pull_policy
    manifest = build_job(job, CreateAttempt(1), image=IMAGE, own_image=True, pull=pull)
    del manifest["metadata"]["ownerReferences"]
    return manifest


PLAIN = Work(name="plain Jobs", path=urls.jobs(NAMESPACE), build=plain_job)
SAME = Work(name="same Jobs", path=urls.jobs(NAMESPACE), build=same_job)
FINE_TUNE_JOBS = Work(
    name="FineTuneJobs", path=urls.fine_tune_jobs(NAMESPACE), build=fine_tune_job, operated=True
)
ALL = (PLAIN, SAME, FINE_TUNE_JOBS)
