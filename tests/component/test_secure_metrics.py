"""/metrics over TLS, for accounts that the API server knows and lets read it."""

import ssl
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.cluster.controlplane import ControlPlane
from tests.support.certificates import write_certificate
from tests.support.kubelet_world import KubeletWorld
from tests.support.operator_process import OperatorProcess, free_port
from tests.support.release import Release

FLAGS = "--set=metrics.secure.enabled=true,metrics.secure.certSecretName=metrics"


class Metrics:
    """The secure port of a running operator."""

    def __init__(self, port: int, folder: Path) -> None:
        self.url = f"https://127.0.0.1:{port}/metrics"
        self.folder = folder
        self.trust = write_certificate(folder)

    def status(self, token: str = "") -> int:
        """The status of a scrape with this token; 0 if the certificate is not the trusted one."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        request = urllib.request.Request(self.url, headers=headers)
        tls = ssl.create_default_context(cadata=self.trust)
        try:
            with urllib.request.urlopen(request, timeout=5, context=tls) as answer:
                assert b"finetune_operator_leader" in answer.read()
                return int(answer.status)
        except urllib.error.HTTPError as error:
            return error.code
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                return 0
            raise


@pytest.fixture(scope="module")
def secure_release(plane: ControlPlane) -> Release:
    return Release(plane, "secure", FLAGS)


@pytest.fixture
def metrics(
    secure_release: Release, quiet_world: KubeletWorld, tmp_path: Path
) -> Iterator[Metrics]:
    metrics = Metrics(free_port(), tmp_path)
    process = OperatorProcess(
        secure_release.write_kubeconfig(tmp_path / "kubeconfig"),
        namespaces=quiet_world.namespace,
        metrics_tls_port=metrics.url.split(":")[2].split("/")[0],
        metrics_tls_directory=str(tmp_path),
    )
    with closing(process):
        process.start()
        assert process.get("/metrics") == ""
        yield metrics


def token_of(world: KubeletWorld, account: str) -> str:
    world.kubectl("create", "serviceaccount", account)
    return world.kubectl("create", "token", account).stdout.strip()


def test_only_a_known_account_with_the_right_reads_the_metrics(
    metrics: Metrics, quiet_world: KubeletWorld
) -> None:
    stranger, scraper = (token_of(quiet_world, name) for name in ("stranger", "scraper"))
    quiet_world.kubectl(
        "create",
        "clusterrolebinding",
        f"{quiet_world.namespace}-scraper",
        "--clusterrole=secure-metrics-reader",
        f"--serviceaccount={quiet_world.namespace}:scraper",
    )
    assert metrics.status() == 401
    assert metrics.status("no-token") == 401
    assert metrics.status(stranger) == 403
    assert metrics.status(scraper) == 200


def test_certificate_that_is_replaced_is_used_without_a_restart(
    metrics: Metrics, quiet_world: KubeletWorld
) -> None:
    assert metrics.status() == 401
    metrics.trust = write_certificate(metrics.folder)
    deadline = time.monotonic() + 20
    while metrics.status() == 0:
        assert time.monotonic() < deadline, "the operator shows the old certificate"
        time.sleep(0.5)
    assert metrics.status() == 401
