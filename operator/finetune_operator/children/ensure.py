"""Creates a child object under its fixed name, or checks the object that already has the name."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Metadata
from finetune_operator.api.types import Failure, FineTuneJob
from finetune_operator.children.manifest import Manifest
from finetune_operator.kube.client import AlreadyExists, Client, Forbidden, Invalid
from finetune_operator.policy.plan import Blocked


class _Owned(Protocol):
    @property
    def metadata(self) -> Metadata: ...


T = TypeVar("T", bound=_Owned)


async def ensure(
    client: Client,
    path: str,
    manifest: Manifest,
    type: type[T],
    *,
    check: Callable[[T], Blocked | None],
) -> Blocked | None:
    """Create the object, or read the existing one; `check` returns why it cannot be used.

    NotFound is raised if the existing one was deleted meanwhile; the pass is then repeated.
    """
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    try:
        found = await client.create(path, manifest, type)
    except AlreadyExists:
        found = await client.get(f"{path}/{name}", type)
    except (Forbidden, Invalid) as error:
        hint = f"The message says what rejects the {kind}: a quota, a policy, or one of its fields."
        failure = Failure(reason=c.CREATE_REFUSED, message=str(error), hint=hint)
        return Blocked(failure=failure)
    return check(found)


def check_owner(kind: str, metadata: Metadata, job: FineTuneJob) -> Blocked | None:
    """Return None if the object is the job's own; wait for an earlier job's to be deleted.

    The garbage collector deletes one whose owner was deleted, and decide one without an owner.
    """
    owner, name = metadata.controller, metadata.name
    if owner and owner.uid == job.metadata.uid:
        return None
    if owner and (owner.kind, owner.name) == (c.KIND, job.metadata.name):
        return wait_for_name(kind, name)
    if is_left_over(metadata, job):
        return wait_for_name(kind, name)
    message = f"The namespace has a {kind} {name!r} that does not belong to this FineTuneJob."
    hint = f"Delete that {kind}, or apply the FineTuneJob under another name."
    failure = Failure(reason=c.NAME_TAKEN, message=message, hint=hint)
    return Blocked(failure=failure, retry_after_seconds=None)


def is_left_over(metadata: Metadata, job: FineTuneJob) -> bool:
    """Return True if an earlier FineTuneJob of this name left the object without an owner.

    `kubectl delete --cascade=orphan` does so, and backup tools restore objects without owners.
    """
    own = metadata.labels.get(c.LABEL_JOB) == job.metadata.name
    return own and c.LABEL_JOB_UID in metadata.labels and not metadata.controller


def wait_for_name(kind: str, name: str) -> Blocked:
    """Return that the attempt must wait until the object with this name is deleted."""
    message = f"{kind} {name!r} of an earlier FineTuneJob is still being deleted."
    return Blocked(
        failure=Failure(reason=c.NAME_TAKEN, message=message),
        retry_after_seconds=Blocked.WAIT_FOR_NAME_SECONDS,
    )
