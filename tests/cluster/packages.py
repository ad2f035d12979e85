"""Installs the Debian packages a node needs, only those whose program is not there."""

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

# By program, not by package: a machine with Docker has containerd from another package.
NEEDED = {
    "/usr/bin/containerd": "containerd",
    "/usr/sbin/runc": "runc",
    "/usr/lib/cni/ptp": "containernetworking-plugins",
    "/usr/sbin/nft": "nftables",
    "/usr/sbin/ip": "iproute2",
    "/usr/bin/catatonit": "catatonit",
    "/bin/busybox": "busybox-static",
    "/usr/bin/openssl": "openssl",
}


def ensure(needed: Mapping[str, str] = NEEDED) -> None:
    """Install what is missing; no network is used when nothing is."""
    missing = [package for file, package in needed.items() if not _is_installed(Path(file))]
    if not missing:
        return
    print(f"installing {' '.join(missing)}", file=sys.stderr, flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    install = ["apt-get", "install", "--yes", "--quiet", "--no-install-recommends", *missing]
    for command in (["apt-get", "update", "--quiet"], install):
        subprocess.run(command, env=environment, check=True, stdout=sys.stderr)


def _is_installed(file: Path) -> bool:
    return file.exists() or Path("/usr/bin", file.name).exists()
