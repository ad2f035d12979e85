"""The trainer's container: environment, resources, security context and mounts."""

import msgspec

from finetune_operator.api import constants as c
from finetune_operator.api.trainer import Trainer
from finetune_operator.api.types import FineTuneJob
from finetune_operator.children import volumes
from finetune_operator.children.manifest import Manifest, without_none
from finetune_operator.policy.plan import CreateAttempt

POD_UID = "$(POD_UID)"  # the kubelet expands it


def build_container(
    job: FineTuneJob,
    attempt: CreateAttempt,
    *,
    gpus: int,
    image: str,
    pull: str,
    resources: Manifest,
) -> Manifest:
    """Build the one container of an attempt's pods."""
    trainer = job.spec.trainer
    return without_none(
        {
            "name": c.CONTAINER,
            "image": image,
            "imagePullPolicy": trainer.image_pull_policy or pull,
            "env": [
                {
                    "name": "POD_UID",
                    "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}},
                },
                {"name": "FINETUNE_JOB", "value": encode_job(job, number=attempt.number)},
                {"name": "FINETUNE_GPUS", "value": str(gpus)},
                *_role(job, attempt),
                {"name": "FINETUNE_STALL_SECONDS", "value": str(job.spec.stall_deadline_seconds)},
                *msgspec.to_builtins(trainer.env),
            ],
            "envFrom": [
                {"prefix": prefix, "secretRef": {"name": name}} for prefix, name in _secrets(job)
            ]
            or None,
            "ports": [{"name": "http", "containerPort": c.TRAINER_PORT}],
            "resources": resources,
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": volumes.mounts(job),
        }
    )


def _role(job: FineTuneJob, attempt: CreateAttempt) -> list[Manifest]:
    if attempt.prepare:
        return [{"name": "FINETUNE_ROLE", "value": c.ROLE_PREPARE}]
    if job.gang_service is None:
        return []
    leader = f"{job.job_name(attempt.number)}-0.{job.gang_service}"
    return [
        {"name": "FINETUNE_NODES", "value": str(job.spec.trainer.num_nodes)},
        {"name": "FINETUNE_COORDINATOR", "value": leader},
    ]


def encode_job(job: FineTuneJob, *, number: int) -> str:
    """Return FINETUNE_JOB, the job in the trainer contract's form; the kubelet halves each `$$`."""
    spec = job.spec
    body = {
        "name": job.metadata.name,
        "namespace": job.metadata.namespace,
        "uid": job.metadata.uid,
        "attempt": number,
        "podUid": "",
        "model": spec.model,
        "dataset": spec.dataset,
        "training": spec.training,
        "output": spec.output,
    }
    text = msgspec.json.encode(without_none(body)).decode().replace("$", "$$")
    return text.replace('"podUid":""', f'"podUid":"{POD_UID}"', 1)


def _secrets(job: FineTuneJob) -> list[tuple[str, str]]:
    return [
        (f"{use.upper()}_", location["secretRef"]["name"])
        for use, location in job.spec.locations.items()
        if location.get("secretRef")
    ]


def build_resources(trainer: Trainer, *, gpus: int, memory: str) -> Manifest:
    """Return requests and limits; without any for memory a pod would be the first to be evicted,
    and no scheduler would know what it needs.
    """
    limits, requests = dict(trainer.resources.limits), dict(trainer.resources.requests)
    if "memory" not in limits:  # which else is the request
        requests.setdefault("memory", memory)
    # What cannot be overcommitted needs a limit; a limit alone is its own request, not the reverse.
    alone = {key: requests[key] for key in requests if "/" in key or key.startswith("hugepages-")}
    limits = {**alone, **limits}
    if gpus:
        limits[trainer.gpu_resource_name] = gpus
    return without_none({"limits": limits or None, "requests": requests or None})
