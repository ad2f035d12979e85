"""The chart installed into a control plane, but for its Deployment: the account, the rights and
the settings that users get, for operators that tests start themselves.
"""

import os
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.cluster import programs
from tests.cluster.controlplane import ControlPlane
from tests.cluster.credentials import kubeconfig
from tests.support import leases

CHART = Path("charts/finetune-operator")
NAMESPACE = "finetune-system"
Object = dict[str, Any]


class Release:
    """A release of the chart; its CRD is served when it is made."""

    def __init__(
        self,
        plane: ControlPlane,
        name: str = "finetune-operator",
        *flags: str,
        chart: Path = CHART,
    ) -> None:
        self.name = name
        self._plane = plane
        self._manifests = _render(chart, name, *flags)
        for manifest in (*self._manifests, *leases.access(NAMESPACE)):
            if manifest["kind"] != "Deployment":
                self._kubectl("apply", "--server-side", "-f", "-", text=yaml.safe_dump(manifest))
        self._kubectl("wait", "--for=condition=Established", "crd", "--all", "--timeout=20s")
        account = ("-n", NAMESPACE, "create", "token", name, "--duration=4h")
        self.token = self._kubectl(*account).strip()
        self.user = f"system:serviceaccount:{NAMESPACE}:{name}"

    def roles(self) -> list[Object]:
        """Return the roles that are bound to the operator's account."""
        bound = {
            (binding["roleRef"]["kind"], binding["roleRef"]["name"])
            for binding in self._manifests
            if binding["kind"].endswith("RoleBinding")
        }
        return [m for m in self._manifests if (m["kind"], m["metadata"]["name"]) in bound]

    def rules(self) -> list[Object]:
        """Return the rules of these roles."""
        return [rule for role in self.roles() for rule in role["rules"]]

    def setting(self, name: str) -> str:
        """Return a setting of the operator as the chart's Deployment has it."""
        (deployment,) = (m for m in self._manifests if m["kind"] == "Deployment")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        values = {variable["name"]: variable["value"] for variable in container["env"]}
        return str(values[f"FINETUNE_OPERATOR_{name}"])

    def write_kubeconfig(self, path: Path, *, url: str = "") -> Path:
        """Write a kubeconfig with its token; `url` is that of a proxy, if there is one."""
        authority = None if url else self._plane.certificate_authority
        config = kubeconfig(url or self._plane.url, self.token, authority=authority)
        path.write_text(yaml.safe_dump(config))
        return path

    def _kubectl(self, *arguments: str, text: str = "") -> str:
        command = ["kubectl", "--kubeconfig", str(self._plane.kubeconfig), *arguments]
        done = subprocess.run(command, input=text, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout


def _render(chart: Path, name: str, *flags: str) -> list[Object]:
    programs.ensure(programs.HELM)
    command = ["helm", "template", "finetune-operator", str(chart), "-n", NAMESPACE]
    path = f"{programs.HELM.directory}:{os.environ['PATH']}"
    text = subprocess.run(
        [*command, f"--set=fullnameOverride={name}", *flags],
        check=True,
        capture_output=True,
        text=True,
        env={**os.environ, "PATH": path},
    )
    return [manifest for manifest in yaml.safe_load_all(text.stdout) if manifest]
