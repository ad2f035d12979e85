"""The batch/v1 Job of an attempt: the same FineTuneJob always gives the same manifest."""

from finetune_operator.api import constants as c
from finetune_operator.api.trainer import Trainer
from finetune_operator.api.types import FineTuneJob
from finetune_operator.children import placement, volumes
from finetune_operator.children.container import build_container, build_resources
from finetune_operator.children.manifest import Manifest, labels_of, owner_of, without_none
from finetune_operator.children.preparation import preparing
from finetune_operator.policy.plan import CreateAttempt

KEPT_SECONDS = 2**31 - 1
"""The longest time to live: an ended Job is deleted by the operator, or with its FineTuneJob."""


def build_job(
    job: FineTuneJob,
    attempt: CreateAttempt,
    *,
    image: str,
    own_image: bool,
    pull: str,
    user: int = 65532,
    memory: str = "1Gi",
) -> Manifest:
    """Build the Job of an attempt. `own_image`: the image is one of this project's. For a job that
    names none: `user`, the id of the process, 0 for none; `memory`, the request.
    """
    trainer = preparing(job.spec.trainer) if attempt.prepare else job.spec.trainer
    gpus = 0 if attempt.prepare else trainer.gpus_per_node
    labels = {
        **labels_of(job),
        c.LABEL_ATTEMPT: str(attempt.number),
        c.LABEL_ROLE: c.ROLE_PREPARE if attempt.prepare else c.ROLE_TRAIN,
    }
    queue = {key: job.metadata.labels[key] for key in c.KUEUE_LABELS if key in job.metadata.labels}
    gang = None if attempt.prepare else job.gang_service
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {
            "name": job.job_name(attempt.number, prepare=attempt.prepare),
            "namespace": job.metadata.namespace,
            "labels": {**labels, **queue},
            "ownerReferences": [owner_of(job)],
        },
        "spec": {
            "backoffLimit": 0,  # the operator retries with a Job for each attempt
            # A policy that adds one where there is none would delete the result with the Job.
            "ttlSecondsAfterFinished": KEPT_SECONDS,
            "podReplacementPolicy": "Failed",  # https://kep.k8s.io/3939
            **(_indexed(trainer.num_nodes) if gang else {}),
            "podFailurePolicy": {
                # The Job's condition then keeps the cause after the pod is deleted. Not 143: a pod
                # that a queue ends must not fail its Job. https://kep.k8s.io/3329
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
                            "values": [0, 143],
                        },
                    },
                ]
            },
            "template": {
                "metadata": {
                    "labels": {**trainer.pod_labels, **labels},
                    # A sidecar that does not end would keep the Job running.
                    "annotations": {**trainer.pod_annotations, "sidecar.istio.io/inject": "false"},
                },
                "spec": without_none(
                    {
                        "restartPolicy": "Never",
                        "automountServiceAccountToken": False,
                        "enableServiceLinks": False,
                        "terminationGracePeriodSeconds": trainer.termination_grace_period_seconds,
                        "securityContext": _pod_security(trainer, user),
                        "nodeSelector": placement.node_selector(trainer, own_image=own_image),
                        "affinity": placement.affinity(
                            trainer, attempt, gpus=gpus, own_image=own_image
                        ),
                        "tolerations": placement.tolerations(trainer),
                        "priorityClassName": trainer.priority_class_name,
                        "schedulerName": trainer.scheduler_name,
                        "runtimeClassName": trainer.runtime_class_name,
                        "serviceAccountName": trainer.service_account_name,
                        "imagePullSecrets": [
                            {"name": secret.name} for secret in trainer.image_pull_secrets
                        ]
                        or None,
                        "subdomain": gang,
                        "containers": [
                            build_container(
                                job,
                                attempt,
                                gpus=gpus,
                                image=image,
                                pull=pull,
                                resources=build_resources(trainer, gpus=gpus, memory=memory),
                            )
                        ],
                        "volumes": volumes.pod_volumes(job),
                    }
                ),
            },
        },
    }


def _indexed(pods: int) -> Manifest:
    """Return the fields that make a Job a gang; it succeeds with its leader: https://kep.k8s.io/3998."""
    return {
        "completionMode": "Indexed",
        "completions": pods,
        "parallelism": pods,
        "successPolicy": {"rules": [{"succeededIndexes": "0"}]},
    }


def _pod_security(trainer: Trainer, default: int) -> Manifest:
    identity = trainer.security_context
    user = identity.run_as_user or default or None
    return without_none(
        {
            "runAsNonRoot": True,
            "runAsUser": user,
            "runAsGroup": identity.run_as_group or user,
            "fsGroup": identity.fs_group or user,
            "fsGroupChangePolicy": "OnRootMismatch",
            "supplementalGroups": list(identity.supplemental_groups) or None,
            "seccompProfile": {"type": "RuntimeDefault"},
        }
    )
