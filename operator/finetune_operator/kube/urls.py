"""URL paths of the API server."""

from finetune_operator.api import constants as c


def jobs(namespace: str = "") -> str:
    """batch/v1 Jobs, of one namespace or of all."""
    return f"/apis/batch/v1{_scope(namespace)}/jobs"


def pods(namespace: str = "") -> str:
    """Pods, of one namespace or of all."""
    return f"/api/v1{_scope(namespace)}/pods"


def claims(namespace: str) -> str:
    """PersistentVolumeClaims."""
    return f"/api/v1{_scope(namespace)}/persistentvolumeclaims"


def services(namespace: str) -> str:
    """Services."""
    return f"/api/v1{_scope(namespace)}/services"


def core_events(namespace: str) -> str:
    """core/v1 Events, as the controllers and kubelets write them."""
    return f"/api/v1{_scope(namespace)}/events"


def events(namespace: str) -> str:
    """events.k8s.io/v1 Events, as the operator writes them."""
    return f"/apis/events.k8s.io/v1{_scope(namespace)}/events"


def leases(namespace: str) -> str:
    """Leases."""
    return f"/apis/coordination.k8s.io/v1{_scope(namespace)}/leases"


def fine_tune_jobs(namespace: str = "") -> str:
    """FineTuneJobs, of one namespace or of all."""
    return f"/apis/{c.API_VERSION}{_scope(namespace)}/{c.PLURAL}"


def _scope(namespace: str) -> str:
    return f"/namespaces/{namespace}" if namespace else ""
