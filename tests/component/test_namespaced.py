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


def test_namespace_whose_role_is_taken_away_harms_no_other_and_is_picked_up_again(
    worlds: list[World], release: Release, bare_plane: ControlPlane, tmp_path: Path
) -> None:
    good, bad = worlds[:2]
    bindings = f"/apis/rbac.authorization.k8s.io/v1/namespaces/{bad.namespace}/rolebindings"
    (binding,) = bare_plane.api.get(bindings)["items"]
    bare_plane.api.request("DELETE", f"{bindings}/{binding['metadata']['name']}")
    kubeconfig = release.write_kubeconfig(tmp_path / "kubeconfig")
    settings = {"namespaces": release.setting("NAMESPACES"), "sweep_interval_seconds": "2"}
    with OperatorProcess(kubeconfig, **settings) as process:
        for world in (good, bad):
            world.apply(fine_tune_job("second"))
        good.wait("its status", lambda: good.status("second"))
        assert "finetune_operator_broken_namespaces 1.0" in process.get("/metrics")
        assert process.get("/healthz") == "ok"
        metadata = {key: binding["metadata"][key] for key in ("name", "labels")}
        body = {
            "metadata": metadata,
            "roleRef": binding["roleRef"],
            "subjects": binding["subjects"],
        }
        bare_plane.api.request("POST", bindings, body)
        bad.wait("its status", lambda: bad.status("second"), seconds=40)
        assert process.get("/healthz") == "ok"
