"""The three places the demo runs in: each gives a cluster with the images, and the way to reach it.

Only `node` runs in this project's tests. `kind` and `current` are for machines that have more.
"""

import os
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass

from tests.images.build import PREFIX, ROOT, build, sources_hash
from tests.images.store import CACHE

TARGETS = ("operator", "trainer")
VERSION = "0.1.0"
KIND_NAME = "finetune"


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """Names of the images in it, and the environment in which kubectl and helm reach it.

    `enter` gives a user's shell this environment, `down` removes what the demo has made.
    """

    operator: str
    trainer: str
    environment: dict[str, str]
    enter: str
    down: str

    def run(self, *command: str, stdin: bytes | None = None) -> None:
        """Run kubectl or helm; what it says is shown only when it fails."""
        done = subprocess.run(command, env=self.environment, input=stdin, capture_output=True)
        if done.returncode:
            message = (done.stderr or done.stdout).decode().strip()
            raise SystemExit(f"`{' '.join(command)}` failed:\n{message}")

    def show(self, *command: str) -> None:
        """Run kubectl and show what it says."""
        subprocess.run(command, env=self.environment, check=False)


def node() -> Cluster:
    """Start the one-node Kubernetes of tests/cluster on this machine (Linux, root)."""
    from tests.cluster import cluster, images, layout, programs

    used = (programs.KUBERNETES, programs.COREDNS, programs.HELM)
    programs.ensure(*used)
    built = {target: build(target) for target in TARGETS}
    cluster.up()
    for each in cluster.running_nodes():
        for image in built.values():
            images.load(each, image.archive)
    path = os.pathsep.join([*(str(program.directory) for program in used), os.environ["PATH"]])
    environment = os.environ | {"KUBECONFIG": str(layout.KUBECONFIG), "PATH": path}
    names = {target: image.name for target, image in built.items()}
    enter = 'eval "$(python3.11 -m tests.cluster env)"'
    return Cluster(environment=environment, enter=enter, down="make cluster-down", **names)


def kind() -> Cluster:
    """Make or reuse a kind cluster named `finetune`, with images built by docker."""
    need("docker", "kind", "kubectl", "helm")
    names = {target: f"{PREFIX}/{target}:{sources_hash(target)}" for target in TARGETS}
    for target, name in names.items():
        build_here = ["docker", "build", "--target", target, "--tag", name, str(ROOT)]
        subprocess.run(build_here, check=True)
    if KIND_NAME not in subprocess.check_output(["kind", "get", "clusters"], text=True).split():
        create = ["kind", "create", "cluster", "--name", KIND_NAME, "--wait", "3m"]
        subprocess.run(create, check=True)
    load = ["kind", "load", "docker-image", "--name", KIND_NAME, *names.values()]
    subprocess.run(load, check=True)
    # Not the user's kubeconfig: its current context stays what it is.
    CACHE.mkdir(parents=True, exist_ok=True)
    kubeconfig = CACHE / "kind.kubeconfig"
    export = ["kind", "export", "kubeconfig", "--name", KIND_NAME, "--kubeconfig", str(kubeconfig)]
    subprocess.run(export, check=True)
    environment = os.environ | {"KUBECONFIG": str(kubeconfig)}
    down = f"kind delete cluster --name {KIND_NAME}"
    enter = f"export KUBECONFIG={kubeconfig}"
    return Cluster(environment=environment, enter=enter, down=down, **names)


def current() -> Cluster:
    """Use the cluster of the current kubectl context, with images that it can pull."""
    need("kubectl", "helm")
    prefix = os.environ.get("IMAGE_PREFIX", "").rstrip("/")
    if not prefix:
        push = "\n".join(
            f"  docker build --target {target} --tag REGISTRY/{target}:{VERSION} . &&"
            f" docker push REGISTRY/{target}:{VERSION}"
            for target in TARGETS
        )
        raise SystemExit(
            "CLUSTER=current needs the images where your cluster can pull them. Push them once:\n"
            f"{push}\nthen: make demo CLUSTER=current IMAGE_PREFIX=REGISTRY"
        )
    names = {target: f"{prefix}/{target}:{VERSION}" for target in TARGETS}
    down = "kubectl delete namespace demo"
    down += " && helm --namespace finetune-system uninstall finetune-operator"
    return Cluster(environment=dict(os.environ), enter="", down=down, **names)


def need(*programs: str) -> None:
    """End with a list of the programs that are not there."""
    missing = [program for program in programs if not shutil.which(program)]
    if missing:
        raise SystemExit(f"not on PATH: {', '.join(missing)}. CLUSTER=node needs none of them")


CLUSTERS: dict[str, Callable[[], Cluster]] = {"node": node, "kind": kind, "current": current}
