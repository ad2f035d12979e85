"""The default StorageClass and its pre-made local volumes, shared by the nodes.

The nodes are one machine, so a folder is the same on each: a stand-in for a shared file system.
The kubelet honours fsGroup on `local` volumes, as it would not on hostPath.
"""

import shutil

from tests.cluster.client import Api
from tests.cluster.credentials import NODE_NAMES
from tests.cluster.layout import VOLUMES

STORAGE_CLASS = "local"
COUNT = 12
_PATH = "/api/v1/persistentvolumes"


def create(api: Api) -> None:
    """Make the StorageClass and the volumes; a claim is bound at once."""
    annotations = {"storageclass.kubernetes.io/is-default-class": "true"}
    storage_class = {
        "apiVersion": "storage.k8s.io/v1",
        "kind": "StorageClass",
        "metadata": {"name": STORAGE_CLASS, "annotations": annotations},
        "provisioner": "kubernetes.io/no-provisioner",
        "volumeBindingMode": "Immediate",
        "reclaimPolicy": "Retain",
    }
    api.apply(f"/apis/storage.k8s.io/v1/storageclasses/{STORAGE_CLASS}", storage_class)
    for number in range(1, COUNT + 1):
        name = f"local-{number:02}"
        (VOLUMES / name).mkdir(parents=True, exist_ok=True)
        api.apply(f"{_PATH}/{name}", _volume(name))


def is_complete(api: Api) -> bool:
    """Whether the controller has seen every volume, so that a claim is bound without a retry."""
    volumes = api.get(_PATH)["items"]
    return all(volume["status"].get("phase", "Pending") != "Pending" for volume in volumes)


def recycle(api: Api) -> list[str]:
    """Empty the volumes whose claim was deleted and offer them again; return their names."""
    volumes = api.get(_PATH)["items"]
    released = [v["metadata"]["name"] for v in volumes if v["status"].get("phase") == "Released"]
    for name in released:
        shutil.rmtree(VOLUMES / name)
        (VOLUMES / name).mkdir()
        api.merge(f"{_PATH}/{name}", {"spec": {"claimRef": None}})
    return released


def _volume(name: str) -> dict[str, object]:
    hosts = {"key": "kubernetes.io/hostname", "operator": "In", "values": list(NODE_NAMES)}
    spec = {
        "storageClassName": STORAGE_CLASS,
        "persistentVolumeReclaimPolicy": "Retain",
        "capacity": {"storage": "100Gi"},
        "accessModes": ["ReadWriteOnce", "ReadOnlyMany", "ReadWriteMany"],
        "local": {"path": str(VOLUMES / name)},
        "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [hosts]}]}},
    }
    metadata = {"name": name}
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": metadata, "spec": spec}
