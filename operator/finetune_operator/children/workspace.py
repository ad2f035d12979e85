"""The claim that the operator creates for a job's workspace, once, before its first attempt."""

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Claim
from finetune_operator.api.types import Failure, FineTuneJob
from finetune_operator.children.ensure import ensure, going, judge_owner
from finetune_operator.children.job import build_claim
from finetune_operator.kube import urls
from finetune_operator.kube.client import Client
from finetune_operator.policy.plan import Refusal


async def ensure_claim(client: Client, job: FineTuneJob) -> Refusal | None:
    """Create the claim if the job asks for one. One that a FineTuneJob of the same name has left is
    used again.
    """
    manifest = build_claim(job)
    if manifest is None:
        return None
    path = urls.claims(job.metadata.namespace)
    return await ensure(client, path, manifest, Claim, judge=lambda claim: _judge(claim, job))


def _judge(claim: Claim, job: FineTuneJob) -> Refusal | None:
    metadata, owner = claim.metadata, claim.metadata.controller
    if metadata.deletion_timestamp:
        return going("PersistentVolumeClaim", metadata.name)
    if owner and (owner.kind, owner.name) == (c.KIND, job.metadata.name):
        return judge_owner("PersistentVolumeClaim", metadata, job)
    left = {c.LABEL_MANAGED_BY: c.MANAGER, c.LABEL_JOB: job.metadata.name}.items()
    if owner is None and left <= metadata.labels.items():
        return None
    message = f"There is a PersistentVolumeClaim {metadata.name!r} that no FineTuneJob created."
    hint = "Use it with workspace.claimName, or apply the FineTuneJob under another name."
    failure = Failure(reason=c.NAME_TAKEN, message=message, hint=hint)
    return Refusal(failure=failure, retry_after_seconds=None)
