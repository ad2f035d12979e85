"""An operator with Roles in two namespaces and no ClusterRole."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.support import audit
from tests.support.operator_process import OperatorProcess
from tests.support.release import NAMESPACE, Release
from tests.support.world import World, fine_tune_job

pytestmark = pytest.mark.timeout(60)
NAMESPACES = "team-a", "team-b"


@pytest.fixture(scope="module")
def worlds(bare_plane: ControlPlane) -> list[World]:
    found = []
    for name in (*NAMESPACES, "elsewhere"):
        bare_plane.add_namespace(name)
        found.append(World(bare_plane.api, kubeconfig=bare_plane.kubeconfig, namespace=name))
    return found


@pytest.fixture(scope="module")
def release(bare_plane: ControlPlane, worlds: list[World]) -> Release:
    names = ",".join(NAMESPACES)
    return Release(bare_plane, "narrow", f"--set=settings.namespaces={{{names}}}")


@pytest.fixture
def operator(release: Release, tmp_path: Path) -> Iterator[OperatorProcess]:
    kubeconfig = release.write_kubeconfig(tmp_path / "kubeconfig")
    settings = {name: release.setting(name.upper()) for name in ("namespaces", "lease")}
    with OperatorProcess(kubeconfig, **settings, sweep_interval_seconds="1") as process:
        yield process


def test_job_of_each_named_namespace_is_worked_on_and_nothing_else_is_asked_for(
    worlds: list[World], release: Release, operator: OperatorProcess, bare_log: Path
) -> None:
    assert {role["kind"] for role in release.roles()} == {"Role"}
    for world in worlds:
        world.apply(fine_tune_job())
    for world in worlds[:2]:
        world.wait("its status", world.status)
        assert world.items("jobs")
    with pytest.raises(AssertionError, match="waited"):
        worlds[2].wait("a status", worlds[2].status, seconds=3)
    asked = [r for r in audit.requests(bare_log) if r.user == release.user]
    assert {request.namespace for request in asked} == {*NAMESPACES, NAMESPACE}
    about_leases = {request.right[1] for request in asked if request.namespace == NAMESPACE}
    assert about_leases == {"leases"}
    assert not [request for request in asked if request.forbidden]
    assert "orbidden" not in operator.log()
