"""Brings the whole cluster up and takes it down again, from any state an earlier run left."""

import os
import shutil
import sys
import time
from collections.abc import Callable

from tests.cluster import (
    cgroups,
    credentials,
    images,
    leftovers,
    network,
    node,
    packages,
    processes,
    programs,
    services,
    volumes,
)
from tests.cluster.client import Api
from tests.cluster.components import KUBERNETES_SERVICE
from tests.cluster.layout import KUBECONFIG, NAME, NODES, PLANE, STATE, Node

READY_SECONDS = 120
_NODE_PATH = "/api/v1/nodes"


def up(*, node_count: int = 1, gpus: int | None = None) -> None:
    """Start what does not run, and wait until every node is Ready; at once if all is well."""
    _need_root("up")
    packages.ensure()
    programs.ensure(programs.KUBERNETES, programs.COREDNS)
    started = time.monotonic()
    with programs.lock(NAME):
        nodes = NODES[: max(node_count, len(running_nodes()))]
        STATE.mkdir(mode=0o755, exist_ok=True)
        network.create(nodes)
        addresses = (PLANE.address, PLANE.loopback, KUBERNETES_SERVICE)
        credentials.write(PLANE.credentials, server=PLANE.url, addresses=addresses)
        _start_control_plane(has_spare_node=len(nodes) > 1)
        for each in nodes:
            _start_node(each)
        api = connect()
        _wait("the apiserver", api.is_ready, "etcd", "kube-apiserver")
        volumes.create(api)
        services.start_dns(api)
        for each in nodes:
            _wait_for_node(each, api)
        services.start_proxy()
        account = "/api/v1/namespaces/default/serviceaccounts/default"
        _wait("the default service account", lambda: api.exists(account))
        _wait("the volumes", lambda: volumes.is_complete(api), "kube-controller-manager")
        if gpus is not None:
            set_gpus(gpus)
    print(f"{len(nodes)} node(s) ready in {time.monotonic() - started:.1f} s", file=sys.stderr)


def down() -> None:
    """Leave nothing behind, whatever state the cluster is in."""
    _need_root("down")
    with programs.lock(NAME):
        processes.end()
        cgroups.remove()
        leftovers.unmount_all(STATE)
        leftovers.remove_strays(NODES)
        network.remove()
        if STATE.exists():
            shutil.rmtree(STATE)


def connect() -> Api:
    """The API of the running cluster."""
    if not KUBECONFIG.exists():
        raise SystemExit("no cluster here: start it with `python -m tests.cluster up`")
    return Api(PLANE.url, PLANE.credentials)


def running_nodes() -> list[Node]:
    """The nodes that have been started since the last `down`."""
    return [each for each in NODES if each.directory.exists()]


def set_gpus(count: int) -> None:
    """Let every node offer stand-in GPUs, which the scheduler counts as it does real ones.

    A kubelet that is started anew takes them back, as it knows of no device plugin.
    """
    api = connect()
    for each in running_nodes():
        gpus = {"nvidia.com/gpu": str(count)}
        # The kubelet would derive allocatable from capacity, seconds later.
        status = {"capacity": gpus, "allocatable": gpus}
        api.merge(f"{_NODE_PATH}/{each.name}/status", {"status": status})


def stop_node(name: str) -> None:
    """Lose a node: its programs and containers are killed, its object stays."""
    node.kill(_node(name))


def start_node(name: str) -> None:
    """Bring a lost node back."""
    each = _node(name)
    _start_node(each)
    _wait_for_node(each, connect())


def drop_node(name: str) -> None:
    """End a node and forget it: the next `up` starts a cluster without it."""
    each = _node(name)
    node.kill(each)
    leftovers.unmount_all(each.directory)
    leftovers.remove_shim_sockets(each)
    shutil.rmtree(each.directory)
    connect().request("DELETE", f"{_NODE_PATH}/{name}")


def _node(name: str) -> Node:
    names = {each.name: each for each in running_nodes()}
    if name not in names:
        raise SystemExit(f"no node {name!r} here: there are {', '.join(names) or 'none'}")
    return names[name]


def _start_control_plane(*, has_spare_node: bool) -> None:
    apiserver = [f"--advertise-address={PLANE.address}"]
    controllers = []
    if has_spare_node:
        # Pods of a lost node are given up within half a minute, not after six.
        apiserver += [
            "--default-not-ready-toleration-seconds=5",
            "--default-unreachable-toleration-seconds=5",
        ]
        controllers += ["--node-monitor-grace-period=16s"]
    processes.ensure("etcd", PLANE.etcd())
    processes.ensure("kube-apiserver", PLANE.apiserver(*apiserver))
    processes.ensure("kube-controller-manager", PLANE.controller_manager(*controllers))
    processes.ensure("kube-scheduler", PLANE.scheduler())


def _start_node(each: Node) -> None:
    node.start_containerd(each)
    # A kubelet that finds no containerd ends itself.
    images.wait_for_containerd(each)
    images.load_own(each)
    node.start_kubelet(each)


def _wait_for_node(each: Node, api: Api) -> None:
    names = (f"{each.name}/containerd", f"{each.name}/kubelet")
    _wait(f"{each.name} to be Ready", lambda: _is_ready(api, each), *names)


def _is_ready(api: Api, each: Node) -> bool:
    path = f"{_NODE_PATH}/{each.name}"
    conditions = api.get(path)["status"].get("conditions", []) if api.exists(path) else []
    return any(c["type"] == "Ready" and c["status"] == "True" for c in conditions)


def _wait(what: str, is_so: Callable[[], bool], *names: str) -> None:
    """Wait for something that the programs of these names bring about."""
    deadline = time.monotonic() + READY_SECONDS
    while not is_so():
        processes.assert_running(*names)
        if time.monotonic() > deadline:
            raise SystemExit(f"waited {READY_SECONDS} s for {what}: see {STATE / 'logs'}")
        time.sleep(0.1)


def _need_root(command: str) -> None:
    if os.geteuid() != 0:
        raise SystemExit(f"`{command}` needs root: it makes network devices, mounts and cgroups")
