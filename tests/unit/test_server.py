"""The ports of the operator: what each serves, and to whom."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from finetune_operator.certificate import Certificate, UnusableCertificate
from finetune_operator.kube.access import Access
from finetune_operator.kube.client import Client
from finetune_operator.metrics import Metrics
from finetune_operator.observe.cache import Cache
from finetune_operator.server import Secure, Server

from tests.support.api_server import Answer, ApiServer, serving
from tests.support.certificates import write_certificate
from tests.support.operator_process import free_port

SERIES = "finetune_operator_leader 1.0"
ALLOWED = {"status": {"authenticated": True, "allowed": True}}


@asynccontextmanager
async def running(secure: Secure | None, ready: str = "") -> AsyncIterator[int]:
    port = free_port()
    server = Server(
        metrics=Metrics(Cache()), healthy=lambda: "", ready=lambda: ready, secure=secure
    )
    task = asyncio.create_task(server.run(port))
    await asyncio.sleep(0.1)
    try:
        yield port
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def get(url: str, *, trust: str = "", token: str = "") -> tuple[int, str]:
    tls = ssl.create_default_context(cadata=trust) if trust else True
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    async with (
        aiohttp.ClientSession() as session,
        session.get(url, ssl=tls, headers=headers) as response,
    ):
        return response.status, await response.text()


def secure_port(folder: Path, client: Client) -> Secure:
    return Secure(free_port(), Certificate(folder), Access(client))


def test_one_port_serves_probes_and_metrics_by_default() -> None:
    async def answers() -> list[tuple[int, str]]:
        async with running(None, ready="not yet") as port:
            paths = ("healthz", "readyz", "metrics")
            return [await get(f"http://127.0.0.1:{port}/{path}") for path in paths]

    healthz, readyz, (status, page) = asyncio.run(answers())
    assert (healthz, readyz, status) == ((200, "ok"), (503, "not yet"), 200)
    assert SERIES in page


def test_secure_metrics_are_on_their_own_port_alone(tmp_path: Path) -> None:
    trust = write_certificate(tmp_path)

    async def answers() -> list[int]:
        async with serving(ApiServer(lambda request, body: Answer(ALLOWED))) as client:
            secure = secure_port(tmp_path, client)
            async with running(secure) as port:
                plain, tls = f"http://127.0.0.1:{port}", f"https://127.0.0.1:{secure.port}"
                found = [await get(f"{plain}/{path}") for path in ("healthz", "metrics")]
                found += [await get(f"{tls}/metrics", trust=trust, token="x")]
                found += [await get(f"{tls}/metrics", trust=trust)]
                found += [await get(f"{tls}/healthz", trust=trust, token="x")]
                return [status for status, _ in found]

    assert asyncio.run(answers()) == [200, 404, 200, 401, 404]


def test_renewed_certificate_is_used_by_the_next_connection(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("finetune_operator.certificate.FOLLOW_SECONDS", 0.05)
    write_certificate(tmp_path)

    async def status_after_renewal() -> int:
        async with serving(ApiServer(lambda request, body: Answer(ALLOWED))) as client:
            secure = secure_port(tmp_path, client)
            async with running(secure):
                (tmp_path / "tls.key").write_text("of another certificate")
                await asyncio.sleep(0.1)  # the earlier one stays
                trust = write_certificate(tmp_path)
                await asyncio.sleep(0.2)
                url = f"https://127.0.0.1:{secure.port}/metrics"
                return (await get(url, trust=trust, token="x"))[0]

    assert asyncio.run(status_after_renewal()) == 200


def test_files_that_are_no_certificate_are_named(tmp_path: Path) -> None:
    with pytest.raises(UnusableCertificate, match=str(tmp_path)):
        Certificate(tmp_path)
    for name in ("tls.crt", "tls.key"):
        (tmp_path / name).write_text("nothing")
    with pytest.raises(UnusableCertificate, match=r"tls\.crt and tls\.key in "):
        Certificate(tmp_path)
