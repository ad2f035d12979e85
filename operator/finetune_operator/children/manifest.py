"""The parts that all manifests share."""

from typing import Any

from finetune_operator.api import constants as c
from finetune_operator.api.types import FineTuneJob

Manifest = dict[str, Any]


def labels_of(job: FineTuneJob) -> dict[str, str]:
    """Return the labels by which the job's children are found."""
    return {
        c.LABEL_MANAGED_BY: c.MANAGER,
        "app.kubernetes.io/name": "finetune-trainer",
        "app.kubernetes.io/component": "trainer",
        c.LABEL_JOB: job.metadata.name,
        c.LABEL_JOB_UID: job.metadata.uid,
    }


def owner_of(job: FineTuneJob) -> Manifest:
    """Return the reference that makes the job the controller of a child."""
    return {
        "apiVersion": c.API_VERSION,
        "kind": c.KIND,
        "name": job.metadata.name,
        "uid": job.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def without_none(body: Manifest) -> Manifest:
    """Return the body without the fields that are None."""
    return {key: value for key, value in body.items() if value is not None}
