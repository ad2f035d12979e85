"""The Kubernetes objects of an attempt, as pure functions of the job: same job, same manifest."""

from typing import Any

import msgspec

from finetune_operator import constants as c
from finetune_operator import placement, volumes
from finetune_operator.api import FineTuneJob
from finetune_operator.pods import Trainer

Manifest = dict[str, Any]
POD_UID = "$(POD_UID)"  # the kubelet expands it from the variable before


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
                    "labels": {**trainer.pod_labels, **labels},
                    # A sidecar that never ends would keep the Job from ending.
                    "annotations": {**trainer.pod_annotations, "sidecar.istio.io/inject": "false"},
                },
                "spec": _without_none(
                    {
                        "restartPolicy": "Never",
                        "automountServiceAccountToken": False,
                        "enableServiceLinks": False,
                        "terminationGracePeriodSeconds": trainer.termination_grace_period_seconds,
                        "securityContext": _pod_security(trainer),
                        "nodeSelector": placement.node_selector(trainer, own_image=own_image),
                        "affinity": placement.affinity(trainer, own_image=own_image),
                        "tolerations": placement.tolerations(trainer),
                        "priorityClassName": trainer.priority_class_name,
                        "schedulerName": trainer.scheduler_name,
                        "runtimeClassName": trainer.runtime_class_name,
                        "serviceAccountName": trainer.service_account_name,
                        "imagePullSecrets": [
                            {"name": secret.name} for secret in trainer.image_pull_secrets
                        ]
                        or None,
                        "containers": [_container(job, number=number, image=image, pull=pull)],
                        "volumes": volumes.pod_volumes(job),
                    }
                ),
            },
        },
    }


def build_claim(job: FineTuneJob) -> Manifest | None:
    """Build the workspace's claim, if the operator is to create it.

    With Retain nothing ties it to the job but its labels: they say who may use it again.
    """
    workspace = job.spec.workspace
    if workspace is None or workspace.size is None:
        return None
    metadata: Manifest = {
        "name": job.workspace_claim,
        "namespace": job.metadata.namespace,
        "labels": {
            c.LABEL_MANAGED_BY: c.MANAGER,
            "app.kubernetes.io/name": "finetune-trainer",
            "app.kubernetes.io/component": "workspace",
            c.LABEL_JOB: job.metadata.name,
        },
    }
    if workspace.reclaim_policy == "Delete":
        metadata["ownerReferences"] = [_owner(job)]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": _without_none(
            {
                "accessModes": list(workspace.access_modes or ("ReadWriteOnce",)),
                "resources": {"requests": {"storage": workspace.size}},
                "storageClassName": workspace.storage_class_name,
            }
        ),
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
                {"name": "FINETUNE_STALL_SECONDS", "value": str(job.spec.stall_deadline_seconds)},
                *msgspec.to_builtins(trainer.env),
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
            "volumeMounts": volumes.mounts(job),
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


def _without_none(body: Manifest) -> Manifest:
    return {key: value for key, value in body.items() if value is not None}
