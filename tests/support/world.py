"""One namespace of a real cluster: what a test does to it and sees in it."""

import json
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.cluster.client import Api, ApiError

Object = dict[str, Any]
FTJS = "/apis/finetune-operator.dev/v1alpha1"
CORE = "/api/v1"


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

    def __init__(self, api: Api, *, kubeconfig: Path, namespace: str) -> None:
        self.api = api
        self.kubeconfig = kubeconfig
        self.namespace = namespace

    def kubectl(self, *arguments: str, text: str = "") -> subprocess.CompletedProcess[str]:
        """Run kubectl in the namespace."""
        command = ["kubectl", "--kubeconfig", str(self.kubeconfig), "-n", self.namespace]
        return subprocess.run([*command, *arguments], input=text, capture_output=True, text=True)

    def apply(self, job: Object) -> Object:
        """Create a FineTuneJob."""
        answer: Object = self.api.request("POST", self._jobs, job)
        return answer

    def job(self, name: str = "photos") -> Object:
        """Read a FineTuneJob."""
        answer: Object = self.api.get(f"{self._jobs}/{name}")
        return answer

    def status(self, name: str = "photos") -> Object:
        """Read a FineTuneJob's status, empty before the operator has seen it."""
        answer: Object = self.job(name).get("status", {})
        return {} if answer.get("observedGeneration") == -1 else answer

    def change(self, name: str, spec: Object) -> None:
        """Merge into a FineTuneJob's spec."""
        self.api.merge(f"{self._jobs}/{name}", {"spec": spec})

    def delete(self, name: str = "photos") -> None:
        """Delete a FineTuneJob as kubectl does: in the background."""
        body = {"kind": "DeleteOptions", "apiVersion": "v1", "propagationPolicy": "Background"}
        self.api.request("DELETE", f"{self._jobs}/{name}", body)

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

    def wait_for_failure(self, reason: str, name: str = "photos", *, seconds: float = 20) -> Object:
        """Return status.failure once it has this reason."""

        def failure() -> Object | None:
            found: Object = self.status(name).get("failure", {})
            return found if found.get("reason") == reason else None

        answer: Object = self.wait(f"failure {reason} of {name}", failure, seconds=seconds)
        return answer

    def wait_for_pod(
        self, attempt: int = 1, name: str = "photos", *, seconds: float = 20
    ) -> Object:
        """Return the pod of an attempt once it is bound to a node."""

        def pod() -> Object | None:
            pods = [
                p for p in self.pods() if p["metadata"]["labels"]["job-name"] == f"{name}-{attempt}"
            ]
            return next((p for p in pods if p["spec"].get("nodeName")), None)

        answer: Object = self.wait(f"a pod of {name}-{attempt}", pod, seconds=seconds)
        return answer

    def wait_for_epoch(self, epoch: int, name: str, *, seconds: float = 200) -> None:
        """Wait until a checkpoint has so many epochs."""

        def reached() -> bool:
            saved: int = self.status(name).get("checkpoint", {}).get("epoch", 0)
            return saved >= epoch

        self.wait(f"epoch {epoch} of {name}", reached, seconds=seconds)

    def log(self, pod: Object) -> str:
        """Return what a pod has printed."""
        return self.kubectl("logs", pod["metadata"]["name"]).stdout

    def items(self, plural: str) -> list[Object]:
        """List what is in the namespace."""
        roots = {"pods": CORE, "events": CORE, "jobs": "/apis/batch/v1"}
        root = roots.get(plural, FTJS)
        items: list[Object] = self.api.get(f"{root}/namespaces/{self.namespace}/{plural}")["items"]
        return items

    def pods(self) -> list[Object]:
        """List the pods."""
        return self.items("pods")

    @property
    def _jobs(self) -> str:
        return f"{FTJS}/namespaces/{self.namespace}/finetunejobs"

    def _quiet(self, found: Callable[[], Any]) -> Any:
        try:
            return found()
        except ApiError as error:
            if error.code != 404:
                raise
            return None


def condition(status: Object, type: str) -> Object:
    """Return a condition of a status, empty if it is not there."""
    return next((c for c in status.get("conditions", []) if c["type"] == type), {})
