"""The finalizers of others that keep an object for whose deletion a job waits."""

from collections.abc import Iterable

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Metadata, Pod
from finetune_operator.api.types import Failure
from finetune_operator.policy.plan import Attempt

KUBERNETES_OWN = ("batch.kubernetes.io/job-tracking", "foregroundDeletion", "orphan")
"""The finalizers that Kubernetes' controllers add and remove by themselves."""


def keeping(kind: str, metadata: Metadata) -> Failure | None:
    """Return which finalizers keep the object, None if it is not being deleted or has none."""
    found = [name for name in metadata.finalizers if name not in KUBERNETES_OWN]
    if not (found and metadata.deletion_timestamp):
        return None
    plural = "s" if len(found) > 1 else ""
    names = ", ".join(map(repr, found))
    return Failure(
        reason=c.DELETION_BLOCKED,
        message=f"{kind} {metadata.name} is being deleted, but kept by the finalizer{plural} "
        f"{names}.",
        hint=f"Look at the controller that set the finalizer{plural}. If it is no longer there, "
        f"remove the finalizer{plural}: `kubectl -n {metadata.namespace} edit {kind.lower()} "
        f"{metadata.name}`.",
        pod=metadata.name if kind == "Pod" else "",
    )


def keeping_pods(pods: Iterable[Pod]) -> Failure | None:
    """Return which finalizers keep the first of these pods that has any."""
    found = (keeping("Pod", pod.metadata) for pod in pods)
    return next((failure for failure in found if failure), None)


def keeping_job(attempt: Attempt) -> Failure | None:
    """Return which finalizers keep the attempt's Job, None while its pods run."""
    return None if attempt.trains else keeping("Job", attempt.job.metadata)
