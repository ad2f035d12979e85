"""One control plane for all component tests; a namespace for each; the operator as a process."""

import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.support import audit
from tests.support.admission import Admission
from tests.support.faults import queue, sidecar
from tests.support.kubelet_world import KubeletWorld
from tests.support.operator_process import OperatorProcess
from tests.support.release import NAMESPACE, Release

CRD = Path("charts/finetune-operator/files/finetunejobs.yaml")


@pytest.fixture(scope="session")
def audit_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the operators ask of the shared control plane."""
    return tmp_path_factory.mktemp("audit") / "audit.log"


@pytest.fixture(scope="session")
def plane(audit_log: Path) -> Iterator[ControlPlane]:
    """A control plane with a node with 4 GPUs."""
    with ControlPlane(scheduler=True, audit_log=audit_log, audited_group=audit.OPERATORS) as plane:
        _furnish(plane)
        yield plane
    refused = {request.right for request in audit.requests(audit_log) if request.forbidden}
    assert not refused, "no rule of the chart's roles allows what an operator asked for"


@pytest.fixture
def fresh_plane() -> Iterator[ControlPlane]:
    """One whose controllers have not seen an outage yet: after a few of them they wait for up to a
    minute before they retry, and so does all that needs them.
    """
    with ControlPlane(scheduler=True) as plane:
        _furnish(plane)
        yield plane


def _furnish(plane: ControlPlane) -> None:
    plane.add_node("node-a", gpus=4)
    plane.add_namespace(NAMESPACE)
    queue.install(plane.api)
    sidecar.install(plane.api)


@pytest.fixture(scope="session")
def release(plane: ControlPlane) -> Release:
    """The chart with all rights an operator may have: the whole cluster."""
    return Release(plane, "finetune-operator")


@pytest.fixture(scope="session")
def operator_token(release: Release) -> str:
    """Credentials of the chart's own ServiceAccount: the tests run with the role users get."""
    return release.token


@pytest.fixture(scope="session")
def operator_kubeconfig(release: Release, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A kubeconfig with the operator's token."""
    return release.write_kubeconfig(tmp_path_factory.mktemp("operator") / "kubeconfig")


@pytest.fixture(scope="module")
def bare_log(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the operators ask of the control plane without controllers."""
    return tmp_path_factory.mktemp("audit") / "audit.log"


@pytest.fixture(scope="module")
def bare_plane(bare_log: Path) -> Iterator[ControlPlane]:
    """A control plane without controllers, for tests whose operators must be the only ones."""
    with ControlPlane(
        controllers=False, audit_log=bare_log, audited_group=audit.OPERATORS
    ) as plane:
        plane.add_namespace(NAMESPACE)
        yield plane


@pytest.fixture(scope="module")
def shared_operator(release: Release, operator_kubeconfig: Path) -> Iterator[OperatorProcess]:
    """An operator that watches the whole cluster, and has been elected. It ends with its module:
    other operators are to be alone with their namespaces.
    """
    with OperatorProcess(operator_kubeconfig, lease=release.setting("LEASE")) as process:
        yield process


@pytest.fixture
def world(plane: ControlPlane, shared_operator: OperatorProcess) -> KubeletWorld:
    """A namespace of its own, watched by the shared operator."""
    return _world(plane)


@pytest.fixture(scope="session")
def admission(plane: ControlPlane, release: Release) -> Admission:
    """The API server's opinion of a FineTuneJob."""
    plane.add_namespace("admission")
    return Admission(plane.api, "admission")


@pytest.fixture
def quiet_world(plane: ControlPlane, release: Release) -> KubeletWorld:
    """A namespace of its own; a test that starts its own operator must name it in NAMESPACES."""
    return _world(plane)


def _world(plane: ControlPlane) -> KubeletWorld:
    namespace = f"t-{uuid.uuid4().hex[:8]}"
    plane.add_namespace(namespace, {"pod-security.kubernetes.io/enforce": "restricted"})
    return KubeletWorld(plane, namespace)
