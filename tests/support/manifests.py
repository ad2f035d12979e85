"""The parts of a Job that tests look at."""

from typing import Any

from finetune_operator.api.types import FineTuneJob
from finetune_operator.children.job import build_job
from finetune_operator.policy.plan import CreateAttempt

FIRST = CreateAttempt(1)


def build(
    job: FineTuneJob, *, own_image: bool = True, attempt: CreateAttempt = FIRST
) -> dict[str, Any]:
    return build_job(job, attempt, image="trainer:1", own_image=own_image, pull="IfNotPresent")


def pod_of(
    job: FineTuneJob, *, own_image: bool = True, attempt: CreateAttempt = FIRST
) -> dict[str, Any]:
    job_of_attempt = build(job, own_image=own_image, attempt=attempt)
    pod: dict[str, Any] = job_of_attempt["spec"]["template"]["spec"]
    return pod


def container_of(job: FineTuneJob) -> dict[str, Any]:
    (container,) = pod_of(job)["containers"]
    assert isinstance(container, dict)
    return container


def environment_of(job: FineTuneJob) -> dict[str, Any]:
    return {each["name"]: each for each in container_of(job)["env"]}


def expanded(text: str, variables: dict[str, str]) -> str:
    """What the kubelet makes of a value: $(X) is replaced, $$ is one dollar."""
    result, rest = "", text
    while rest:
        if rest.startswith("$$"):
            result, rest = result + "$", rest[2:]
        elif rest.startswith("$(") and (name := rest[2:].split(")")[0]) in variables:
            result, rest = result + variables[name], rest[len(name) + 3 :]
        else:
            result, rest = result + rest[0], rest[1:]
    return result
