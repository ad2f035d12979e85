import base64
import dataclasses
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.fetch import fetch
from finetune_trainer.run.files import read_json
from finetune_trainer.run.handoff import FETCHED, Fetched
from finetune_trainer.storage import web_source
from finetune_trainer.storage.web_source import Server, authorization

from tests.servers import web
from tests.servers.web import Site
from tests.trainer.support.datasets import Prepared, make_photos, make_run, make_tar


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    make_photos(tmp_path / "photos", {"cat": 3, "dog": 3})
    content = make_tar(tmp_path / "photos.tar.gz", tmp_path / "photos").read_bytes()
    with web.serve(content) as site:
        yield site


@pytest.fixture
def other_site(site: Site) -> Iterator[Site]:
    with web.serve(site.content) as other:
        yield other


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    return web.make_certificate(tmp_path / "certificate.pem")


@pytest.fixture
def secure_site(site: Site, certificate: Path) -> Iterator[Site]:
    with web.serve(site.content, certificate=certificate) as secure:
        yield secure


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_source, "PAUSES_SECONDS", (0.01, 0.01, 0.01))
    monkeypatch.setenv("no_proxy", "127.0.0.1")


def run_of(workspace: Path, site: Site, **source: str) -> Prepared:
    return make_run(workspace, source={"uri": site.url, "sha256": site.sha256, **source})


def fetched(workspace: Path, site: Site, **source: str) -> Path:
    prepared = run_of(workspace, site, **source)
    fetch(prepared.run)
    return Path(read_json(prepared.run.paths.job / FETCHED, Fetched).train)


def fail(workspace: Path, site: Site, **source: str) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        fetched(workspace, site, **source)
    return caught.value


def test_an_archive_is_downloaded_checked_and_unpacked(tmp_path: Path, site: Site) -> None:
    train = fetched(tmp_path, site)
    assert sorted(path.relative_to(train).as_posix() for path in train.rglob("*.jpg")) == [
        f"{name}/{number}.jpg" for name in ("cat", "dog") for number in range(3)
    ]
    assert train.is_relative_to(tmp_path / "fetched")
    assert not list((tmp_path / "fetched").glob(".*"))


def test_the_next_attempt_needs_no_network(tmp_path: Path, site: Site) -> None:
    fetched(tmp_path, site)
    count = len(site.requests)
    fetched(tmp_path, site)
    assert len(site.requests) == count


def test_a_bad_checksum_is_refused_with_the_digest_that_was_found(
    tmp_path: Path, site: Site
) -> None:
    error = fail(tmp_path, site, sha256="0" * 64)
    assert error.code == ExitCode.InvalidData
    assert site.sha256 in error.message


def test_a_missing_file_is_not_tried_again(tmp_path: Path, site: Site) -> None:
    error = fail(tmp_path, site, uri=site.url.replace("photos", "fotos"))
    assert error.code == ExitCode.InputNotFound
    assert "the server answers 404" in error.message
    assert len(site.requests) == 1


@pytest.mark.parametrize("sent", [None, "wrong"])
def test_a_server_that_wants_credentials_is_named_with_the_remedy(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch, sent: str | None
) -> None:
    site.authorization = "Bearer right"
    if sent:
        monkeypatch.setenv("DATASET_TOKEN", sent)
    error = fail(tmp_path, site)
    assert error.code == ExitCode.PermissionDenied
    assert ("403" if sent else "401; no credentials").split(";")[0] in error.message
    assert "dataset.source.secretRef" in error.hint
    assert ("credentials must be valid" in error.hint) == bool(sent)
    assert "wrong" not in error.message


def test_a_token_of_the_secret_is_sent(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.authorization = "Bearer right"
    monkeypatch.setenv("DATASET_TOKEN", "right\n")
    monkeypatch.setenv("VALIDATION_TOKEN", "other")
    assert fetched(tmp_path, site).is_dir()


def test_user_and_password_are_sent_for_the_validation_source(
    tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.authorization = "Basic " + base64.b64encode(b"me:secret").decode()
    monkeypatch.setenv("VALIDATION_USERNAME", "me")
    monkeypatch.setenv("VALIDATION_PASSWORD", "secret")
    prepared = make_run(
        tmp_path,
        source={"uri": f"file://{tmp_path}/photos"},
        validationSource={"uri": site.url, "sha256": site.sha256},
    )
    fetch(prepared.run)
    assert read_json(prepared.run.paths.job / FETCHED, Fetched).validation


@pytest.mark.parametrize("token", ["first\nsecond", "first\N{RIGHT SINGLE QUOTATION MARK}second"])
def test_an_invalid_token_is_refused_and_not_shown(
    token: str, tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASET_TOKEN", token)
    error = fail(tmp_path, site)
    assert error.code == ExitCode.InvalidSpec
    assert "dataset.source.secretRef: TOKEN has a line break" in error.message
    assert token[-6:] not in error.message + error.hint


def test_no_credentials_no_header() -> None:
    assert authorization("DATASET_", {"VALIDATION_TOKEN": "x"}, field="dataset.source") is None


def test_a_redirect_does_not_carry_the_token_to_another_server(
    tmp_path: Path, site: Site, other_site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DATASET_TOKEN", "right")
    site.redirect = other_site.url
    assert fetched(tmp_path, site).is_dir()
    assert site.requests[0]["Authorization"] == "Bearer right"
    assert all("Authorization" not in request for request in other_site.requests)


@pytest.mark.parametrize("code", [429, 500, 503])
def test_a_passing_failure_is_tried_again(tmp_path: Path, site: Site, code: int) -> None:
    site.answers = [code, code]
    assert fetched(tmp_path, site).is_dir()


def test_a_failure_that_persists_is_temporary_for_the_operator(tmp_path: Path, site: Site) -> None:
    site.answers = [503] * 20
    error = fail(tmp_path, site)
    assert error.code == ExitCode.TemporaryFailure
    assert "503" in error.message
    assert len(site.requests) == 4


def test_an_unreachable_server_is_a_temporary_failure(tmp_path: Path, site: Site) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        uri = f"http://127.0.0.1:{unused.getsockname()[1]}/photos.tar.gz"
    error = fail(tmp_path, site, uri=uri)
    assert error.code == ExitCode.TemporaryFailure
    assert "refused" in error.message


def test_a_cut_download_resumes_where_it_ended(tmp_path: Path, site: Site) -> None:
    site.cuts = [300] * 8
    assert fetched(tmp_path, site).is_dir()
    offsets = [request.get("Range") for request in site.requests]
    assert offsets == [None, *(f"bytes={300 * n}-" for n in range(1, 9))]


def test_without_ranges_a_cut_download_starts_over(tmp_path: Path, site: Site) -> None:
    site.ranges, site.cuts = False, [300, 200]
    assert fetched(tmp_path, site).is_dir()


def test_a_file_that_changes_during_the_download_is_not_mixed(tmp_path: Path, site: Site) -> None:
    site.cuts = [300]
    replaced = Site(site.url, b"x" * len(site.content), cuts=[300], etag='"v0"')
    target = tmp_path / "download"
    server = Server(site.url, field="dataset.source")
    server._validator = replaced.etag
    target.write_bytes(replaced.content[:300])
    server.download(target, run=run_of(tmp_path, site).run)
    assert target.read_bytes() == site.content


def test_the_progress_is_reported(tmp_path: Path, site: Site) -> None:
    prepared = run_of(tmp_path, site)
    fetch(prepared.run)
    assert prepared.reports[-1]["fraction"] == 1.0
    assert prepared.reports[-1]["note"].startswith("downloaded ")


def test_plain_http_needs_a_digest(tmp_path: Path, site: Site) -> None:
    with pytest.raises(TrainerError, match="anyone on the way") as caught:
        fetch(make_run(tmp_path, source={"uri": site.url}).run)
    assert caught.value.code == ExitCode.InvalidSpec


def test_https_needs_no_digest(
    tmp_path: Path, secure_site: Site, certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    prepared = make_run(tmp_path, source={"uri": secure_site.url})
    fetch(prepared.run)
    fetch(prepared.run)  # asks for the version only
    assert len(secure_site.requests) == 3


def test_an_untrusted_certificate_is_named_and_not_tried_again(
    tmp_path: Path, secure_site: Site
) -> None:
    error = fail(tmp_path, secure_site)
    assert error.code == ExitCode.InvalidSpec
    assert "certificate is not trusted: self" in error.message
    assert "SSL_CERT_FILE" in error.hint


def test_https_does_not_follow_to_http(
    tmp_path: Path,
    site: Site,
    secure_site: Site,
    certificate: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
    secure_site.redirect = site.url
    assert "redirects to http://" in fail(tmp_path, secure_site).message
    assert site.requests == []


def test_credentials_in_the_uri_are_refused_without_showing_them(
    tmp_path: Path, site: Site
) -> None:
    error = fail(tmp_path, site, uri="https://me:secret@host/photos.tar")
    assert error.code == ExitCode.InvalidSpec
    assert "secret@" not in error.message


def test_a_signed_query_is_not_shown(tmp_path: Path, site: Site) -> None:
    error = fail(tmp_path, site, uri=site.url.replace("photos", "fotos") + "?signature=secret")
    assert "signature" not in error.message


def test_without_a_digest_the_servers_version_decides(tmp_path: Path, site: Site) -> None:
    server = Server(site.url, field="dataset.source")
    first = server.version()
    site.etag = '"v2"'
    assert server.version() != first


def test_a_malicious_archive_leaves_nothing_in_the_workspace(tmp_path: Path, site: Site) -> None:
    os.symlink("/etc/passwd", tmp_path / "photos/cat/malicious.jpg")
    site.content = make_tar(tmp_path / "malicious.tar.gz", tmp_path / "photos").read_bytes()
    error = fail(tmp_path, site)
    assert error.code == ExitCode.InvalidData
    assert "photos/cat/malicious.jpg" in error.message
    assert not [path for path in (tmp_path / "fetched").iterdir() if path.suffix != ".lock"]


def test_an_address_with_spaces_and_letters_beyond_ascii_is_requested(
    site: Site, tmp_path: Path
) -> None:
    url = site.url.replace("photos.tar", "my bl\u00fcten.tar")
    error = fail(tmp_path, dataclasses.replace(site, url=url))
    assert error.code == ExitCode.InputNotFound


@pytest.mark.parametrize(
    "uri",
    ["https://host:port/photos.zip", "https://[host/photos.zip", "https://host..org/photos.zip"],
)
def test_an_invalid_address_is_the_users_to_correct(uri: str, tmp_path: Path) -> None:
    with pytest.raises(TrainerError, match=r"dataset\.source") as error:
        fetch(make_run(tmp_path, source={"uri": uri}).run)
    assert error.value.code == ExitCode.InvalidSpec
