"""A control plane alone (etcd, kube-apiserver, controllers, scheduler), for component tests.

No root, no kubelet: a test plays the kubelet by patching the status of pods. Several can run at
once, and none outlives the test process.

    with ControlPlane(scheduler=True) as plane:     # about 5 s
        plane.add_node("node-a", gpus=8)
        plane.add_namespace("team")
        ... plane.kubeconfig, plane.url, plane.token, plane.api.get("/api/v1/pods")

It must be started from a thread that lives as long as it should: the kernel ends the programs when
the thread that started them ends.
"""

import random
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cluster import credentials, programs
from tests.cluster.client import Api
from tests.cluster.components import KUBERNETES_SERVICE, NODE_LIFECYCLE, Components

READY_SECONDS = 60
# Who did what to which object, once for each request: what a comparison with a role needs.
AUDIT_POLICY = """\
apiVersion: audit.k8s.io/v1
kind: Policy
omitStages: [RequestReceived]
rules:
  - {level: Metadata, userGroups: ["%s"]}
  - {level: None}
"""


class ControlPlane:
    """A running control plane; a context manager."""

    def __init__(
        self,
        *,
        controllers: bool = True,
        scheduler: bool = False,
        qps: int = 0,
        audit_log: Path | None = None,
        audited_group: str = "system:authenticated",
        apiserver_flags: tuple[str, ...] = (),
    ) -> None:
        """Choose what runs beside the apiserver; `qps`: how many requests a second the controllers
        and the scheduler may each send, if not as many as tests need. `audit_log` receives a JSON
        line for each request (and for each end of a watch) of a user of the group;
        `apiserver_flags` are added to those of the apiserver.
        """
        self.directory = Path(tempfile.mkdtemp(prefix="finetune-control-plane-"))
        # Every 127.x.y.z is this machine: an address of its own needs no hunt for free ports.
        address = f"127.{random.randint(1, 254)}.{random.randint(0, 254)}.{random.randint(1, 254)}"
        self._components = Components(directory=self.directory, address=address, loopback=address)
        self._controllers = controllers
        self._scheduler = scheduler
        self._limits = [f"--kube-api-qps={qps}", f"--kube-api-burst={qps}"] if qps else []
        self._audit_log = audit_log
        self._audit_policy = AUDIT_POLICY % audited_group
        self._apiserver_flags = apiserver_flags
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        # Its input ends when this process dies, however that happens: the files go then, too.
        self._sweeper = subprocess.Popen(
            ["sh", "-c", 'read -r _; sleep 1; rm -rf "$0"', str(self.directory)],
            stdin=subprocess.PIPE,
            start_new_session=True,
        )
        self.url = self._components.url
        self.kubeconfig = self._components.credentials / "admin.kubeconfig"
        self.certificate_authority = self._components.credentials / "ca.crt"

    def __enter__(self) -> Self:
        """Start everything and wait until the apiserver is ready."""
        programs.ensure(programs.KUBERNETES)
        address = self._components.address
        credentials.write(
            self._components.credentials, server=self.url, addresses=(address, KUBERNETES_SERVICE)
        )
        self.token = credentials.token(self._components.credentials)
        self.api = Api(self.url, self._components.credentials)
        try:
            self._start_all()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop everything and remove its files."""
        self.stop()

    def stop(self) -> None:
        """End all programs at once: nothing they hold is wanted any more."""
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()
        self._processes.clear()
        shutil.rmtree(self.directory, ignore_errors=True)
        self._sweeper.kill()
        self._sweeper.communicate()

    def stop_apiserver(self, *, grace_seconds: float = 0) -> None:
        """Kill the apiserver, or let it take leave first: it takes no new connections then, and
        waits for its open watches for longer than anyone wants to.
        """
        process = self._processes.pop("kube-apiserver")
        if grace_seconds:
            process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(grace_seconds)
        process.kill()
        process.wait()

    def start_apiserver(self) -> None:
        """Start the apiserver on the same address and wait until it is ready."""
        # Nothing here has the service network, and a loopback address may not be an endpoint.
        flags = ["--endpoint-reconciler-type=none", "--advertise-address=198.51.100.1"]
        flags += [
            "--feature-gates=MutatingAdmissionPolicy=true",
            "--runtime-config=admissionregistration.k8s.io/v1beta1=true",
        ]
        if self._audit_log:
            policy = self.directory / "audit-policy.yaml"
            policy.write_text(self._audit_policy)
            flags += [f"--audit-policy-file={policy}", f"--audit-log-path={self._audit_log}"]
        command = self._components.apiserver(*flags, *self._apiserver_flags)
        self.start("kube-apiserver", command)
        self._wait("the apiserver to be ready", self.api.is_ready)

    def restart_apiserver(self) -> None:
        """Stop and start the apiserver; watches break, the data stays."""
        self.stop_apiserver()
        self.start_apiserver()

    def add_node(
        self, name: str, *, gpus: int = 0, labels: dict[str, str] | None = None
    ) -> dict[str, Any]:
        """Create a Ready node without a kubelet, so that the scheduler has where to bind pods."""
        capacity = {"cpu": "16", "memory": "64Gi", "pods": "500", "nvidia.com/gpu": str(gpus)}
        own = {"kubernetes.io/hostname": name, "kubernetes.io/arch": "amd64"}
        metadata = {"name": name, "labels": {**own, **(labels or {})}}
        node = {"apiVersion": "v1", "kind": "Node", "metadata": metadata}
        condition = {"type": "Ready", "status": "True", "reason": "Test", "message": "no kubelet"}
        status = {"capacity": capacity, "allocatable": capacity, "conditions": [condition]}
        self.api.request("POST", "/api/v1/nodes", node)
        # Admission taints every new node as not ready; no controller here takes the taint away.
        self.api.merge(f"/api/v1/nodes/{name}", {"spec": {"taints": None}})
        answer: dict[str, Any] = self.api.merge(f"/api/v1/nodes/{name}/status", {"status": status})
        return answer

    def add_namespace(self, name: str, labels: dict[str, str] | None = None) -> None:
        """Create a namespace and wait until pods are admitted to it."""
        metadata = {"name": name, "labels": labels or {}}
        body = {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}
        self.api.request("POST", "/api/v1/namespaces", body)
        account = f"/api/v1/namespaces/{name}/serviceaccounts/default"
        if self._controllers:
            self._wait(f"the service account of namespace {name}", lambda: self.api.exists(account))

    def start(self, name: str, command: list[str]) -> None:
        """Start a program that ends with this control plane."""
        with (self.directory / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *command],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.directory,
            )

    def end(self, name: str) -> None:
        """Kill a program."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def pids(self) -> dict[str, int]:
        """The process of each program."""
        return {name: process.pid for name, process in self._processes.items()}

    def log(self, name: str) -> str:
        """Everything a program has written, for the message of a failing test."""
        return (self.directory / f"{name}.log").read_text(errors="replace")

    def _start_all(self) -> None:
        self.start("etcd", self._components.etcd())
        self.start_apiserver()
        if self._controllers:
            flags = [
                f"--controllers=*,-{NODE_LIFECYCLE}",
                "--pvclaimbinder-sync-period=1s",  # a claim that raced its volume waits for this
            ]
            command = self._components.controller_manager(*flags, *self._limits)
            self.start("kube-controller-manager", command)
        if self._scheduler:
            self.start("kube-scheduler", self._components.scheduler(*self._limits))

    def _wait(self, what: str, is_so: Callable[[], bool]) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not is_so():
            for name, process in self._processes.items():
                if process.poll() is not None:
                    raise RuntimeError(f"{name} ended early:\n{self.log(name)[-4000:]}")
            if time.monotonic() > deadline:
                raise TimeoutError(f"waited {READY_SECONDS} s for {what}")
            time.sleep(0.05)
