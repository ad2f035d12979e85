"""The needs of a gang, the pods of a job with numNodes > 1: a Service and a shared workspace."""

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Claim, Service
from finetune_operator.api.types import Failure, FineTuneJob
from finetune_operator.children.ensure import check_existing, check_owner, ensure, is_left_over
from finetune_operator.children.manifest import Manifest, labels_of, owner_of
from finetune_operator.kube import urls
from finetune_operator.kube.client import Client, NotFound
from finetune_operator.policy.plan import Blocked


async def ensure_gang(client: Client, job: FineTuneJob) -> Blocked | None:
    """Create the Service of a gang, and check that all its pods can mount the workspace."""
    manifest = build_service(job)
    if manifest is None:
        return None
    if refused := await _check_workspace(client, job):
        return refused
    return await ensure(
        client,
        urls.services(job.metadata.namespace),
        manifest,
        Service,
        check=lambda found: _check(found, job),
    )


def _check(found: Service, job: FineTuneJob) -> Blocked | None:
    """Use one that an earlier FineTuneJob of this name left, too: it selects by that name."""
    if is_left_over(found.metadata, job):
        return None
    return check_owner("Service", found.metadata, job)


def build_service(job: FineTuneJob) -> Manifest | None:
    """Build the headless Service of a gang: it gives each pod a host name before it is ready."""
    if job.gang_service is None:
        return None
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {
            "name": job.gang_service,
            "namespace": job.metadata.namespace,
            "labels": labels_of(job),
            "ownerReferences": [owner_of(job)],
        },
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": {c.LABEL_JOB: job.metadata.name},
            "ports": [{"name": "http", "port": c.TRAINER_PORT}],
        },
    }


async def _check_workspace(client: Client, job: FineTuneJob) -> Blocked | None:
    """Return what is wrong with the claim; a missing one is diagnosed with its pods."""
    path = f"{urls.claims(job.metadata.namespace)}/{job.workspace_claim}"
    try:
        return await check_existing(
            client, path, Claim, kind="PersistentVolumeClaim", check=_check_modes
        )
    except NotFound:
        return None


def _check_modes(claim: Claim) -> Blocked | None:
    modes, name = claim.spec.access_modes, claim.metadata.name
    if "ReadWriteMany" in modes:
        return None
    message = f"PersistentVolumeClaim {name!r} is {', '.join(modes)}: only one node can mount it."
    hint = "numNodes > 1 needs a ReadWriteMany workspace: create one and apply the job with it."
    return Blocked(failure=Failure(reason=c.WORKSPACE_NOT_SHARED, message=message, hint=hint))
