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
from tests.cluster.programs import HELM, KUBERNETES, PROMETHEUS_OPERATOR, ensure

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


@pytest.fixture(scope="module")
def monitored_plane(plane: ControlPlane) -> ControlPlane:
    """The control plane with the kinds of the Prometheus Operator, as that one defines them."""
    folder = PROMETHEUS_OPERATOR.sources() / "example/prometheus-operator-crd"
    for kind in ("podmonitors", "prometheusrules", "servicemonitors"):
        definition = folder / f"monitoring.coreos.com_{kind}.yaml"
        kubectl(plane, "apply", "--server-side", "-f", str(definition))
    kubectl(plane, "wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")
    return plane


def test_the_api_server_accepts_what_every_option_adds(monitored_plane: ControlPlane) -> None:
    for namespace in ("team-a", "team-b"):
        monitored_plane.add_namespace(namespace)
    # grafana-operator's kind is not to be had here.
    own = [
        manifest
        for manifest in template(f"--values={CHART}/ci/everything-values.yaml")
        if manifest["kind"] != "GrafanaDashboard"
    ]
    text = json.dumps({"apiVersion": "v1", "kind": "List", "items": own})
    accepted = dry_run(monitored_plane, text)
    assert len(accepted) == len(own)
    # What the CRD gives to the users of the cluster, and /metrics needs; the operator has Roles.
    suffixes = ("edit", "metrics-auth", "metrics-reader", "view")
    own_roles = {f"clusterrole.rbac.authorization.k8s.io/{NAME}-{each}" for each in suffixes}
    assert {name for name in accepted if name.startswith("clusterrole.")} == own_roles
    assert sum(name.startswith("networkpolicy") for name in accepted) == 3
    assert sum(name.startswith("poddisruptionbudget") for name in accepted) == 1
    assert {name.partition(".")[0] for name in accepted if ".monitoring." in name} == {
        "podmonitor",
        "prometheusrule",
        "servicemonitor",
    }


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
