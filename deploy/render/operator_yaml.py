"""Renders deploy/operator.yaml, the chart's defaults for people without Helm.

First it copies the alert rules into the chart: Helm reads no file outside of it.
"""

import shutil
import subprocess
from pathlib import Path
from typing import Any

import yaml

from tests.cluster.programs import HELM, ensure

ROOT = Path(__file__).parents[2]
CHART = ROOT / "charts/finetune-operator"
OUTPUT = ROOT / "deploy/operator.yaml"
ALERTS = ROOT / "deploy/prometheus/alerts.yaml"
ALERTS_IN_CHART = CHART / "files/alerts.yaml"
NAMESPACE = "finetune-system"
HEADER = f"""\
# Rendered from charts/finetune-operator by `make render`: change the chart, not this file.
# kubectl apply --server-side -f operator.yaml
apiVersion: v1
kind: Namespace
metadata:
  name: {NAMESPACE}
  labels:
    pod-security.kubernetes.io/enforce: restricted
"""
# What is true of a release only.
HELM_LABELS = ("app.kubernetes.io/managed-by: Helm", "helm.sh/chart: ")


def render() -> str:
    """The Namespace, and all objects of a release with default values."""
    lines = _release().splitlines(keepends=True)
    return HEADER + "".join(line for line in lines if not line.strip().startswith(HELM_LABELS))


def template(*flags: str) -> list[dict[str, Any]]:
    """The objects of a release; `flags` choose values and templates."""
    return [document for document in yaml.safe_load_all(_release(*flags)) if document]


def helm(*arguments: str) -> str:
    """Run the pinned Helm and return what it prints; its complaints go to the terminal."""
    ensure(HELM)
    command = [str(HELM.directory / "helm"), *arguments]
    return subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout


def _release(*flags: str) -> str:
    return helm("template", "finetune-operator", str(CHART), "--namespace", NAMESPACE, *flags)


def main() -> None:
    """Write the alert rules into the chart and the rendered chart into deploy/."""
    shutil.copyfile(ALERTS, ALERTS_IN_CHART)
    OUTPUT.write_text(render())


if __name__ == "__main__":
    main()
