"""Removes what killed programs leave: mounts below a folder, and files outside our folders.

The strays lie where kubelet, containerd and libcni put them without asking; what is not provably
ours stays.
"""

import json
import socket
import subprocess
from pathlib import Path

from tests.cluster.layout import NAME, STATE, Node

SHIM_SOCKETS = Path("/run/containerd/s")
CNI_RESULTS = Path("/var/lib/cni/results")
LOG_LINKS = Path("/var/log/containers")
DEVICE_PLUGINS = Path("/var/lib/kubelet/device-plugins")


def unmount_all(directory: Path) -> None:
    """Unmount everything below a folder; raise if something is still there."""
    mounts = _mounts_below(directory)
    if mounts:
        # Lazily: the last reader of a killed container may be a moment behind.
        subprocess.run(["umount", "--lazy", *reversed(mounts)], check=False, capture_output=True)
    if left := _mounts_below(directory):
        raise RuntimeError(f"still mounted, so nothing is removed: {' '.join(left)}")


def remove_strays(nodes: tuple[Node, ...]) -> None:
    """Remove files of dead nodes outside STATE, and folders that are empty then."""
    for node in nodes:
        remove_shim_sockets(node)
    _remove_cni_results()
    for link in LOG_LINKS.glob("*.log"):
        if link.readlink().is_relative_to(STATE):
            link.unlink()
    kubelet_socket = DEVICE_PLUGINS / "kubelet.sock"
    if kubelet_socket.exists() and not _has_listener(kubelet_socket):
        kubelet_socket.unlink()
    for directory in (SHIM_SOCKETS, CNI_RESULTS, LOG_LINKS, DEVICE_PLUGINS):
        _remove_if_empty(directory)
    for directory in (SHIM_SOCKETS, CNI_RESULTS, DEVICE_PLUGINS):
        _remove_if_empty(directory.parent)


def _mounts_below(directory: Path) -> list[str]:
    points = (line.split()[1] for line in Path("/proc/mounts").read_text().splitlines())
    return [point for point in points if point.startswith(f"{directory}/")]


def remove_shim_sockets(node: Node) -> None:
    """Remove the sockets of a dead node's shims."""
    for address in (node.directory / "run").glob("io.containerd.runtime.v2.task/k8s.io/*/address"):
        Path(address.read_text().removeprefix("unix://")).unlink(missing_ok=True)


def _remove_cni_results() -> None:
    for result in CNI_RESULTS.glob(f"{NAME}-*"):
        container = json.loads(result.read_text())["containerId"]
        for file in CNI_RESULTS.glob(f"*-{container}-*"):
            file.unlink()


def _has_listener(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as connection:
        return connection.connect_ex(str(path)) == 0


def _remove_if_empty(directory: Path) -> None:
    if directory.exists() and not any(directory.iterdir()):
        directory.rmdir()
