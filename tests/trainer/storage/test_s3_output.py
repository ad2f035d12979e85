"""Models written to a real S3 server on loopback: whole or absent, checked before any work."""

import hashlib
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.export.stage import export
from finetune_trainer.export.tensorboard import EVENTS
from finetune_trainer.run import owner
from finetune_trainer.run.context import Run
from finetune_trainer.run.files import read_json
from finetune_trainer.run.handoff import EXPORTED, Exported
from finetune_trainer.storage import web_source
from finetune_trainer.storage.outputs import check_output

from tests.servers import answers, s3
from tests.servers.s3 import S3, Cutter
from tests.trainer.export.test_stage import FILES, fitted_run
from tests.trainer.export.test_tensorboard import curves, wanting_events

LARGE = 12 << 20
"""Bytes of a model that is sent in parts."""


@pytest.fixture(scope="module")
def buckets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder that the servers' buckets are in."""
    return tmp_path_factory.mktemp("buckets")


@pytest.fixture(scope="module")
def server(buckets: Path) -> Iterator[S3]:
    with s3.serve(buckets) as server:
        server.client().mkdir("models")
        yield server


@pytest.fixture(autouse=True)
def environment(server: S3, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(web_source, "PAUSES_SECONDS", (0.01, 0.01, 0.01))
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    server.give(monkeypatch, "OUTPUT_")


@pytest.fixture
def cutter(server: S3, monkeypatch: pytest.MonkeyPatch) -> Iterator[Cutter]:
    with s3.cutting(server) as cutter:
        cutter.endpoint.give(monkeypatch, "OUTPUT_")
        yield cutter


@pytest.fixture
def uri(request: pytest.FixtureRequest) -> str:
    """Return the URI of a folder that is this test's alone."""
    return f"s3://models/{hashlib.sha256(request.node.name.encode()).hexdigest()[:12]}"


def replace(run: Run, *, size: int = LARGE) -> bytes:
    """Give the run another model; return it."""
    content = os.urandom(size)
    (run.paths.job / "best/model.params").write_bytes(content)
    return content


def listen(run: Run) -> list[Any]:
    """Return what the run will report."""
    lines: list[Any] = []
    run.reporter._send = lambda line: lines.append(json.loads(line))
    return lines


def fail(run: Run) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        check_output(run)
    text = caught.value.message + caught.value.hint
    assert caught.value.message.startswith("output: s3://")
    assert s3.SECRET not in text
    assert s3.KEY not in text
    return caught.value


def check_whole(model: dict[str, bytes]) -> Any:
    """Check a model's files against its manifest, and return that."""
    manifest = json.loads(model["manifest.json"])
    digests = {name: hashlib.sha256(content).hexdigest() for name, content in model.items()}
    del digests["manifest.json"]
    assert digests == manifest["files"]
    assert digests.keys() >= FILES
    return manifest


def test_a_bucket_gets_the_same_files_as_a_claim(tmp_path: Path, server: S3, uri: str) -> None:
    run = fitted_run(tmp_path, output=f"{uri}/")
    export(run)
    found = server.contents(f"{uri}/flowers")
    latest = json.loads(found.pop("latest.json"))
    manifest = check_whole({key.removeprefix("uid-1/"): found[key] for key in found})
    assert latest == {"uid": "uid-1", "digest": manifest["digest"], "accuracy": 0.8333}
    status = read_json(run.paths.job / EXPORTED, Exported).status
    assert status is not None
    assert (status.uri, status.digest) == (f"{uri}/flowers/uid-1", manifest["digest"])
    assert not (run.paths.job / ".export.tmp").exists()


def test_a_bucket_gets_the_event_file_that_the_job_wants(
    tmp_path: Path, server: S3, uri: str
) -> None:
    export(wanting_events(tmp_path, uri))
    model = server.contents(f"{uri}/flowers/uid-1")
    check_whole(model)
    (tmp_path / EVENTS).write_bytes(model[EVENTS])
    assert [step for _, step, _ in curves(tmp_path)["loss/train"]] == [1, 2, 3]


def test_a_bucket_without_a_prefix_has_the_names_on_top(tmp_path: Path, server: S3) -> None:
    server.client().mkdir("top")
    run = fitted_run(tmp_path, output="s3://top")
    export(run)
    check_whole(server.contents("s3://top/flowers/uid-1"))


def test_the_check_leaves_nothing(tmp_path: Path, server: S3, buckets: Path) -> None:
    server.client().mkdir("clean")
    run = fitted_run(tmp_path, output="s3://clean/models")
    check_output(run)
    assert [path for path in (buckets / "clean").rglob("*") if path.is_file()] == []
    client = server.client()
    assert client.call_s3("list_multipart_uploads", Bucket="clean").get("Uploads", []) == []


def test_only_the_cut_parts_of_a_large_model_are_sent_again(
    tmp_path: Path, server: S3, cutter: Cutter, uri: str, capfd: pytest.CaptureFixture[str]
) -> None:
    run = fitted_run(tmp_path, output=uri)
    content = replace(run)
    lines = listen(run)
    cutter.upload_cuts = [9000] * 6
    export(run)
    sizes = dict.fromkeys(line["note"] for line in lines)
    assert list(sizes) == [f"uploaded {mebibytes} of 12 MiB" for mebibytes in (0, 8, 12)]
    assert len({line["fraction"] for line in lines}) == len(lines)
    assert lines[-1]["fraction"] == 1.0
    assert cutter.upload_cuts == []
    assert "trying again" in capfd.readouterr().out
    model = server.contents(f"{uri}/flowers/uid-1")
    assert model["model-0000.params"] == content
    check_whole(model)


def test_a_model_that_is_replaced_is_absent_until_the_new_one_is_whole(
    tmp_path: Path, server: S3, cutter: Cutter, uri: str
) -> None:
    run = fitted_run(tmp_path, output=uri)
    export(run)
    latest = server.contents(f"{uri}/flowers")["latest.json"]
    replace(run, size=100_000)
    cutter.upload_cuts = [9000] * 200
    with pytest.raises(TrainerError) as caught:
        export(run)
    assert caught.value.code == ExitCode.TemporaryFailure
    found = server.contents(f"{uri}/flowers")
    assert "uid-1/manifest.json" not in found
    assert found["latest.json"] == latest
    cutter.upload_cuts.clear()
    export(run)
    manifest = check_whole(server.contents(f"{uri}/flowers/uid-1"))
    latest = server.contents(f"{uri}/flowers")["latest.json"]
    assert json.loads(latest)["digest"] == manifest["digest"]


def test_a_run_taken_over_during_the_upload_leaves_no_model(
    tmp_path: Path, server: S3, uri: str
) -> None:
    run = fitted_run(tmp_path, output=uri)
    replace(run)

    def take_over(line: bytes) -> None:
        if b"uploaded 8" in line:
            owner.claim(run.paths.job, "pod-2")

    run.reporter._send = take_over
    with pytest.raises(TrainerError, match="pod-2"):
        export(run)
    found = server.contents(f"{uri}/flowers/uid-1")
    assert "model-0000.params" not in found
    assert "manifest.json" not in found
    client = server.client()
    assert client.call_s3("list_multipart_uploads", Bucket="models").get("Uploads", []) == []


def test_a_missing_bucket_is_reported_before_any_work(tmp_path: Path) -> None:
    error = fail(fitted_run(tmp_path, output="s3://nowhere/models"))
    assert error.code == ExitCode.OutputNotWritable
    assert "s3://nowhere: there is no such bucket" in error.message


@pytest.mark.parametrize(
    "wrong",
    [
        {"AWS_ACCESS_KEY_ID": "nobody"},
        {"AWS_SECRET_ACCESS_KEY": "wrong"},
        {"AWS_ACCESS_KEY_ID": ""},
    ],
)
def test_a_wrong_key_or_none_is_a_matter_of_permissions(
    tmp_path: Path,
    uri: str,
    server: S3,
    monkeypatch: pytest.MonkeyPatch,
    wrong: dict[str, str],
) -> None:
    server.give(monkeypatch, "OUTPUT_", **wrong)
    error = fail(fitted_run(tmp_path, output=uri))
    assert error.code == ExitCode.PermissionDenied
    assert "output.secretRef" in error.hint


def test_a_read_only_bucket_is_reported_before_any_work(
    tmp_path: Path, uri: str, buckets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with s3.serve(buckets, read_only=True) as reader:
        reader.give(monkeypatch, "OUTPUT_")
        error = fail(fitted_run(tmp_path, output=uri))
    assert error.code == ExitCode.PermissionDenied
    assert "list, write and delete" in error.hint


@pytest.mark.parametrize(
    ("status", "answer", "code"),
    [
        (403, "QuotaExceeded", ExitCode.InputOutputError),
        (507, "XMinioStorageFull", ExitCode.InputOutputError),
        (400, "RequestTimeout", ExitCode.TemporaryFailure),
        (503, "SlowDown", ExitCode.TemporaryFailure),
        (404, "NoSuchUpload", ExitCode.TemporaryFailure),
        (400, "KeyTooLongError", ExitCode.InvalidSpec),
    ],
)
def test_the_servers_code_decides_if_it_is_tried_again(
    tmp_path: Path,
    uri: str,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    answer: str,
    code: ExitCode,
) -> None:
    with answers.serve(status, answer) as server:
        server.give(monkeypatch, "OUTPUT_")
        error = fail(fitted_run(tmp_path, output=uri))
    assert error.code == code
    assert error.hint
