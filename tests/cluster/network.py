"""The nodes' network: one bridge with their addresses, two nftables tables, the CNI configuration.

Pods get point-to-point links (CNI plugin ptp), not a bridge: all their traffic is routed by this
machine, so Services work without br_netfilter, and the host reaches every pod and Service address.
NetworkPolicy is not enforced. A firewall that drops forwarded packets, as Docker's does, has to
let PODS_CIDR through.
"""

import json
import socket
import subprocess
from ipaddress import IPv4Network
from pathlib import Path

from tests.cluster import configuration
from tests.cluster.components import SERVICE_CIDR
from tests.cluster.layout import BRIDGE, NAME, NODES_CIDR, PODS_CIDR, STATE, Node

CNI_PLUGINS = Path("/usr/lib/cni")
SAVED_SETTINGS = STATE / "sysctl.json"
# What the kubelet and the CNI plugins change and never change back.
SETTINGS = (
    "net/ipv4/ip_forward",
    "net/ipv6/conf/all/forwarding",
    "net/ipv4/conf/all/route_localnet",
    "kernel/panic",
    "kernel/panic_on_oops",
    "vm/overcommit_memory",
    "vm/panic_on_oom",
    "kernel/keys/root_maxkeys",
    "kernel/keys/root_maxbytes",
)


def create(nodes: tuple[Node, ...]) -> None:
    """Make or complete the bridge, the addresses and the rule for traffic to the world."""
    _refuse_taken_addresses()
    _save_settings()
    if not _has_bridge():
        _run("ip", "link", "add", BRIDGE, "type", "bridge")
    for node in nodes:
        _run("ip", "address", "replace", f"{node.address}/32", "dev", BRIDGE)
        _write_cni(node)
    _run("ip", "link", "set", BRIDGE, "up")
    # Without any route, on a machine that is offline, no packet gets as far as kube-proxy's rules.
    _run("ip", "route", "replace", SERVICE_CIDR, "dev", BRIDGE)
    own = ", ".join((PODS_CIDR, SERVICE_CIDR, NODES_CIDR))
    # Flushed and filled in one transaction: the same after any number of runs.
    _nft(
        f"add table ip {NAME}",
        f"flush table ip {NAME}",
        f"add chain ip {NAME} world {{ type nat hook postrouting priority srcnat; }}",
        f"add rule ip {NAME} world ip saddr {PODS_CIDR} ip daddr != {{ {own} }} masquerade",
    )


def remove() -> None:
    """Take away everything `create`, kube-proxy and the CNI plugins made."""
    if _has_bridge():
        _run("ip", "link", "delete", BRIDGE)
    for table in (f"ip {NAME}", "ip kube-proxy", "ip6 kube-proxy"):
        # Added first, so that deleting it cannot fail.
        _nft(f"add table {table}", f"delete table {table}")
    _restore_settings()


def _refuse_taken_addresses() -> None:
    """Stop before this machine loses a network of its own."""
    ours = [IPv4Network(cidr) for cidr in (NODES_CIDR, PODS_CIDR, SERVICE_CIDR)]
    listing = subprocess.run(["ip", "-json", "route"], check=True, stdout=subprocess.PIPE).stdout
    for route in json.loads(listing):
        is_own = route["dev"] == BRIDGE or route["dev"].startswith("veth")
        if route["dst"] == "default" or is_own:
            continue
        for network in ours:
            if IPv4Network(route["dst"]).subnet_of(network):
                raise SystemExit(
                    f"the cluster needs {network}, but {route['dev']} has a route to"
                    f" {route['dst']}: change the addresses in tests/cluster/layout.py"
                )


def _has_bridge() -> bool:
    return BRIDGE in (name for _, name in socket.if_nameindex())


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


def _nft(*lines: str) -> None:
    subprocess.run(["nft", "--file", "-"], input="\n".join(lines), text=True, check=True)


def _write_cni(node: Node) -> None:
    ipam = {
        "type": "host-local",
        "dataDir": str(node.directory / "cni-addresses"),
        "ranges": [[{"subnet": node.pods_cidr}]],
        "routes": [{"dst": "0.0.0.0/0"}],
    }
    network = {
        "cniVersion": "0.4.0",
        "name": f"{NAME}-{node.name}",
        "plugins": [{"type": "ptp", "ipam": ipam}],
    }
    configuration.write(node.directory / "cni" / "network.conflist", json.dumps(network))


def _save_settings() -> None:
    if SAVED_SETTINGS.exists():
        return
    files = {name: Path("/proc/sys", name) for name in SETTINGS}
    values = {name: file.read_text().strip() for name, file in files.items() if file.exists()}
    SAVED_SETTINGS.write_text(json.dumps(values))


def _restore_settings() -> None:
    if SAVED_SETTINGS.exists():
        for name, value in json.loads(SAVED_SETTINGS.read_text()).items():
            file = Path("/proc/sys", name)
            if file.read_text().strip() != value:
                file.write_text(value)
