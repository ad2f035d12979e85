"""Creates a child object under its fixed name, or checks the object that already has the name."""

from collections.abc import Callable
from typing import Protocol, TypeVar

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Metadata
from finetune_operator.api.types import Failure, FineTuneJob
from finetune_operator.children.manifest import Manifest
from finetune_operator.kube.client import (
    AlreadyExists,
    ApiError,
    Client,
    Conflict,
    Fenced,
    Forbidden,
    Invalid,
    NotFound,
)
from finetune_operator.policy.plan import Blocked

REFUSED = (
    "A quota, a policy, a webhook or missing rights refuse it, as the message says. The operator "
    "tries again until startupDeadlineSeconds."
)
UNANSWERED = (
    "The API server, or an admission webhook that it asks, does not answer. The operator tries "
    "again until startupDeadlineSeconds."
)


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
        return await check_existing(client, f"{path}/{name}", type, kind=kind, check=check)
    except Fenced:
        raise
    except ApiError as error:
        return not_created(kind, name, error)
    return check(found)


async def check_existing(
    client: Client, path: str, type: type[T], *, kind: str, check: Callable[[T], Blocked | None]
) -> Blocked | None:
    """Return what `check` says of the object at this path, or why it cannot be read."""
    try:
        return check(await client.get(path, type))
    except (NotFound, Conflict):
        raise
    except ApiError as error:
        name = path.rpartition("/")[2]
        return _blocked(f"{kind} {name!r} cannot be read: {error}", error)


def not_created(kind: str, name: str, error: ApiError) -> Blocked:
    """Return why the object could not be created; a rejected field never becomes valid."""
    message = f"{kind} {name!r} was not created: {error}"
    if isinstance(error, Invalid):
        hint = "Correct the field that the message names, and apply the job under another name."
        failure = Failure(reason=c.INVALID_SPEC, message=message, hint=hint)
        return Blocked(failure=failure, retry_after_seconds=None)
    return _blocked(message, error)


def _blocked(message: str, error: ApiError) -> Blocked:
    if isinstance(error, Forbidden):
        hint, wait = REFUSED, Blocked.RETRY_SECONDS
    else:
        hint, wait = UNANSWERED, Blocked.RETRY_SOON_SECONDS
    failure = Failure(reason=c.CREATE_REFUSED, message=message, hint=hint)
    return Blocked(failure=failure, retry_after_seconds=error.retry_after or wait)


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
