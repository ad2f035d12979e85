"""Builds the programs of a Kubernetes from Go modules, once, into the user's cache.

A program's folder is named by its version (and, for our own, by a hash of its sources), so nothing
is built twice and nothing is ever written into the checkout.
"""

import fcntl
import hashlib
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

SOURCES = Path(__file__).parent / "kubernetes"
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "finetune-operator"
KUBERNETES_VERSION = "1.34.4"
# Components refuse each other, and helm refuses charts, when a version was not stamped.
KUBERNETES_STAMP = "".join(
    f" -X k8s.io/component-base/version.{field}={value}"
    for field, value in {
        "gitVersion": f"v{KUBERNETES_VERSION}",
        "gitMajor": "1",
        "gitMinor": "34",
        "gitTreeState": "clean",
    }.items()
)
HELM_STAMP = "".join(
    f" -X helm.sh/helm/v3/pkg/{package}.k8sVersion{part}={number}"
    for package in ("chartutil", "lint/rules")
    for part, number in (("Major", 1), ("Minor", 34))
)


@dataclass(frozen=True, kw_only=True)
class Program:
    """One binary: a package of a released Go module, or of the sources in this folder."""

    name: str
    version: str
    cold_minutes: int
    module: str = ""
    package: str = "."
    stamp: str = ""
    links: tuple[str, ...] = ()

    @property
    def directory(self) -> Path:
        """The folder to put on PATH."""
        return CACHE / f"{self.name}-{self.version}"

    def sources(self) -> Path:
        """The folder of the module, downloaded into Go's module cache if it is not ours."""
        if not self.module:
            return SOURCES
        # Not `go install`: it refuses modules with replace directives.
        command = ["go", "mod", "download", "-json", f"{self.module}@{self.version}"]
        answer = subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout
        return Path(json.loads(answer)["Dir"])


def _sources_hash() -> str:
    digest = hashlib.sha256(KUBERNETES_STAMP.encode())
    for name in ("main.go", "go.mod", "go.sum"):
        digest.update((SOURCES / name).read_bytes())
    return digest.hexdigest()[:12]


KUBERNETES = Program(
    name="kubernetes",
    version=f"v{KUBERNETES_VERSION}-{_sources_hash()}",
    cold_minutes=7,
    stamp=KUBERNETES_STAMP,
    links=(
        "etcd",
        "kube-apiserver",
        "kube-controller-manager",
        "kube-scheduler",
        "kube-proxy",
        "kubelet",
        "kubectl",
    ),
)
COREDNS = Program(
    name="coredns", version="v1.12.4", cold_minutes=2, module="github.com/coredns/coredns"
)
HELM = Program(
    name="helm",
    version="v3.18.6",
    cold_minutes=3,
    module="helm.sh/helm/v3",
    package="./cmd/helm",
    stamp=HELM_STAMP,
)
HELM_UNITTEST = Program(
    name="helm-unittest",
    version="v1.1.2",
    cold_minutes=2,
    module="github.com/helm-unittest/helm-unittest",
    package="./cmd/helm-unittest",
    stamp=HELM_STAMP,
)
VERSITYGW = Program(
    name="versitygw",
    version="v1.8.0",
    cold_minutes=2,
    module="github.com/versity/versitygw",
    package="./cmd/versitygw",
)
# In the place of nodes, where many pods are needed: tests/scale and bench/scale.
KWOK = Program(
    name="kwok",
    version="v0.7.0",
    cold_minutes=2,
    module="sigs.k8s.io/kwok",
    package="./cmd/kwok",
)
# Not built: its module has the definitions of its kinds.
PROMETHEUS_OPERATOR = Program(
    name="prometheus-operator",
    version="v0.85.0",
    cold_minutes=0,
    module="github.com/prometheus-operator/prometheus-operator",
)
ALL = (KUBERNETES, COREDNS, HELM, HELM_UNITTEST, VERSITYGW, KWOK)


def ensure(*programs: Program) -> None:
    """Build those of `programs` that are missing; two callers at once build each one once."""
    missing = [program for program in programs if not program.directory.exists()]
    if not missing:
        return
    if not shutil.which("go"):
        raise SystemExit("go is not on PATH: the test cluster is built with Go 1.25 or later")
    with lock("build"):
        for program in missing:
            if not program.directory.exists():
                _build(program)


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold a lock between processes; the kernel releases it when its holder dies."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def _build(program: Program) -> None:
    print(
        f"building {program.name} {program.version}"
        f" (about {program.cold_minutes} minutes on 2 cores the first time)",
        file=sys.stderr,
        flush=True,
    )
    started = time.monotonic()
    target = CACHE / f"{program.name}.partial"
    shutil.rmtree(target, ignore_errors=True)
    target.mkdir()
    flags = ["-trimpath", "-ldflags", f"-s -w{program.stamp}", "-o", str(target / program.name)]
    command = ["go", "build", "-C", str(program.sources()), *flags, program.package]
    subprocess.run(command, env=os.environ | {"CGO_ENABLED": "0"}, check=True)
    for link in program.links:
        (target / link).symlink_to(program.name)
    target.rename(program.directory)
    print(f"built {program.name} in {time.monotonic() - started:.0f} s", file=sys.stderr)
