"""Creates what belongs to a FineTuneJob under a fixed name: that it is there, and is the job's, is
as good as created.
"""

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
    """Create it, or find it; `check` says whether what is there will do. NotFound: it was there and
    went meanwhile; the pass is repeated.
    """
    kind, name = manifest["kind"], manifest["metadata"]["name"]
    try:
        found = await client.create(path, manifest, type)
    except AlreadyExists:
        found = await client.get(f"{path}/{name}", type)
    except (Forbidden, Invalid) as error:
        hint = f"The message says what refuses the {kind}: a quota, a policy, or a field of it."
        failure = Failure(reason=c.CREATE_REFUSED, message=str(error), hint=hint)
        return Blocked(failure=failure)
    return check(found)


def check_owner(kind: str, metadata: Metadata, job: FineTuneJob) -> Blocked | None:
    """Return nothing if it is the job's own; else wait for an earlier job's to go, or give up."""
    owner, name = metadata.controller, metadata.name
    if owner and owner.uid == job.metadata.uid:
        return None
    if owner and (owner.kind, owner.name) == (c.KIND, job.metadata.name):
        return wait_for_name(kind, name)
    message = f"There is a {kind} {name!r} in the namespace that is not this FineTuneJob's."
    hint = f"Delete that {kind}, or apply the FineTuneJob under another name."
    failure = Failure(reason=c.NAME_TAKEN, message=message, hint=hint)
    return Blocked(failure=failure, retry_after_seconds=None)


def wait_for_name(kind: str, name: str) -> Blocked:
    """Wait for the name."""
    message = f"{kind} {name!r} of an earlier FineTuneJob is still being deleted."
    return Blocked(
        failure=Failure(reason=c.NAME_TAKEN, message=message),
        retry_after_seconds=Blocked.WAIT_FOR_NAME_SECONDS,
    )
