"""The people of a namespace may use FineTuneJobs by the roles that Kubernetes gives them."""

import json
import subprocess
import time
from collections.abc import Iterator

import pytest

from deploy.render.operator_yaml import template
from tests.cluster.controlplane import ControlPlane
from tests.cluster.programs import KUBERNETES

NAMESPACE = "team"
SEEN = ("get", "list", "watch")
CHANGED = ("create", "update", "patch", "delete", "deletecollection")


@pytest.fixture(scope="module")
def plane() -> Iterator[ControlPlane]:
    """A cluster with the chart's roles; Kubernetes' own controller aggregates them."""
    with ControlPlane() as plane:
        plane.add_namespace(NAMESPACE)
        for role in ("view", "edit", "admin"):
            _kubectl(
                plane, "create", "rolebinding", role, f"--clusterrole={role}", f"--user={role}"
            )
        manifests = template()
        wanted = [m for m in manifests if m["kind"] in ("ClusterRole", "CustomResourceDefinition")]
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": wanted})
        _kubectl(plane, "apply", "--server-side", "-f", "-", stdin=text)
        _kubectl(plane, "wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")
        yield plane


def _kubectl(plane: ControlPlane, *arguments: str, stdin: str = "", check: bool = True) -> str:
    program, config = KUBERNETES.directory / "kubectl", f"--kubeconfig={plane.kubeconfig}"
    command = [str(program), config, "--namespace", NAMESPACE, *arguments]
    run = subprocess.run(command, input=stdin, capture_output=True, text=True, check=False)
    assert run.returncode == 0 or not check, run.stderr
    return run.stdout.strip()


def _may(plane: ControlPlane, user: str, verb: str, *what: str) -> bool:
    return _kubectl(plane, "auth", "can-i", verb, *what, f"--as={user}", check=False) == "yes"


@pytest.mark.parametrize(
    ("user", "verbs"), [("view", SEEN), ("edit", SEEN + CHANGED), ("admin", SEEN + CHANGED)]
)
def test_role_of_kubernetes_lets_its_user_do_with_jobs_what_it_says(
    plane: ControlPlane, user: str, verbs: tuple[str, ...]
) -> None:
    deadline = time.monotonic() + 20
    while not _may(plane, user, verbs[-1], "finetunejobs"):
        assert time.monotonic() < deadline, "the controller has not aggregated the roles"
        time.sleep(0.2)
    allowed = [verb for verb in SEEN + CHANGED if _may(plane, user, verb, "finetunejobs")]
    assert allowed == list(verbs)
    assert _may(plane, user, "get", "finetunejobs", "--subresource=status")


@pytest.mark.parametrize("user", ["view", "edit", "admin"])
def test_status_is_the_operators_alone(plane: ControlPlane, user: str) -> None:
    for verb in ("update", "patch"):
        assert not _may(plane, user, verb, "finetunejobs", "--subresource=status")


def test_stranger_gets_nothing(plane: ControlPlane) -> None:
    assert not _may(plane, "stranger", "get", "finetunejobs")
