"""The chart against a real kube-apiserver: what it accepts, and what an uninstall leaves."""

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.render.operator_yaml import CHART, NAMESPACE, OUTPUT, template
from tests.cluster.controlplane import ControlPlane
from tests.cluster.programs import HELM, KUBERNETES, ensure

NAME = "finetune-operator"
CRD = "customresourcedefinitions/finetunejobs.finetune-operator.dev"
# All kinds the chart can install that a cluster without add-ons knows.
KINDS = (
    "clusterroles,clusterrolebindings,configmaps,deployments,roles,rolebindings,secrets,"
    "serviceaccounts,services"
)


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    ensure(HELM)
    with ControlPlane(controllers=False) as plane:
        plane.add_namespace(NAMESPACE, {"pod-security.kubernetes.io/enforce": "restricted"})
        yield plane


def run(plane: ControlPlane, program: Path, *arguments: str, stdin: str | None = None) -> str:
    """Run helm or kubectl against the control plane; a blocked fails the test with its text."""
    completed = subprocess.run(
        [program, *arguments],
        input=stdin,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"KUBECONFIG": str(plane.kubeconfig), "NO_PROXY": "127.0.0.0/8"},
    )
    assert completed.returncode == 0, completed.stderr
    return completed.stdout


def helm(plane: ControlPlane, *arguments: str) -> str:
    return run(plane, HELM.directory / "helm", *arguments, "--namespace", NAMESPACE)


def kubectl(plane: ControlPlane, *arguments: str, stdin: str | None = None) -> str:
    return run(plane, KUBERNETES.directory / "kubectl", *arguments, stdin=stdin)


def objects(plane: ControlPlane) -> set[str]:
    """All objects with the chart's label."""
    label = "--selector=app.kubernetes.io/name=finetune-operator"
    return set(kubectl(plane, "get", f"{KINDS},crds", "-A", label, "-o", "name").split())


def dry_run(plane: ControlPlane, manifests: str) -> list[str]:
    apply = ("apply", "--server-side", "--dry-run=server", "--validate=strict", "-o", "name")
    return kubectl(plane, *apply, "-f", "-", stdin=manifests).split()


def test_the_api_server_accepts_each_object_of_operator_yaml(plane: ControlPlane) -> None:
    accepted = dry_run(plane, OUTPUT.read_text())
    assert len(accepted) == OUTPUT.read_text().count("\nkind: ") == 11


def test_the_api_server_accepts_what_several_operators_and_named_namespaces_add(
    plane: ControlPlane,
) -> None:
    for namespace in ("team-a", "team-b"):
        plane.add_namespace(namespace)
    own = [
        manifest
        for manifest in template(f"--values={CHART}/ci/everything-values.yaml")
        if not manifest["apiVersion"].startswith("monitoring.coreos.com/")
    ]
    accepted = dry_run(plane, json.dumps({"apiVersion": "v1", "kind": "List", "items": own}))
    assert len(accepted) == len(own)
    # What the CRD gives to the users of the cluster; the operator has Roles.
    own_roles = {f"clusterrole.rbac.authorization.k8s.io/{NAME}-{who}" for who in ("edit", "view")}
    assert {name for name in accepted if "clusterrole" in name} == own_roles
    assert sum(name.startswith("networkpolicy") for name in accepted) == 3
    assert sum(name.startswith("poddisruptionbudget") for name in accepted) == 1


def test_the_api_server_accepts_the_dashboard(plane: ControlPlane) -> None:
    manifests = template(
        "--show-only=templates/dashboard-configmap.yaml", "--set=grafana.dashboards.enabled=true"
    )
    assert dry_run(plane, json.dumps(manifests[0])) == [
        "configmap/finetune-operator-dashboard",
    ]


def test_uninstall_leaves_the_crd_alone_and_a_new_install_takes_it_over(
    plane: ControlPlane,
) -> None:
    install = ("install", "finetune-operator", str(CHART))
    helm(plane, *install)
    installed = objects(plane)
    assert len(installed) == 10
    helm(plane, "uninstall", "finetune-operator")
    assert objects(plane) == {f"customresourcedefinition.apiextensions.k8s.io/{CRD.split('/')[1]}"}
    helm(plane, *install)
    assert objects(plane) == installed
    helm(plane, "uninstall", "finetune-operator")


def test_the_operators_pod_is_admitted_to_a_restricted_namespace(plane: ControlPlane) -> None:
    (account,) = template("--show-only=templates/serviceaccount.yaml")
    (deployment,) = template("--show-only=templates/deployment.yaml")
    pod: dict[str, Any] = {"apiVersion": "v1", "kind": "Pod", **deployment["spec"]["template"]}
    pod["metadata"] |= {"name": "operator", "namespace": NAMESPACE}
    kubectl(plane, "apply", "-f", "-", stdin=json.dumps(account))
    assert dry_run(plane, json.dumps(pod)) == ["pod/operator"]
    # The namespace does refuse what is not restricted: the pod above was really judged.
    del pod["spec"]["securityContext"]["seccompProfile"]
    with pytest.raises(AssertionError, match="violates PodSecurity"):
        dry_run(plane, json.dumps(pod))
