"""A namespace of the control plane, and the kubelet that a test plays in it."""

import json
import time

from tests.cluster.client import ApiError
from tests.cluster.controlplane import ControlPlane
from tests.support.world import Object, World


class KubeletWorld(World):
    """A world whose pods run only as far as the test says."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        super().__init__(plane.api, kubeconfig=plane.kubeconfig, namespace=namespace)
        for claim in ("photos", "models", "workspace"):
            self._add_bound_claim(claim)

    def run(self, pod: Object, *, address: str = "", waits: str = "") -> None:
        """Play the kubelet: the trainer container runs; `waits`: why an injected one does not."""
        self._set_status(pod, running(pod, address=address, waits=waits))

    def exit(
        self,
        pod: Object,
        code: int,
        message: str | Object = "",
        *,
        reason: str = "",
        kept: bool = False,
    ) -> None:
        """Play the kubelet: the trainer container ended; `kept`: the injected ones have not."""
        text = message if isinstance(message, str) else json.dumps(message)
        self._set_status(pod, ended(pod, code, text, reason=reason, kept=kept))

    def reject(self, pod: Object) -> None:
        """Play the kubelet: it does not admit the pod that the scheduler has bound to it."""
        self._set_status(pod, rejected())

    def wait_in_kubelet(self, pod: Object, reason: str, message: str) -> None:
        """Play the kubelet: the container cannot start."""
        state = {"waiting": {"reason": reason, "message": message}}
        self._set_status(pod, {"phase": "Pending", "containerStatuses": _containers(pod, state)})

    def delete_pod(self, pod: Object, *, then_exit: int, message: str | Object = "") -> None:
        """Delete a pod with grace, and play the kubelet that ends it and then takes it away."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}"
        self.api.request("DELETE", path)
        self.exit(pod, then_exit, message)
        self.take_away(pod)

    def take_away(self, pod: Object) -> None:
        """Play the kubelet that has torn a deleted pod down."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}"
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
        try:
            self.api.request("DELETE", path, body)
        except ApiError as error:
            if error.code != 404:
                raise

    def _set_status(self, pod: Object, status: Object) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}/status"
        self.api.merge(path, {"status": status})

    def _add_bound_claim(self, name: str) -> None:
        volume = f"{self.namespace}-{name}"
        size = {"storage": "1Gi"}
        modes = ["ReadWriteMany"]
        spec = {
            "capacity": size,
            "accessModes": modes,
            "hostPath": {"path": "/nowhere"},
            "storageClassName": "",
            "claimRef": {"namespace": self.namespace, "name": name},
        }
        self.api.request(
            "POST",
            "/api/v1/persistentvolumes",
            {
                "apiVersion": "v1",
                "kind": "PersistentVolume",
                "metadata": {"name": volume},
                "spec": spec,
            },
        )
        claim = {
            "accessModes": modes,
            "resources": {"requests": size},
            "storageClassName": "",
            "volumeName": volume,
        }
        path = f"/api/v1/namespaces/{self.namespace}/persistentvolumeclaims"
        self.api.request(
            "POST",
            path,
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name},
                "spec": claim,
            },
        )


def running(pod: Object, *, address: str = "", waits: str = "") -> Object:
    """Return the status that a kubelet reports of a pod whose trainer runs.

    `waits`: the containers beside it cannot start, so the phase is Pending.
    """
    started = {"running": {"startedAt": _now()}}
    ready = [{"type": "Ready", "status": "True"}]
    status: Object = {"phase": "Running", "startTime": _now(), "conditions": ready}
    if address:
        status |= {"podIP": address, "podIPs": [{"ip": address}]}
    others = started
    if waits:
        status |= {"phase": "Pending", "conditions": [{"type": "Ready", "status": "False"}]}
        others = {"waiting": {"reason": "ImagePullBackOff", "message": waits}}
    return {**status, "containerStatuses": _containers(pod, started, others=others)}


def rejected() -> Object:
    """Return the status that a kubelet reports of a pod which it does not admit."""
    return {
        "phase": "Failed",
        "reason": "UnexpectedAdmissionError",
        "message": "Pod was rejected: Allocate failed due to no healthy devices present; cannot "
        "allocate unhealthy devices nvidia.com/gpu, which is unexpected",
    }


def ended(
    pod: Object, code: int, message: str = "", *, reason: str = "", kept: bool = False
) -> Object:
    """Return the status that a kubelet reports of a pod whose trainer ended.

    `kept`: the containers beside it have not, so the phase is Running.
    """
    terminated = {
        "exitCode": code,
        "reason": reason or ("Completed" if code == 0 else "Error"),
        "message": message,
        "startedAt": _now(),
        "finishedAt": _now(),
    }
    phase = "Running" if kept else "Succeeded" if code == 0 else "Failed"
    others: Object = {"running": {"startedAt": _now()}}
    if not kept:
        others = {"terminated": {**terminated, "exitCode": 0, "message": ""}}
    statuses = _containers(pod, {"terminated": terminated}, others=others)
    return {"phase": phase, "containerStatuses": statuses}


def result_of(pod: Object, job: Object, accuracy: str = "0.8704") -> Object:
    """Return the termination message of a trainer that succeeded in this pod."""
    return {"job": ids_of(pod, job), "result": {"accuracy": accuracy, "recipe": "features"}}


def error_of(pod: Object, job: Object, reason: str, message: str, hint: str = "") -> Object:
    """Return the termination message of a trainer that failed in this pod."""
    error = {"reason": reason, "message": message, "hint": hint}
    return {"job": ids_of(pod, job), "error": error}


def ids_of(pod: Object, job: Object) -> Object:
    """Return the ids by which a report is known to be this pod's."""
    attempt = int(pod["metadata"]["labels"]["finetune-operator.dev/attempt"])
    return {
        "uid": job["metadata"]["uid"],
        "attempt": attempt,
        "podUid": pod["metadata"]["uid"],
    }


def _containers(pod: Object, state: Object, *, others: Object | None = None) -> list[Object]:
    """Return the statuses of the trainer, in this state, and of the injected containers."""
    trainer, *injected = pod["spec"]["containers"]
    return [_container(trainer, state), *(_container(each, others or state) for each in injected)]


def _container(container: Object, state: Object) -> Object:
    return {
        "name": container["name"],
        "image": container["image"],
        "imageID": "",
        "ready": "running" in state,
        "restartCount": 0,
        "state": state,
    }


def _now() -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
