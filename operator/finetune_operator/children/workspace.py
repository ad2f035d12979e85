"""The claim of a job's workspace, which the operator creates before the first attempt."""

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Claim
from finetune_operator.api.types import Failure, FineTuneJob
from finetune_operator.children.ensure import check_owner, ensure, wait_for_name
from finetune_operator.children.manifest import Manifest, owner_of, without_none
from finetune_operator.kube import urls
from finetune_operator.kube.client import Client
from finetune_operator.policy.plan import Blocked


async def ensure_claim(client: Client, job: FineTuneJob) -> Blocked | None:
    """Create the claim if the job asks for one.

    A claim that an earlier FineTuneJob of the same name left is used again.
    """
    manifest = build_claim(job)
    if manifest is None:
        return None
    path = urls.claims(job.metadata.namespace)
    return await ensure(client, path, manifest, Claim, check=lambda claim: _check(claim, job))


def build_claim(job: FineTuneJob) -> Manifest | None:
    """Build the claim of the workspace, if the operator creates it.

    With Retain it has no owner; its labels say which job may use it again.
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
        metadata["ownerReferences"] = [owner_of(job)]
    return {
        "apiVersion": "v1",
        "kind": "PersistentVolumeClaim",
        "metadata": metadata,
        "spec": without_none(
            {
                "accessModes": list(workspace.access_modes or ("ReadWriteOnce",)),
                "resources": {"requests": {"storage": workspace.size}},
                "storageClassName": workspace.storage_class_name,
            }
        ),
    }


def _check(claim: Claim, job: FineTuneJob) -> Blocked | None:
    metadata, owner = claim.metadata, claim.metadata.controller
    if metadata.deletion_timestamp:
        return wait_for_name("PersistentVolumeClaim", metadata.name)
    if owner and (owner.kind, owner.name) == (c.KIND, job.metadata.name):
        return check_owner("PersistentVolumeClaim", metadata, job)
    if owner is None and metadata.labels.get(c.LABEL_JOB) == job.metadata.name:
        return None
    message = f"No FineTuneJob created the existing PersistentVolumeClaim {metadata.name!r}."
    hint = "Use it with workspace.claimName, or apply the FineTuneJob under another name."
    failure = Failure(reason=c.NAME_TAKEN, message=message, hint=hint)
    return Blocked(failure=failure, retry_after_seconds=None)
