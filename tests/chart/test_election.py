"""The chart's defaults, one operator, against a real kube-apiserver: it is elected, too."""

import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.support.operator_process import OperatorProcess
from tests.support.release import NAMESPACE, Release

LEASE = f"/apis/coordination.k8s.io/v1/namespaces/{NAMESPACE}/leases/finetune-operator-leader"


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    with ControlPlane(controllers=False) as plane:
        plane.add_namespace(NAMESPACE)
        yield plane


def wait(what: str, is_so: Callable[[], bool], *, seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, f"waited {seconds} s for {what}"
        time.sleep(0.1)


def leads(process: OperatorProcess) -> bool:
    return "finetune_operator_leader 1.0" in process.get("/metrics")


def test_next_operator_of_an_upgrade_stands_by_and_takes_over_at_once(
    plane: ControlPlane, tmp_path: Path
) -> None:
    release = Release(plane)
    config = release.write_kubeconfig(tmp_path / "kubeconfig")
    lease = release.setting("LEASE")
    old, next_one = (OperatorProcess(config, lease=lease) for _ in range(2))
    with closing(old), closing(next_one):
        old.start()
        wait("the only operator to lead", lambda: leads(old), seconds=20)
        next_one.start()  # and is ready
        assert not leads(next_one)
        assert old.stop() == 0
        # Far less than the Lease's duration.
        wait("the next operator to lead", lambda: leads(next_one), seconds=20)
        assert next_one.stop() == 0
        assert plane.api.get(LEASE)["spec"]["holderIdentity"] == ""
        assert "orbidden" not in old.log() + next_one.log()
