"""The kinds of work that are compared: one object for each number makes one pod."""

import functools
import json
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
from bench.scale.checkout import Checkout
from tests.support.operator_process import IMAGE

PLAIN, SAME, FINE_TUNE_JOBS = "plain Jobs", "same Jobs", "FineTuneJobs"
HOLDS = "bench-holds"
"""The label of pods that run until all are let go."""
JOB_NAME = "batch.kubernetes.io/job-name"


@dataclass(frozen=True, kw_only=True)
class Work:
    """A kind of objects, and the operator that takes part."""

    name: str
    path: Callable[[str], str]
    """The path of the objects of a namespace, of all with ""."""
    build: Callable[[int], Object]
    named_by: str
    """The label by which a pod names its object."""
    revision: str = ""
    checkout: Checkout | None = None

    @property
    def operated(self) -> bool:
        """Whether there is an operator."""
        return self.name == FINE_TUNE_JOBS


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


def renumbered(manifest: Object, number: int) -> Object:
    """Return the Job of FineTuneJob 0 as that of another, with a uid of its own."""
    uid = manifest["metadata"]["labels"][c.LABEL_JOB_UID]
    text = json.dumps(manifest).replace(f"{0:05}", f"{number:05}")
    found: Object = json.loads(text.replace(uid, str(uuid.uuid4())))
    found["metadata"].pop("namespace", None)
    return found


def plain() -> Work:
    """Return the floor of any operator that makes a Job for each object."""
    return Work(name=PLAIN, path=urls.jobs, build=plain_job, named_by=JOB_NAME)


def same(checkout: Checkout) -> Work:
    """Return the floor of this operator."""
    build = functools.partial(renumbered, checkout.same_job())
    label = checkout.label
    return Work(name=SAME, path=urls.jobs, build=build, named_by=JOB_NAME, revision=label)


def fine_tune_jobs(checkout: Checkout) -> Work:
    """Return the work of the operator itself."""
    return Work(
        name=FINE_TUNE_JOBS,
        path=urls.fine_tune_jobs,
        build=fine_tune_job,
        named_by=c.LABEL_JOB,
        revision=checkout.label,
        checkout=checkout,
    )


def holding(body: Object) -> Object:
    """Let the pod of a FineTuneJob run until all are let go."""
    labels = {**body["spec"]["trainer"].get("podLabels", {}), HOLDS: "true"}
    trainer = {**body["spec"]["trainer"], "podLabels": labels}
    return {**body, "spec": {**body["spec"], "trainer": trainer}}
