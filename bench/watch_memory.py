"""What it costs to watch: start-up time, CPU and memory of an operator whose cache is full, by the
way it watches. Run from the root of the checkout:

    python -m bench.watch_memory [--sizes 1000 10000] [--variants mixed own ...]

A real API server, but no controllers: nothing reacts, and nothing is reconciled.
"""

import argparse
import asyncio
import json
import os
import subprocess
import sys
import time
from pathlib import Path

import yaml
from finetune_operator.kube import urls

from bench.population import NAMESPACE, populate
from bench.watch_variants import VARIANTS
from tests.cluster.client import ApiError
from tests.cluster.controlplane import ControlPlane

ROOT = Path(__file__).parent.parent
CRD = ROOT / "charts/finetune-operator/files/finetunejobs.yaml"
COLUMNS = {
    "imported_mib": "imported MiB",
    "peak_mib": "peak MiB",
    "settled_mib": "settled MiB",
    "trimmed_mib": "trimmed MiB",
    "cached_s": "cached s",
    "cpu_s": "CPU s",
}


def prepare(plane: ControlPlane) -> None:
    """Install the CRD and a namespace that admits pods."""
    definitions = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
    plane.api.request("POST", definitions, yaml.safe_load(CRD.read_text()))
    plane.add_namespace(NAMESPACE)
    account = {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "default"}}
    plane.api.request("POST", f"/api/v1/namespaces/{NAMESPACE}/serviceaccounts", account)
    while not is_served(plane):
        time.sleep(0.1)


def is_served(plane: ControlPlane) -> bool:
    """Whether FineTuneJobs can be listed: some moments after the CRD is there."""
    try:
        plane.api.get(urls.fine_tune_jobs())
    except ApiError:
        return False
    return True


def measure(plane: ControlPlane, variant: str, count: int) -> dict[str, float] | None:
    """Run one variant in a process of its own; None if it did not get everything cached."""
    command = [sys.executable, "-m", "bench.watch_variants", variant, str(count)]
    environment = {**os.environ, "KUBECONFIG": str(plane.kubeconfig)}
    process = subprocess.run(
        [*command, str(time.monotonic())], cwd=ROOT, env=environment, stdout=subprocess.PIPE
    )
    return json.loads(process.stdout) if process.returncode == 0 else None


def row(count: int, variant: str, figures: dict[str, float] | None) -> str:
    """Return a line of the table."""
    values = [
        f"{figures[name]:.{0 if name.endswith('mib') else 1}f}" if figures else "-"
        for name in COLUMNS
    ]
    return f"| {count} | {variant} | {' | '.join(values)} |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--sizes", type=int, nargs="+", default=[1000, 10000])
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    arguments = parser.parse_args()
    lines = [f"| of each kind | variant | {' | '.join(COLUMNS.values())} |"]
    lines.append("|" + " --- |" * (len(COLUMNS) + 2))
    with ControlPlane(controllers=False) as plane:
        prepare(plane)
        there = 0
        for size in sorted(arguments.sizes):
            begin = time.monotonic()
            sizes = asyncio.run(populate(plane, range(there, size)))
            seconds = time.monotonic() - begin
            there = size
            print(f"{size} of each kind, {sizes} bytes, created in {seconds:.0f} s", flush=True)
            for variant in arguments.variants:
                lines.append(row(size, variant, measure(plane, variant, size)))
                print(lines[-1], flush=True)
    print("\n" + "\n".join(lines))


if __name__ == "__main__":
    main()
