"""One namespace of the control plane, and the kubelet that a test plays in it."""

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

from tests.cluster.client import ApiError
from tests.cluster.controlplane import ControlPlane

Object = dict[str, Any]
FTJS = "/apis/finetune-operator.dev/v1alpha1"


def fine_tune_job(name: str = "photos", **spec: Any) -> Object:
    """Return a small valid FineTuneJob; keywords replace parts of its spec."""
    return {
        "apiVersion": "finetune-operator.dev/v1alpha1",
        "kind": "FineTuneJob",
        "metadata": {"name": name},
        "spec": {
            "model": {"name": "efficientnet-lite0"},
            "dataset": {"source": {"uri": "pvc://photos"}},
            "trainer": {"gpusPerNode": 0},
            "output": {"uri": "pvc://models"},
            **spec,
        },
    }


class World:
    """What a test does to a namespace and sees in it."""

    def __init__(self, plane: ControlPlane, namespace: str) -> None:
        self.plane = plane
        self.namespace = namespace
        self._api = plane.api
        for claim in ("photos", "models", "workspace"):
            self._add_bound_claim(claim)

    def kubectl(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run kubectl in the namespace."""
        command = ["kubectl", "--kubeconfig", str(self.plane.kubeconfig), "-n", self.namespace]
        return subprocess.run([*command, *arguments], input=text, capture_output=True, text=True)

    def apply(self, job: Object) -> Object:
        """Create a FineTuneJob."""
        answer: Object = self._api.request("POST", self._jobs, job)
        return answer

    def job(self, name: str = "photos") -> Object:
        """Read a FineTuneJob."""
        answer: Object = self._api.get(f"{self._jobs}/{name}")
        return answer

    def status(self, name: str = "photos") -> Object:
        """Read a FineTuneJob's status, empty before the operator has seen it."""
        answer: Object = self.job(name).get("status", {})
        return answer

    def change(self, name: str, spec: Object) -> None:
        """Merge into a FineTuneJob's spec."""
        self._api.merge(f"{self._jobs}/{name}", {"spec": spec})

    def delete(self, name: str = "photos") -> None:
        """Delete a FineTuneJob as kubectl does: in the background."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        self._api.request("DELETE", f"{self._jobs}/{name}", body)

    def wait(self, what: str, found: Callable[[], Any], *, seconds: float = 20) -> Any:
        """Return the first true value of `found`."""
        deadline = time.monotonic() + seconds
        while not (value := self._quiet(found)):
            if time.monotonic() > deadline:
                state = json.dumps([self.items("finetunejobs"), self.pods()], indent=1)[-6000:]
                raise AssertionError(f"waited {seconds} s for {what}; now: {state}")
            time.sleep(0.1)
        return value

    def wait_for_phase(self, phase: str, name: str = "photos", *, seconds: float = 20) -> Object:
        """Return the status once it has this phase."""

        def status() -> Object | None:
            found = self.status(name)
            return found if found.get("phase") == phase else None

        answer: Object = self.wait(f"phase {phase} of {name}", status, seconds=seconds)
        return answer

    def wait_for_failure(self, reason: str, name: str = "photos") -> Object:
        """Return status.failure once it has this reason."""

        def failure() -> Object | None:
            found: Object = self.status(name).get("failure", {})
            return found if found.get("reason") == reason else None

        answer: Object = self.wait(f"failure {reason} of {name}", failure)
        return answer

    def wait_for_pod(self, attempt: int = 1, name: str = "photos") -> Object:
        """Return the pod of an attempt once it is bound to a node."""

        def pod() -> Object | None:
            pods = [
                p for p in self.pods() if p["metadata"]["labels"]["job-name"] == f"{name}-{attempt}"
            ]
            return next((p for p in pods if p["spec"].get("nodeName")), None)

        answer: Object = self.wait(f"a pod of {name}-{attempt}", pod)
        return answer

    def items(self, plural: str) -> list[Object]:
        """List what is in the namespace."""
        roots = {"pods": "/api/v1", "events": "/api/v1", "jobs": "/apis/batch/v1"}
        root = roots.get(plural, FTJS)
        items: list[Object] = self._api.get(f"{root}/namespaces/{self.namespace}/{plural}")["items"]
        return items

    def pods(self) -> list[Object]:
        """List the pods."""
        return self.items("pods")

    def run(self, pod: Object, *, address: str = "") -> None:
        """Play the kubelet: the trainer container runs."""
        started = {"running": {"startedAt": _now()}}
        ready = [{"type": "Ready", "status": "True"}]
        status: Object = {"phase": "Running", "startTime": _now(), "conditions": ready}
        if address:
            status |= {"podIP": address, "podIPs": [{"ip": address}]}
        self._set_status(pod, {**status, "containerStatuses": [_container(pod, started)]})

    def exit(self, pod: Object, code: int, message: str | Object = "", *, reason: str = "") -> None:
        """Play the kubelet: the trainer container ended."""
        text = message if isinstance(message, str) else json.dumps(message)
        terminated = {
            "exitCode": code,
            "reason": reason or ("Completed" if code == 0 else "Error"),
            "message": text,
            "startedAt": _now(),
            "finishedAt": _now(),
        }
        phase = "Succeeded" if code == 0 else "Failed"
        state = {"terminated": terminated}
        status = {"phase": phase, "containerStatuses": [_container(pod, state)]}
        self._set_status(pod, status)

    def wait_in_kubelet(self, pod: Object, reason: str, message: str) -> None:
        """Play the kubelet: the container cannot start."""
        state = {"waiting": {"reason": reason, "message": message}}
        self._set_status(pod, {"phase": "Pending", "containerStatuses": [_container(pod, state)]})

    def delete_pod(self, pod: Object, *, then_exit: int, message: str | Object = "") -> None:
        """Delete a pod with grace, and play the kubelet that ends it and then takes it away."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}"
        self._api.request("DELETE", path)
        self.exit(pod, then_exit, message)
        self.take_away(pod)

    def take_away(self, pod: Object) -> None:
        """Play the kubelet that has torn a deleted pod down."""
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}"
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0}
        try:
            self._api.request("DELETE", path, body)
        except ApiError as error:
            if error.code != 404:
                raise

    @property
    def _jobs(self) -> str:
        return f"{FTJS}/namespaces/{self.namespace}/finetunejobs"

    def _set_status(self, pod: Object, status: Object) -> None:
        path = f"/api/v1/namespaces/{self.namespace}/pods/{pod['metadata']['name']}/status"
        self._api.merge(path, {"status": status})

    def _quiet(self, found: Callable[[], Any]) -> Any:
        try:
            return found()
        except ApiError as error:
            if error.code != 404:
                raise
            return None

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
        self._api.request(
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
        self._api.request(
            "POST",
            path,
            {
                "apiVersion": "v1",
                "kind": "PersistentVolumeClaim",
                "metadata": {"name": name},
                "spec": claim,
            },
        )


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


def condition(status: Object, type: str) -> Object:
    """Return a condition of a status, empty if it is not there."""
    return next((c for c in status.get("conditions", []) if c["type"] == type), {})


def _container(pod: Object, state: Object) -> Object:
    container = pod["spec"]["containers"][0]
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
