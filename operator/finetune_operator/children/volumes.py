"""The volumes of a pod and their mounts."""

from urllib.parse import urlsplit

from finetune_operator.api.types import FineTuneJob
from finetune_operator.children.manifest import Manifest


def _claims(job: FineTuneJob) -> dict[str, bool]:
    """Return the claims in the job's URIs, each with True if it is only read."""
    claims: dict[str, bool] = {}
    for use, location in job.spec.locations.items():
        parts = urlsplit(location.get("uri", ""))
        if parts.scheme == "pvc":
            claims[parts.netloc] = claims.get(parts.netloc, True) and use != "output"
    return claims


def pod_volumes(job: FineTuneJob) -> list[Manifest]:
    """Return the volumes: the claims of the URIs, the workspace, /dev/shm and /tmp."""
    volumes: list[Manifest] = [
        {"name": f"claim-{index}", "persistentVolumeClaim": {"claimName": claim}}
        for index, claim in enumerate(_claims(job))
    ]
    volumes.append(
        {"name": "workspace", "persistentVolumeClaim": {"claimName": job.workspace_claim}}
        if job.workspace_claim
        else {"name": "workspace", "emptyDir": {}}
    )
    shared_memory = {"medium": "Memory", "sizeLimit": job.spec.trainer.shared_memory}
    volumes.append({"name": "shared-memory", "emptyDir": shared_memory})
    volumes.append({"name": "tmp", "emptyDir": {}})
    return volumes


def mounts(job: FineTuneJob) -> list[Manifest]:
    """Return the mounts of these volumes."""
    found: list[Manifest] = [
        {"name": f"claim-{index}", "mountPath": f"/claims/{claim}", "readOnly": read_only}
        for index, (claim, read_only) in enumerate(_claims(job).items())
    ]
    found.append({"name": "workspace", "mountPath": "/workspace"})
    found.append({"name": "shared-memory", "mountPath": "/dev/shm"})
    found.append({"name": "tmp", "mountPath": "/tmp"})
    return found
