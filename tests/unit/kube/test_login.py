"""The address, the credentials and the proxy: one way to the API server for kopf and the client."""

import asyncio
from pathlib import Path

import pytest
import yaml
from aiohttp import web
from finetune_operator.__main__ import main
from finetune_operator.kube.client import CONNECTIONS, Client
from finetune_operator.kube.login import UnusableProxy, configure, proxy_of
from finetune_operator.observe.kopf_watch import connection_of

from tests.support.api_server import HANG, Answer, ApiServer, Body, serving

PROXY = "http://proxy.example.com:3128"
IN_CLUSTER, IPV6 = "https://10.96.0.1:443", "https://[fd00::1]:6443"
NAMED = "https://api.example.com:6443"


@pytest.mark.parametrize(
    ("url", "no_proxy", "direct"),
    [
        (IN_CLUSTER, "", False),
        (IN_CLUSTER, "10.96.0.0/12,.svc", True),
        (IN_CLUSTER, " localhost , 10.96.0.1 ", True),
        (IN_CLUSTER, "10.96.0.1:443", True),
        (IN_CLUSTER, "10.96.0.1:6443", False),
        (IN_CLUSTER, "10.0.0.0/16", False),
        (IN_CLUSTER, ".cluster.local,.svc", True),
        (IN_CLUSTER, "*", True),
        (IN_CLUSTER, "10.96.0.1/nonsense,,", False),
        (IPV6, "fd00::/8", True),
        (IPV6, "[fd00::1]:6443", True),
        (IPV6, "10.0.0.0/8", False),
        (NAMED, "example.com", True),
        (NAMED, "API.Example.com", True),
        (NAMED, ".example.com", True),
        (NAMED, "*.example.com:6443", True),
        (NAMED, ".api.example.com", False),
        (NAMED, "ample.com", False),
        ("https://127.0.0.1:6443", "", True),
        ("https://localhost:6443", "", True),
        ("http://10.96.0.1", "", True),
    ],
)
@pytest.mark.parametrize("variable", [str.upper, str.lower])
def test_proxy_is_used_as_go_programs_use_it(
    url: str, no_proxy: str, direct: bool, variable: type[str]
) -> None:
    environment = {variable("https_proxy"): PROXY, variable("no_proxy"): no_proxy}
    names = ["kubernetes.default.svc"] if url == IN_CLUSTER else []
    assert proxy_of(url, environment, also_named=names) == (None if direct else PROXY)


def test_proxy_may_be_named_without_its_scheme() -> None:
    assert proxy_of(NAMED, {"HTTPS_PROXY": "proxy.example.com:3128"}) == PROXY
    assert proxy_of(NAMED, {}) is None


def write_kubeconfig(path: Path, server: str, **cluster: str) -> Path:
    entry = {"server": server, **cluster}
    content = {
        "current-context": "it",
        "contexts": [{"name": "it", "context": {"cluster": "it", "user": "it"}}],
        "clusters": [{"name": "it", "cluster": entry}],
        "users": [{"name": "it", "user": {"token": "secret"}}],
    }
    path.write_text(yaml.safe_dump(content))
    return path


async def test_kopf_goes_the_way_of_the_client(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "kubeconfig", NAMED)
    environment = {"KUBECONFIG": str(path), "HTTPS_PROXY": PROXY, "NO_PROXY": "other.example.com"}
    configuration = await configure(environment)
    connection = await connection_of(configuration)
    assert (connection.server, connection.proxy_url) == (NAMED, PROXY)
    assert not connection.trust_env
    assert connection.as_http_headers()["Authorization"] == "Bearer secret"
    configuration = await configure({**environment, "NO_PROXY": "example.com"})
    assert (await connection_of(configuration)).proxy_url is None


async def test_proxy_of_the_kubeconfig_comes_before_that_of_the_environment(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "kubeconfig", NAMED, **{"proxy-url": "http://own:1"})
    configuration = await configure({"KUBECONFIG": str(path), "HTTPS_PROXY": PROXY})
    assert configuration.proxy == "http://own:1"


@pytest.mark.parametrize(
    ("proxy", "shown"),
    [
        ("socks5://me:secret@proxy.example.com:1080", "socks5://proxy.example.com:1080"),
        ("socks5h://proxy.example.com:1080", "socks5h://proxy.example.com:1080"),
        ("ftp://proxy.example.com", "ftp://proxy.example.com"),
        ("http://:3128", "http://:3128"),
    ],
)
@pytest.mark.parametrize("variable", ["HTTPS_PROXY", "https_proxy"])
async def test_proxy_that_cannot_be_used_is_refused_with_its_place_and_a_remedy(
    tmp_path: Path, proxy: str, shown: str, variable: str
) -> None:
    path = write_kubeconfig(tmp_path / "kubeconfig", NAMED)
    with pytest.raises(UnusableProxy) as refused:
        await configure({"KUBECONFIG": str(path), variable: proxy})
    for part in ("HTTPS_PROXY", shown, "http://HOST:PORT", "NO_PROXY", "api.example.com"):
        assert part in str(refused.value)
    assert "secret" not in str(refused.value)
    path = write_kubeconfig(tmp_path / "kubeconfig", NAMED, **{"proxy-url": proxy})
    with pytest.raises(UnusableProxy, match="proxy-url of the kubeconfig") as refused:
        await configure({"KUBECONFIG": str(path)})
    assert "NO_PROXY" not in str(refused.value)


async def test_proxy_that_cannot_be_used_harms_nobody_who_goes_around_it(tmp_path: Path) -> None:
    path = write_kubeconfig(tmp_path / "kubeconfig", NAMED)
    environment = {"KUBECONFIG": str(path), "HTTPS_PROXY": "socks5://a:1", "NO_PROXY": "*"}
    assert (await configure(environment)).proxy is None


def test_operator_ends_at_once_with_the_place_of_a_proxy_that_cannot_be_used(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_kubeconfig(tmp_path / "kubeconfig", NAMED)
    monkeypatch.setenv("KUBECONFIG", str(path))
    monkeypatch.setenv("HTTPS_PROXY", "socks5://a:1")
    monkeypatch.setenv("NO_PROXY", "")
    with pytest.raises(SystemExit, match="HTTPS_PROXY: socks5://a:1 "):
        main()


async def test_any_number_of_watches_have_their_connections(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    arrived = asyncio.Semaphore(0)

    def answer(request: web.Request, body: Body) -> Answer:
        arrived.release()
        return Answer(HANG)

    async def watch(client: Client) -> None:
        async with client.watch("/api/v1/pods", query={}, idle_seconds=30) as lines:
            async for _ in lines:
                pass

    count = CONNECTIONS + 1
    server = ApiServer(answer)
    async with serving(server) as shown:
        host = shown._api.configuration.host
        path = write_kubeconfig(tmp_path / "kubeconfig", host)
        monkeypatch.setenv("KUBECONFIG", str(path))
        client = await Client.connect(connections=0)
        watches = [asyncio.create_task(watch(client)) for _ in range(count)]
        async with asyncio.timeout(8):
            for _ in range(count):
                await arrived.acquire()
        for task in watches:
            task.cancel()
        await asyncio.gather(*watches, return_exceptions=True)
        await client.close()
