"""One node: the configuration of its containerd and kubelet, their start and their sudden end."""

import json
from typing import Any

from tests.cluster import cgroups, configuration, images, processes
from tests.cluster.components import program
from tests.cluster.layout import DNS_SERVICE, PLANE, Node
from tests.cluster.network import CNI_PLUGINS

_CONTAINERD = """\
version = 2
root = "{directory}/containerd"
state = "{directory}/run"
disabled_plugins = [
  "io.containerd.snapshotter.v1.aufs", "io.containerd.snapshotter.v1.btrfs",
  "io.containerd.snapshotter.v1.devmapper", "io.containerd.snapshotter.v1.zfs",
]
[grpc]
address = "{socket}"
[plugins."io.containerd.internal.v1.opt"]
path = "{directory}/opt"
[plugins."io.containerd.grpc.v1.cri"]
sandbox_image = "{pause}"
# Without CAP_SYS_RESOURCE runc may not lower a score, and every sandbox would fail.
restrict_oom_score_adj = true
# Below our folder they are unmounted with the rest.
netns_mounts_under_state_dir = true
[plugins."io.containerd.grpc.v1.cri".cni]
bin_dir = "{plugins}"
conf_dir = "{directory}/cni"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc]
runtime_type = "io.containerd.runc.v2"
[plugins."io.containerd.grpc.v1.cri".containerd.runtimes.runc.options]
Root = "{directory}/runc"
"""


def start_containerd(node: Node) -> None:
    """Start the node's containerd; containers of an earlier run go on in it."""
    settings = {"socket": node.containerd_socket, "pause": images.PAUSE.name}
    config = _CONTAINERD.format(directory=node.directory, plugins=CNI_PLUGINS, **settings)
    path = node.directory / "containerd.toml"
    configuration.write(path, config)
    processes.ensure(f"{node.name}/containerd", ["containerd", "--config", str(path)])


def start_kubelet(node: Node) -> None:
    """Start the node's kubelet, which registers the node."""
    cgroups.create(node)
    path = node.directory / "kubelet.json"
    configuration.write(path, json.dumps(_kubelet_config(node), indent=2))
    command = [
        program("kubelet"),
        f"--config={path}",
        f"--kubeconfig={PLANE.credentials / node.name}.kubeconfig",
        f"--root-dir={node.directory / 'kubelet'}",
        f"--cert-dir={node.directory / 'pki'}",
        f"--hostname-override={node.name}",
        f"--node-ip={node.address}",
    ]
    processes.ensure(f"{node.name}/kubelet", command)


def kill(node: Node) -> None:
    """End a node as a power cut would: kubelet, containerd, shims and containers at once."""
    processes.end(node.name)
    cgroups.end_containers(node.cgroup)


def _kubelet_config(node: Node) -> dict[str, Any]:
    return {
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "address": node.address,
        "healthzBindAddress": node.address,
        "authentication": {
            "anonymous": {"enabled": False},
            "webhook": {"enabled": True},
            "x509": {"clientCAFile": str(PLANE.credentials / "ca.crt")},
        },
        "authorization": {"mode": "Webhook"},
        "containerRuntimeEndpoint": f"unix://{node.containerd_socket}",
        "cgroupDriver": "cgroupfs",
        # Kubelets that share a cgroup or a folder of logs delete each other's pods.
        "cgroupRoot": f"/{node.cgroup}",
        "podLogsDir": str(node.directory / "pod-logs"),
        "volumePluginDir": str(node.directory / "volume-plugins"),
        "enforceNodeAllocatable": [],
        "oomScoreAdj": 0,
        "failSwapOn": False,
        # No iptables chains: kube-proxy uses nftables.
        "makeIPTablesUtilChains": False,
        "clusterDomain": "cluster.local",
        "clusterDNS": [DNS_SERVICE],
        "resolvConf": "/dev/null",
        # A developer's disk is often nearly full, and loaded images cannot be pulled again.
        "evictionHard": {"memory.available": "100Mi", "nodefs.available": "1%"},
        "imageGCHighThresholdPercent": 100,
        "nodeLeaseDurationSeconds": 10,
        "nodeStatusUpdateFrequency": "5s",
    }
