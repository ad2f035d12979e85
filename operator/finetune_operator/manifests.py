"""The Kubernetes objects of an attempt, as pure functions of the job: same job, same manifest."""

from typing import Any
from urllib.parse import urlsplit

import msgspec

from finetune_operator import constants as c
from finetune_operator.api import FineTuneJob, Trainer

Manifest = dict[str, Any]
POD_UID = "$(POD_UID)"  # the kubelet expands it from the variable before
# MXNet 1.9.1 for CUDA 11.2 has machine code up to compute capability 8.x and no PTX.
UNSUPPORTED_COMPUTE_MAJORS = ["9", "10", "12"]


def build_job(job: FineTuneJob, *, number: int, image: str, own_image: bool, pull: str) -> Manifest:
    """Build the batch/v1 Job of an attempt. `own_image`: one of this project's images."""
    trainer = job.spec.trainer
    labels = {**_labels(job), c.LABEL_ATTEMPT: str(number)}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": f"{job.metadata.name}-{number}",
            "namespace": job.metadata.namespace,
            "labels": labels,
            "ownerReferences": [_owner(job)],
        },
        "spec": {
            "backoffLimit": 0,  # the operator retries: each attempt is a Job of its own
            "podReplacementPolicy": "Failed",
            "podFailurePolicy": {
                # Its only use: the Job's condition then keeps the cause when the pod is gone.
                "rules": [
                    {
                        "action": "FailJob",
                        "onPodConditions": [{"type": "DisruptionTarget", "status": "True"}],
                    },
                    {
                        "action": "FailJob",
                        "onExitCodes": {
                            "containerName": c.CONTAINER,
                            "operator": "NotIn",
                            "values": [0],
                        },
                    },
                ]
            },
            "template": {
                "metadata": {
                    "labels": labels,
                    "annotations": {"sidecar.istio.io/inject": "false"},
                },
                "spec": _without_none(
                    {
                        "restartPolicy": "Never",
                        "automountServiceAccountToken": False,
                        "enableServiceLinks": False,
                        "terminationGracePeriodSeconds": trainer.termination_grace_period_seconds,
                        "securityContext": _pod_security(trainer),
                        "nodeSelector": _node_selector(trainer, own_image=own_image),
                        "affinity": _affinity(trainer, own_image=own_image),
                        "tolerations": _tolerations(trainer),
                        "priorityClassName": trainer.priority_class_name,
                        "schedulerName": trainer.scheduler_name,
                        "runtimeClassName": trainer.runtime_class_name,
                        "serviceAccountName": trainer.service_account_name,
                        "imagePullSecrets": [
                            {"name": secret.name} for secret in trainer.image_pull_secrets
                        ]
                        or None,
                        "containers": [_container(job, number=number, image=image, pull=pull)],
                        "volumes": _volumes(job),
                    }
                ),
            },
        },
    }


def _labels(job: FineTuneJob) -> dict[str, str]:
    return {
        c.LABEL_MANAGED_BY: c.MANAGER,
        "app.kubernetes.io/name": "finetune-trainer",
        "app.kubernetes.io/component": "trainer",
        c.LABEL_JOB: job.metadata.name,
        c.LABEL_JOB_UID: job.metadata.uid,
    }


def _owner(job: FineTuneJob) -> Manifest:
    return {
        "apiVersion": c.API_VERSION,
        "kind": c.KIND,
        "name": job.metadata.name,
        "uid": job.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def _container(job: FineTuneJob, *, number: int, image: str, pull: str) -> Manifest:
    trainer = job.spec.trainer
    return _without_none(
        {
            "name": c.CONTAINER,
            "image": image,
            "imagePullPolicy": trainer.image_pull_policy or pull,
            "env": [
                {
                    "name": "POD_UID",
                    "valueFrom": {"fieldRef": {"fieldPath": "metadata.uid"}},
                },
                {"name": "FINETUNE_JOB", "value": encode_job(job, number=number)},
                {"name": "FINETUNE_GPUS", "value": str(trainer.gpus_per_node)},
            ],
            "envFrom": [
                {"prefix": prefix, "secretRef": {"name": name}} for prefix, name in _secrets(job)
            ]
            or None,
            "ports": [{"name": "http", "containerPort": c.TRAINER_PORT}],
            "resources": _resources(trainer),
            "securityContext": {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            },
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "volumeMounts": _mounts(job),
        }
    )


def encode_job(job: FineTuneJob, *, number: int) -> str:
    """Encode what the trainer is to do, as the contract has it; `$` is doubled for the kubelet."""
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
    text = msgspec.json.encode(_without_none(body)).decode().replace("$", "$$")
    return text.replace('"podUid":""', f'"podUid":"{POD_UID}"', 1)


def _secrets(job: FineTuneJob) -> list[tuple[str, str]]:
    uses = {
        "DATASET_": job.spec.dataset.get("source"),
        "VALIDATION_": job.spec.dataset.get("validationSource"),
    }
    return [
        (prefix, source["secretRef"]["name"])
        for prefix, source in uses.items()
        if source and source.get("secretRef")
    ]


def _resources(trainer: Trainer) -> Manifest:
    limits, requests = dict(trainer.resources.limits), dict(trainer.resources.requests)
    if trainer.gpus_per_node:
        limits[trainer.gpu_resource_name] = trainer.gpus_per_node
    return _without_none({"limits": limits or None, "requests": requests or None})


def _pod_security(trainer: Trainer) -> Manifest:
    identity = trainer.security_context
    return _without_none(
        {
            "runAsNonRoot": True,
            "runAsUser": identity.run_as_user,
            "runAsGroup": identity.run_as_group or identity.run_as_user,
            "fsGroup": identity.fs_group or identity.run_as_user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "supplementalGroups": list(identity.supplemental_groups) or None,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    )


def _node_selector(trainer: Trainer, *, own_image: bool) -> dict[str, str] | None:
    architecture = {"kubernetes.io/arch": "amd64"} if own_image else {}
    return {**architecture, **trainer.node_selector} or None


def _affinity(trainer: Trainer, *, own_image: bool) -> Manifest | None:
    """Keep the project's own GPU image off GPUs it has no code for; an absent label passes."""
    if not (own_image and trainer.gpus_per_node):
        return None
    expression = {
        "key": "nvidia.com/gpu.compute.major",
        "operator": "NotIn",
        "values": UNSUPPORTED_COMPUTE_MAJORS,
    }
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


def _tolerations(trainer: Trainer) -> list[Manifest] | None:
    own = [msgspec.to_builtins(toleration) for toleration in trainer.tolerations]
    if trainer.gpus_per_node:
        own.append({"key": trainer.gpu_resource_name, "operator": "Exists"})
    return own or None


def _claims(job: FineTuneJob) -> dict[str, bool]:
    """Return the claims that URIs name, and whether each is only read."""
    claims: dict[str, bool] = {}
    for use, uri in job.spec.uris():
        parts = urlsplit(uri)
        if parts.scheme == "pvc":
            claims[parts.netloc] = claims.get(parts.netloc, True) and use != "output"
    return claims


def _volumes(job: FineTuneJob) -> list[Manifest]:
    workspace = job.spec.workspace
    volumes: list[Manifest] = [
        {"name": f"claim-{index}", "persistentVolumeClaim": {"claimName": claim}}
        for index, claim in enumerate(_claims(job))
    ]
    volumes.append(
        {"name": "workspace", "persistentVolumeClaim": {"claimName": workspace.claim_name}}
        if workspace
        else {"name": "workspace", "emptyDir": {}}
    )
    shared_memory = {"medium": "Memory", "sizeLimit": job.spec.trainer.shared_memory}
    volumes.append({"name": "shared-memory", "emptyDir": shared_memory})
    volumes.append({"name": "tmp", "emptyDir": {}})
    return volumes


def _mounts(job: FineTuneJob) -> list[Manifest]:
    mounts: list[Manifest] = [
        {"name": f"claim-{index}", "mountPath": f"/claims/{claim}", "readOnly": read_only}
        for index, (claim, read_only) in enumerate(_claims(job).items())
    ]
    mounts.append({"name": "workspace", "mountPath": "/workspace"})
    mounts.append({"name": "shared-memory", "mountPath": "/dev/shm"})
    mounts.append({"name": "tmp", "mountPath": "/tmp"})
    return mounts


def _without_none(body: Manifest) -> Manifest:
    return {key: value for key, value in body.items() if value is not None}
