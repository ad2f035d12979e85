"""The one way to the API server, for the operator's own client and for kopf.

Inside a cluster it is the address that the kubelet gives each container: no name is looked up, so
a cluster whose DNS is down can be worked in. Proxies are chosen by the rules of Go's programs:
https://pkg.go.dev/golang.org/x/net/http/httpproxy
"""

import ipaddress
import os
from collections.abc import Iterable, Mapping
from urllib.parse import urlsplit

from kubernetes.aio import client as official
from kubernetes.aio import config

SERVICE_NAME = "kubernetes.default.svc"
"""A name of the API server in its cluster; NO_PROXY may hold it instead of the address."""


class UnusableProxy(Exception):
    """The proxy for the API server is none that the operator can use."""


async def configure(environment: Mapping[str, str] = os.environ) -> official.Configuration:
    """Return the address and login of the pod's ServiceAccount, or those of KUBECONFIG.

    Raises UnusableProxy for a proxy by SOCKS, for example.
    """
    configuration, names = official.Configuration(), [SERVICE_NAME]
    try:
        config.load_incluster_config(configuration)  # type: ignore[no-untyped-call]
    except config.ConfigException:
        names = []
        await config.load_kube_config(  # type: ignore[no-untyped-call]
            config_file=environment.get("KUBECONFIG"), client_configuration=configuration
        )
    own, host = configuration.proxy, configuration.host
    configuration.proxy = own or proxy_of(host, environment, also_named=names)
    if configuration.proxy:
        _check_proxy(configuration.proxy, server="" if own else host)
    configuration.client_session_kwargs = {"trust_env": False}  # aiohttp knows no networks
    return configuration


def proxy_of(
    url: str, environment: Mapping[str, str], *, also_named: Iterable[str] = ()
) -> str | None:
    """Return the proxy that the environment names for this URL, None to connect directly."""
    target = urlsplit(url)
    proxy = _variable(environment, f"{target.scheme}_proxy")
    if not proxy:
        return None
    entries = [entry.strip() for entry in _variable(environment, "no_proxy").split(",")]
    port = target.port or (443 if target.scheme == "https" else 80)
    for host in (target.hostname or "", *also_named):
        if _is_loopback(host) or any(_covers(entry.lower(), host, port) for entry in entries):
            return None
    return proxy if "://" in proxy else f"http://{proxy}"


def _check_proxy(proxy: str, *, server: str) -> None:
    """Raise unless aiohttp can use the proxy. `server`, if the environment names the proxy, is the
    URL of the API server.
    """
    address = urlsplit(proxy)
    if address.scheme in ("http", "https") and address.hostname:
        return
    target = urlsplit(server)
    place = f"{target.scheme.upper()}_PROXY" if server else "proxy-url of the kubeconfig"
    around = f", or add {target.hostname} to NO_PROXY" if server else ""
    shown = f"{address.scheme}://{address.netloc.rpartition('@')[2]}"  # without a password
    raise UnusableProxy(
        f"{place}: {shown} is no proxy that the operator can use: write http://HOST:PORT{around}"
    )


def _variable(environment: Mapping[str, str], name: str) -> str:
    return environment.get(name.upper()) or environment.get(name) or ""


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return address.is_loopback if address else host == "localhost"


def _covers(entry: str, host: str, port: int) -> bool:
    """Return True if an entry of NO_PROXY covers the host: *, an address, a network or a domain."""
    if entry in ("", "*"):
        return entry == "*"
    address = _address(host)
    if address and (network := _network(entry)):
        return address in network
    name, _, entry_port = entry.rpartition(":") if ":" in entry else (entry, "", "")
    if entry_port and entry_port != str(port):
        return False
    if address:
        return _address(name.strip("[]")) == address
    domain = name.removeprefix("*")  # with a dot before it only what is below it
    return host == domain or host.endswith(domain if domain.startswith(".") else f".{domain}")


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _network(entry: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return None
