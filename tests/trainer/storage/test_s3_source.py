"""The s3:// sources against a real S3 server on loopback."""

import hashlib
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
from finetune_trainer.storage.s3_source import is_plain

from tests.servers import s3
from tests.servers.s3 import S3, Cutter
from tests.trainer.support.datasets import Prepared, make_photos, make_run, make_tar

URI = "s3://photos/flowers"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[S3]:
    with s3.serve(tmp_path_factory.mktemp("buckets")) as server:
        yield server


@pytest.fixture
def photos(tmp_path: Path, server: S3, request: pytest.FixtureRequest) -> str:
    """Return the URI of a folder of 6 photos that is this test's alone."""
    directory = make_photos(tmp_path / "photos", {"rose": 3, "tulip": 3})
    uri = f"s3://photos/{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}"
    server.upload(directory, uri)
    return uri


@pytest.fixture(autouse=True)
def environment(server: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_source, "PAUSES_SECONDS", (0.01, 0.01, 0.01))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server.give(monkeypatch, "DATASET_")


def fetched(prepared: Prepared) -> Fetched:
    fetch(prepared.run)
    return read_json(prepared.run.paths.job / FETCHED, Fetched)


def fail(workspace: Path, uri: str, **source: str) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        fetch(make_run(workspace, source={"uri": uri, **source}).run)
    text = caught.value.message + caught.value.hint
    assert "dataset.source" in caught.value.message
    assert s3.SECRET not in text
    assert s3.KEY not in text
    return caught.value


def contents(directory: str | Path) -> dict[str, bytes]:
    root = Path(directory)
    return {str(p.relative_to(root)): p.read_bytes() for p in root.rglob("*") if p.is_file()}


def test_a_prefix_becomes_a_folder(tmp_path: Path, photos: str) -> None:
    prepared = make_run(tmp_path / "work", source={"uri": photos})
    found = fetched(prepared)
    assert contents(found.train) == contents(tmp_path / "photos")
    assert prepared.reports[-1]["fraction"] == 1.0
    assert prepared.reports[-1]["note"].startswith("downloaded 6 of 6 files")


def test_the_same_objects_have_the_same_version_and_times_in_another_workspace(
    tmp_path: Path, photos: str
) -> None:
    one, two = (
        fetched(make_run(tmp_path / name, source={"uri": photos})) for name in ("one", "two")
    )
    assert one.train_version == two.train_version
    times = [Path(found.train, "rose/0.jpg").stat().st_mtime_ns for found in (one, two)]
    assert times[0] == times[1]


def test_the_next_job_reads_the_listing_only(tmp_path: Path, photos: str) -> None:
    first = fetched(make_run(tmp_path / "work", source={"uri": photos}))
    Path(first.train, "mark").touch()
    second = fetched(make_run(tmp_path / "work", uid="uid-2", source={"uri": f"{photos}/"}))
    assert Path(second.train, "mark").exists()


def test_a_changed_object_is_another_version(tmp_path: Path, photos: str, server: S3) -> None:
    first = fetched(make_run(tmp_path / "work", source={"uri": photos}))
    server.upload(tmp_path / "photos/rose/0.jpg", f"{photos}/rose/1.jpg")
    second = fetched(make_run(tmp_path / "work", source={"uri": photos}))
    assert second.train_version != first.train_version
    rose = Path(second.train, "rose")
    assert (rose / "1.jpg").read_bytes() == (rose / "0.jpg").read_bytes()


def test_an_attempt_downloads_only_what_the_last_one_did_not(
    tmp_path: Path, photos: str, capfd: pytest.CaptureFixture[str]
) -> None:
    whole = Path(fetched(make_run(tmp_path / "work", source={"uri": photos})).train)
    os.rename(whole, whole.with_name(f".{whole.name}.part"))
    partial = whole.with_name(f".{whole.name}.part")
    (partial / "rose/0.jpg").unlink()
    os.truncate(partial / "rose/1.jpg", 0)  # as a crash of the node may leave it
    again = make_run(tmp_path / "work", source={"uri": photos})
    assert contents(fetched(again).train) == contents(tmp_path / "photos")
    assert "4 files are here already" in capfd.readouterr().out


def test_an_archive_is_downloaded_checked_and_unpacked(
    tmp_path: Path, photos: str, server: S3
) -> None:
    archive = make_tar(tmp_path / "flowers.tar.gz", tmp_path / "photos")
    server.upload(archive, f"{photos}.tar.gz")
    digest = hashlib.sha256(archive.read_bytes()).hexdigest()
    source = {"uri": f"{photos}.tar.gz", "sha256": digest}
    found = fetched(make_run(tmp_path / "work", source=source))
    assert contents(found.train) == contents(tmp_path / "photos")
    error = fail(tmp_path / "work", f"{photos}.tar.gz", sha256="0" * 64)
    assert error.code == ExitCode.InvalidData
    assert digest in error.message


def test_a_digest_of_a_prefix_is_refused(tmp_path: Path, photos: str) -> None:
    assert fail(tmp_path, photos, sha256="0" * 64).code == ExitCode.InvalidSpec


@pytest.mark.parametrize(
    "wrong", [{"AWS_ACCESS_KEY_ID": "nobody"}, {"AWS_SECRET_ACCESS_KEY": "wrong"}]
)
def test_a_wrong_key_is_a_matter_of_permissions(
    tmp_path: Path,
    photos: str,
    server: S3,
    monkeypatch: pytest.MonkeyPatch,
    wrong: dict[str, str],
) -> None:
    server.give(monkeypatch, "DATASET_", **wrong)
    error = fail(tmp_path, photos)
    assert error.code == ExitCode.PermissionDenied
    assert "the credentials of the Secret were sent" in error.message
    assert "dataset.source.secretRef" in error.hint


def test_a_missing_key_is_reported(
    tmp_path: Path, photos: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("DATASET_AWS_ACCESS_KEY_ID")
    error = fail(tmp_path, photos)
    assert error.code == ExitCode.PermissionDenied
    assert "no credentials were sent" in error.message


def test_a_missing_bucket_is_named(tmp_path: Path) -> None:
    error = fail(tmp_path, "s3://nowhere/flowers")
    assert error.code == ExitCode.InputNotFound
    assert "s3://nowhere: there is no such bucket" in error.message


def test_a_missing_prefix_is_named(tmp_path: Path, photos: str) -> None:
    error = fail(tmp_path, f"{photos}/none")
    assert error.code == ExitCode.InputNotFound
    assert f"nothing at {photos}/none" in error.message


def test_a_prefix_ends_at_a_slash(tmp_path: Path, photos: str) -> None:
    assert fail(tmp_path, photos[:-1]).code == ExitCode.InputNotFound


def test_an_unreachable_server_is_a_temporary_failure(
    tmp_path: Path, server: S3, monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{unused.getsockname()[1]}"
    server.give(monkeypatch, "DATASET_", AWS_ENDPOINT_URL=url)
    error = fail(tmp_path, URI)
    assert error.code == ExitCode.TemporaryFailure
    assert url in error.message


@pytest.mark.parametrize("url", ["s3.example.com", "http://"])
def test_an_invalid_endpoint_is_the_users_to_correct(
    tmp_path: Path, server: S3, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    server.give(monkeypatch, "DATASET_", AWS_ENDPOINT_URL=url)
    error = fail(tmp_path, URI)
    assert error.code == ExitCode.InvalidSpec
    assert "AWS_ENDPOINT_URL" in error.hint


@pytest.fixture
def cutter(server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cutter]:
    with s3.cutting(server) as cutter:
        cutter.endpoint.give(monkeypatch, "DATASET_")
        yield cutter


def test_a_cut_download_resumes_where_it_ended(
    tmp_path: Path, server: S3, cutter: Cutter, capfd: pytest.CaptureFixture[str]
) -> None:
    make_photos(tmp_path / "big", {"rose": 1})
    (tmp_path / "big/rose/0.jpg").write_bytes(os.urandom(3 << 20))
    server.upload(tmp_path / "big", "s3://photos/cut")
    cutter.cuts = [9000] * 6
    found = fetched(make_run(tmp_path / "work", source={"uri": "s3://photos/cut"}))
    assert contents(found.train) == contents(tmp_path / "big")
    assert cutter.cuts == []
    assert capfd.readouterr().out.count("trying again") == 6


def test_a_connection_that_is_always_cut_is_temporary(
    tmp_path: Path, photos: str, cutter: Cutter
) -> None:
    cutter.cuts = [0] * 200
    assert fail(tmp_path, photos).code == ExitCode.TemporaryFailure


def test_a_key_that_leaves_the_folder_is_no_path() -> None:
    for path in ("../evil.jpg", "a/../../evil.jpg", "/etc/evil.jpg", "a//b.jpg", "a/./b.jpg"):
        assert not is_plain(path)
    assert is_plain("rose/my photo (1).jpg")
