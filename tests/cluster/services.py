"""What a cluster needs besides its nodes: Service addresses (kube-proxy) and DNS (coredns).

Both are programs of this machine, not pods: no image is needed, and they are there before any pod.
"""

import json
from pathlib import Path
from typing import Any

from tests.cluster import configuration, processes, programs
from tests.cluster.client import Api
from tests.cluster.components import program
from tests.cluster.layout import DNS_SERVICE, NODES, PLANE, PODS_CIDR, STATE

_NAMESPACE = "kube-system"
_COREFILE = """\
.:53 {{
  bind {address}
  errors
  cache 5
  kubernetes cluster.local in-addr.arpa {{
    kubeconfig {kubeconfig}
  }}
  {forward}
}}
"""
_PORTS = [("dns", "UDP"), ("dns-tcp", "TCP")]


def start_dns(api: Api) -> None:
    """Start coredns and register it as the Service that kubelets point pods to."""
    _register_dns(api)
    path = STATE / "Corefile"
    has_upstream = "nameserver" in Path("/etc/resolv.conf").read_text()
    configuration.write(
        path,
        _COREFILE.format(
            address=PLANE.address,
            kubeconfig=PLANE.credentials / "coredns.kubeconfig",
            forward="forward . /etc/resolv.conf" if has_upstream else "",
        ),
    )
    binary = programs.COREDNS.directory / programs.COREDNS.name
    processes.ensure("coredns", [str(binary), "-conf", str(path)])


def start_proxy() -> None:
    """Start one kube-proxy: the nodes share this machine's network, and so its rules.

    It looks for its node first, and when that is not there yet waits longer and longer.
    """
    path = STATE / "kube-proxy.json"
    configuration.write(
        path,
        json.dumps(
            {
                "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
                "kind": "KubeProxyConfiguration",
                "mode": "nftables",
                "clientConnection": {"kubeconfig": f"{PLANE.credentials}/kube-proxy.kubeconfig"},
                "hostnameOverride": NODES[0].name,
                "clusterCIDR": PODS_CIDR,
                "healthzBindAddress": f"{PLANE.loopback}:10256",
                "metricsBindAddress": f"{PLANE.loopback}:10249",
                "oomScoreAdj": 0,
                # Zero leaves this machine's connection tracking as it is.
                "conntrack": {
                    "maxPerCore": 0,
                    "tcpEstablishedTimeout": "0s",
                    "tcpCloseWaitTimeout": "0s",
                },
            },
            indent=2,
        ),
    )
    processes.ensure("kube-proxy", [program("kube-proxy"), f"--config={path}"])


def _register_dns(api: Api) -> None:
    """Make a Service without a selector, whose endpoint is the program on this machine."""
    metadata = {"name": "kube-dns", "namespace": _NAMESPACE}
    ports: list[dict[str, Any]] = [{"name": n, "protocol": p, "port": 53} for n, p in _PORTS]
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": metadata,
        "spec": {"clusterIP": DNS_SERVICE, "ports": ports},
    }
    api.apply(f"/api/v1/namespaces/{_NAMESPACE}/services/kube-dns", service)
    endpoints = {
        "apiVersion": "discovery.k8s.io/v1",
        "kind": "EndpointSlice",
        "metadata": metadata | {"labels": {"kubernetes.io/service-name": "kube-dns"}},
        "addressType": "IPv4",
        "endpoints": [{"addresses": [PLANE.address]}],
        "ports": ports,
    }
    path = f"/apis/discovery.k8s.io/v1/namespaces/{_NAMESPACE}/endpointslices/kube-dns"
    api.apply(path, endpoints)
