"""Photos from S3 and HTTPS and models to S3, with credentials from a Secret, on the real node."""

import datetime
import hashlib
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.cluster.layout import NODES
from tests.e2e import photos
from tests.e2e.conftest import SAMPLES, directory_of, sample
from tests.servers import s3, web
from tests.servers.s3 import S3
from tests.servers.web import Site
from tests.support.world import Object, World
from tests.trainer.support.datasets import make_tar

ADDRESS = NODES[0].address
TOKEN = "a-token-that-nobody-may-see"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos."""
    folder = tmp_path_factory.mktemp("sources") / "flowers"
    photos.write_small(folder)
    return folder


@pytest.fixture(scope="module")
def server(namespace: str, folder: Path) -> Iterator[S3]:
    """An S3 server on the node's address, which pods reach."""
    with s3.serve(folder.parent / "buckets", address=ADDRESS) as server:
        server.upload(folder, "s3://photos/flowers")
        server.client().mkdir("models")
        yield server


@pytest.fixture
def site(world: World, folder: Path, tmp_path: Path) -> Iterator[Site]:
    """A web server with a certificate that only the workspace knows, and a Secret with TOKEN."""
    certificate = web.make_certificate(tmp_path / "site.pem", address=ADDRESS)
    authority = certificate.read_text().partition("-----BEGIN PRIVATE")[0]
    (directory_of(world, "workspace") / "ca.pem").write_text(authority)
    apply_secret(world, "login", {"TOKEN": TOKEN})
    content = make_tar(tmp_path / "photos.tar.gz", folder).read_bytes()
    with web.serve(content, address=ADDRESS, certificate=certificate) as site:
        site.authorization = f"Bearer {TOKEN}"
        yield site


def apply(world: World, secret: dict[str, str], *, name: str = "flowers", **spec: object) -> None:
    """Apply the sample with another content of its Secret and parts of its spec."""
    _, job = yaml.safe_load_all((SAMPLES / "s3.yaml").read_text())
    apply_secret(world, "bucket", secret)
    job["metadata"]["name"] = name
    job["spec"] |= spec
    world.apply(job)


def apply_secret(world: World, name: str, content: dict[str, str]) -> None:
    """Create or replace a Secret."""
    secret = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}}
    text = yaml.safe_dump(secret | {"stringData": content})
    applied = world.kubectl("apply", "-f", "-", text=text)
    assert applied.returncode == 0, applied.stderr


def from_site(site: Site, **source: object) -> Object:
    """Return a job that trains on the site's archive, which it can trust."""
    dataset = {"source": {"uri": site.url, "secretRef": {"name": "login"}, **source}}
    job = sample("finetunejob", dataset=dataset)
    variable = {"name": "SSL_CERT_FILE", "value": "/workspace/ca.pem"}
    job["spec"]["trainer"] |= {"env": [variable]}
    return job


def failed(world: World, name: str, *, seconds: float = 60) -> Object:
    """Wait for the failure; return the status, in which there is a hint and no secret."""
    status = world.wait_for_phase("Failed", name, seconds=seconds)
    assert status["failure"]["hint"]
    for secret in (s3.SECRET, TOKEN):
        assert secret not in str(status)
    return status


def test_the_sample_goes_from_bucket_to_bucket(world: World, server: S3) -> None:
    apply(world, server.secret())
    status = world.wait_for_phase("Complete", "flowers", seconds=120)
    assert status["dataset"]["classes"] == 3
    assert "rejectedImages" not in status["dataset"]
    uid = world.job("flowers")["metadata"]["uid"]
    assert status["output"]["uri"] == f"s3://models/flowers/{uid}"
    model = server.contents(f"s3://models/flowers/{uid}")
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in model.items()}
    del digests["manifest.json"]
    assert json.loads(model["manifest.json"])["files"] == digests
    lines = "".join(f"{digests[name]}  {name}\n" for name in sorted(digests))
    assert status["output"]["digest"] == hashlib.sha256(lines.encode()).hexdigest()
    latest = json.loads(server.contents("s3://models/flowers")["latest.json"])
    assert latest["digest"] == status["output"]["digest"]
    assert f"{latest['accuracy']:.4f}" == status["accuracy"]


def test_an_archive_behind_a_token_is_fetched_although_the_connection_is_cut(
    world: World, site: Site
) -> None:
    site.cuts = [100_000, 200_000]
    world.apply(from_site(site, sha256=site.sha256))
    status = world.wait_for_phase("Complete", seconds=120)
    assert status["attempts"] == 1
    assert [r.get("Range") for r in site.requests] == [None, "bytes=100000-", "bytes=300000-"]
    assert TOKEN not in world.log(world.pods()[0])


def test_an_archive_with_another_digest_is_not_tried_again(world: World, site: Site) -> None:
    world.apply(from_site(site, sha256="0" * 64))
    status = failed(world, "photos")
    assert status["failure"]["reason"] == "InvalidData"
    assert site.sha256 in status["failure"]["message"]
    assert status["attempts"] == 1


@pytest.mark.slow
def test_user_and_password_open_an_archive_and_a_wrong_one_does_not(
    world: World, site: Site
) -> None:
    site.authorization = "Basic bWU6cGFzcw=="  # me:pass
    for password, phase in (("word", "Failed"), ("pass", "Complete")):
        apply_secret(world, "login", {"TOKEN": "", "USERNAME": "me", "PASSWORD": password})
        job = from_site(site)
        job["metadata"]["name"] = phase.lower()
        world.apply(job)
        world.wait_for_phase(phase, phase.lower(), seconds=120)
    status = world.status("failed")
    assert status["failure"]["reason"] == "PermissionDenied"
    assert "dataset.source.secretRef" in status["failure"]["hint"]
    assert status["attempts"] == 1


@pytest.mark.slow
def test_a_certificate_of_an_unknown_authority_is_told(world: World, site: Site) -> None:
    job = from_site(site)
    del job["spec"]["trainer"]["env"]
    world.apply(job)
    status = failed(world, "photos")
    assert status["failure"]["reason"] == "InvalidSpec"
    assert "SSL_CERT_FILE" in status["failure"]["hint"]


@pytest.mark.slow
def test_a_connection_that_is_always_cut_is_tried_again_with_a_pause(
    world: World, site: Site
) -> None:
    site.cuts = [0] * 1000
    job = from_site(site, sha256=site.sha256)
    job["spec"]["backoffLimit"] = 1
    world.apply(job)
    status = failed(world, "photos", seconds=240)
    assert (status["attempts"], status["failures"]) == (2, 2)
    first, second = status["history"]
    assert first["reason"] == second["reason"] == "TemporaryFailure"
    assert _time(second["startTime"]) - _time(first["endTime"]) >= datetime.timedelta(seconds=10)
    assert len(site.requests) == 10


@pytest.mark.slow
@pytest.mark.parametrize(
    ("secret", "uri", "reason"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "s3://photos/flowers", "PermissionDenied"),
        ({}, "s3://nowhere/flowers", "InputNotFound"),
        ({}, "s3://photos/nothing", "InputNotFound"),
    ],
)
def test_what_cannot_work_is_told_and_not_tried_again(
    world: World, server: S3, secret: dict[str, str], uri: str, reason: str
) -> None:
    source = {"uri": uri, "secretRef": {"name": "bucket"}}
    output = {"uri": "pvc://models"}
    apply(world, server.secret(**secret), dataset={"source": source}, output=output)
    status = failed(world, "flowers")
    assert status["failure"]["reason"] == reason
    assert "dataset.source" in status["failure"]["message"]
    assert status["attempts"] == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    ("secret", "uri", "reason"),
    [
        ({"AWS_SECRET_ACCESS_KEY": "wrong"}, "s3://models", "PermissionDenied"),
        ({}, "s3://nowhere", "OutputNotWritable"),
    ],
)
def test_an_output_that_cannot_work_is_told_before_anything_is_fetched(
    world: World, server: S3, secret: dict[str, str], uri: str, reason: str
) -> None:
    output = {"uri": uri, "secretRef": {"name": "bucket"}}
    source = {"uri": "pvc://photos/small"}
    apply(world, server.secret(**secret), dataset={"source": source}, output=output)
    status = failed(world, "flowers")
    assert status["failure"]["reason"] == reason
    assert "output" in status["failure"]["message"]
    assert "dataset" not in status
    assert status["attempts"] == 1


@pytest.mark.slow
def test_a_second_job_over_the_same_bucket_skips_to_its_training(world: World, server: S3) -> None:
    for name in ("first", "second"):
        apply(world, server.secret(), name=name)
        world.wait_for_phase("Complete", name, seconds=120)
    log = world.kubectl("logs", "job/second-1", "--timestamps").stdout
    assert "found packed in the workspace" in log
    assert "reading class folders" not in log
    begun, fit = (_time(_line(log, text)) for text in ("stage fetch", "recipe features.*"))
    print(f"\ntraining starts {(fit - begun).total_seconds():.1f} s after the trainer")


def _line(log: str, text: str) -> str:
    found = re.search(rf"^(\S+) .*{text}$", log, re.MULTILINE)
    assert found, f"{text} is not in the log"
    return found[1]


def _time(text: str) -> datetime.datetime:
    return datetime.datetime.fromisoformat(text[:26].rstrip("Z") + "+00:00")
