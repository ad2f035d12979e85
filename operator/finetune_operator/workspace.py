"""The claim that the operator creates for a job's workspace, once, before its first attempt."""

from finetune_operator import constants as c
from finetune_operator import paths
from finetune_operator.api import Failure, FineTuneJob
from finetune_operator.client import AlreadyExists, Client, Forbidden, Invalid
from finetune_operator.manifests import build_claim
from finetune_operator.objects import Claim
from finetune_operator.view import Refusal


async def ensure_claim(client: Client, job: FineTuneJob) -> Refusal | None:
    """Create the claim if the job asks for one. Its name is fixed: that it exists is as good as
    created if it is ours, or was left by a FineTuneJob of the same name.
    """
    manifest = build_claim(job)
    if manifest is None:
        return None
    path = paths.claims(job.metadata.namespace)
    try:
        await client.create(path, manifest, Claim)
    except AlreadyExists:
        found = await client.get(f"{path}/{job.workspace_claim}", Claim)
        return _judge(found, job)
    except (Forbidden, Invalid) as error:
        hint = "The message says what refuses the workspace's claim: a quota, or a field of it."
        return Refusal(failure=Failure(reason=c.CREATE_REFUSED, message=str(error), hint=hint))
    return None


def _judge(claim: Claim, job: FineTuneJob) -> Refusal | None:
    """Decide whose the claim with our name is: ours, one that is going away, or a stranger's."""
    metadata = claim.metadata
    owner = metadata.controller
    ours = owner is not None and owner.uid == job.metadata.uid
    name = job.metadata.name
    earlier = owner is not None and (owner.kind, owner.name) == (c.KIND, name) and not ours
    if metadata.deletion_timestamp or earlier:
        message = f"PersistentVolumeClaim {metadata.name!r} is still being deleted."
        return Refusal(
            failure=Failure(reason=c.NAME_TAKEN, message=message),
            retry_after_seconds=Refusal.WAIT_FOR_NAME_SECONDS,
        )
    left = {c.LABEL_MANAGED_BY: c.MANAGER, c.LABEL_JOB: job.metadata.name}.items()
    if ours or (owner is None and left <= metadata.labels.items()):
        return None
    message = f"There is a PersistentVolumeClaim {metadata.name!r} that no FineTuneJob created."
    hint = "Use it with workspace.claimName, or apply the FineTuneJob under another name."
    failure = Failure(reason=c.NAME_TAKEN, message=message, hint=hint)
    return Refusal(failure=failure, retry_after_seconds=None)
