"""The URL paths of the API server; without a namespace of all namespaces."""

import re
from collections.abc import Mapping

from finetune_operator.api import constants as c

OBJECTS = re.compile(
    r"/(?:api|apis/[^/]+)/[^/]+(?:/namespaces/[^/]+)?/(?P<plural>[^/]+)"
    r"(?P<name>/[^/]+(?P<subresource>/[^/]+)?)?"
)
WRITES = {"POST": "create", "PATCH": "patch", "DELETE": "delete"}

GROUPS = "/apis"
"""The path of the list of API groups."""
KUEUE = f"/apis/{c.KUEUE_GROUP}"
"""The path of the versions of Kueue's API group: not found if there is no Kueue."""
RESOURCES = f"/apis/{c.API_VERSION}"
"""The path of the list of resources of the operator's API."""

TOKEN_REVIEWS = "/apis/authentication.k8s.io/v1/tokenreviews"
ACCESS_REVIEWS = "/apis/authorization.k8s.io/v1/subjectaccessreviews"


def jobs(namespace: str = "") -> str:
    """Return the path of batch/v1 Jobs."""
    return f"/apis/batch/v1{_scope(namespace)}/jobs"


def pods(namespace: str = "") -> str:
    """Return the path of pods."""
    return f"/api/v1{_scope(namespace)}/pods"


def claims(namespace: str) -> str:
    """Return the path of PersistentVolumeClaims."""
    return f"/api/v1{_scope(namespace)}/persistentvolumeclaims"


def services(namespace: str) -> str:
    """Return the path of Services."""
    return f"/api/v1{_scope(namespace)}/services"


def core_events(namespace: str) -> str:
    """Return the path of core/v1 Events: controllers and kubelets write these."""
    return f"/api/v1{_scope(namespace)}/events"


def events(namespace: str) -> str:
    """Return the path of events.k8s.io/v1 Events: the operator writes these."""
    return f"/apis/events.k8s.io/v1{_scope(namespace)}/events"


def workloads(namespace: str, version: str) -> str:
    """Return the path of Kueue's Workloads."""
    return f"{KUEUE}/{version}{_scope(namespace)}/workloads"


def leases(namespace: str) -> str:
    """Return the path of Leases."""
    return f"/apis/coordination.k8s.io/v1{_scope(namespace)}/leases"


def fine_tune_jobs(namespace: str = "") -> str:
    """Return the path of FineTuneJobs."""
    return f"/apis/{c.API_VERSION}{_scope(namespace)}/{c.PLURAL}"


def verb_and_resource(method: str, path: str, query: Mapping[str, str]) -> tuple[str, str]:
    """Return what a request is, in the words of Kubernetes' RBAC: ("patch", "finetunejobs/status").

    The resource of discovery, and of all that is no object, is "other".
    """
    found = OBJECTS.fullmatch(path)
    resource = found["plural"] + (found["subresource"] or "") if found else "other"
    if method in WRITES:
        return WRITES[method], resource
    if "watch" in query:
        return "watch", resource
    return "list" if found and not found["name"] else "get", resource


def _scope(namespace: str) -> str:
    return f"/namespaces/{namespace}" if namespace else ""
