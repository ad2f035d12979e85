"""One control plane for all component tests; a namespace for each; the operator as a process."""

import os
import subprocess
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster import build
from tests.cluster.controlplane import ControlPlane
from tests.component.admission import Admission
from tests.component.operator_process import OperatorProcess
from tests.component.world import KubeletWorld

CRD = Path("charts/finetune-operator/files/finetunejobs.yaml")
CHART = Path("charts/finetune-operator")
ACCOUNT_NAMESPACE = "finetune-system"


@pytest.fixture(scope="session")
def plane() -> Iterator[ControlPlane]:
    """A control plane with the CRD, the operator's account and role, and a node with 4 GPUs."""
    with ControlPlane(scheduler=True) as plane:
        plane.add_node("node-a", gpus=4)
        plane.add_namespace(ACCOUNT_NAMESPACE)
        _install(plane)
        yield plane


def _install(plane: ControlPlane) -> None:
    """Install what the chart renders but for the Deployment; wait until the CRD is served."""
    build.ensure(build.HELM)
    command = ["helm", "template", "finetune-operator", str(CHART), "-n", ACCOUNT_NAMESPACE]
    environment = {**os.environ, "PATH": f"{build.HELM.directory}:{os.environ['PATH']}"}
    text = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    for manifest in yaml.safe_load_all(text.stdout):
        if manifest and manifest["kind"] != "Deployment":
            _kubectl(plane, "apply", "--server-side", "-f", "-", text=yaml.safe_dump(manifest))
    _kubectl(plane, "wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")


def _kubectl(plane: ControlPlane, *arguments: str, text: str = "") -> str:
    command = ["kubectl", "--kubeconfig", str(plane.kubeconfig), *arguments]
    done = subprocess.run(command, input=text, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="session")
def operator_token(plane: ControlPlane) -> str:
    """Credentials of the chart's own ServiceAccount: the tests run with the role users get."""
    return _kubectl(
        plane, "-n", ACCOUNT_NAMESPACE, "create", "token", "finetune-operator", "--duration=4h"
    ).strip()


@pytest.fixture(scope="session")
def operator_kubeconfig(
    plane: ControlPlane, operator_token: str, tmp_path_factory: pytest.TempPathFactory
) -> Path:
    """A kubeconfig with the operator's token."""
    path = tmp_path_factory.mktemp("operator") / "kubeconfig"
    cluster = {"server": plane.url, "certificate-authority": str(plane.certificate_authority)}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "current-context": "operator",
        "clusters": [{"name": "test", "cluster": cluster}],
        "users": [{"name": "operator", "user": {"token": operator_token}}],
        "contexts": [{"name": "operator", "context": {"cluster": "test", "user": "operator"}}],
    }
    path.write_text(yaml.safe_dump(config))
    return path


@pytest.fixture(scope="session")
def shared_operator(operator_kubeconfig: Path) -> Iterator[OperatorProcess]:
    """An operator that watches the whole cluster."""
    with OperatorProcess(operator_kubeconfig) as process:
        yield process


@pytest.fixture
def world(plane: ControlPlane, shared_operator: OperatorProcess) -> KubeletWorld:
    """A namespace of its own, watched by the shared operator."""
    return _world(plane)


@pytest.fixture(scope="session")
def admission(plane: ControlPlane) -> Admission:
    """The API server's opinion of a FineTuneJob."""
    plane.add_namespace("admission")
    return Admission(plane.api, "admission")


@pytest.fixture
def quiet_world(plane: ControlPlane) -> KubeletWorld:
    """A namespace of its own; a test that starts its own operator must name it in NAMESPACES."""
    return _world(plane)


def _world(plane: ControlPlane) -> KubeletWorld:
    namespace = f"t-{uuid.uuid4().hex[:8]}"
    plane.add_namespace(namespace, {"pod-security.kubernetes.io/enforce": "restricted"})
    return KubeletWorld(plane, namespace)
