"""What the pods of a gang need of each other: a name for their leader, and one workspace."""

from finetune_operator import constants as c
from finetune_operator import paths
from finetune_operator.api import Failure, FineTuneJob
from finetune_operator.client import AlreadyExists, Client, Forbidden, Invalid, NotFound
from finetune_operator.manifests import build_service
from finetune_operator.objects import Claim, Service
from finetune_operator.view import Refusal


async def ensure_gang(client: Client, job: FineTuneJob) -> Refusal | None:
    """Create the Service that names the leader's pod, and check that all can share the workspace;
    nothing for a job of one pod.
    """
    manifest = build_service(job)
    if manifest is None:
        return None
    if refused := await _check_workspace(client, job):
        return refused
    path = paths.services(job.metadata.namespace)
    try:
        await client.create(path, manifest, Service)
    except AlreadyExists:
        found = await client.get(f"{path}/{job.gang_service}", Service)
        return _judge(found, job)
    except (Forbidden, Invalid) as error:
        hint = "The message says what refuses the gang's Service."
        return Refusal(failure=Failure(reason=c.CREATE_REFUSED, message=str(error), hint=hint))
    return None


async def _check_workspace(client: Client, job: FineTuneJob) -> Refusal | None:
    """A claim that is not there is diagnosed with the pods that wait for it."""
    claim = job.workspace_claim
    try:
        found = await client.get(f"{paths.claims(job.metadata.namespace)}/{claim}", Claim)
    except NotFound:
        return None
    modes = found.spec.access_modes
    if "ReadWriteMany" in modes:
        return None
    message = f"PersistentVolumeClaim {claim!r} is {', '.join(modes)}: one node can mount it."
    hint = "numNodes > 1 needs a workspace with ReadWriteMany: make one and apply the job with it."
    return Refusal(failure=Failure(reason=c.WORKSPACE_NOT_SHARED, message=message, hint=hint))


def _judge(service: Service, job: FineTuneJob) -> Refusal | None:
    metadata = service.metadata
    if metadata.controller_uid == job.metadata.uid:
        return None
    owner = metadata.controller
    if owner and (owner.kind, owner.name) == (c.KIND, job.metadata.name):
        message = f"Service {metadata.name!r} of an earlier FineTuneJob is still being deleted."
        return Refusal(
            failure=Failure(reason=c.NAME_TAKEN, message=message),
            retry_after_seconds=Refusal.WAIT_FOR_NAME_SECONDS,
        )
    message = f"There is a Service {metadata.name!r} that is not this FineTuneJob's."
    hint = "Delete that Service, or apply the FineTuneJob under another name."
    failure = Failure(reason=c.NAME_TAKEN, message=message, hint=hint)
    return Refusal(failure=failure, retry_after_seconds=None)
