import os
import re
import tempfile
import zipfile
from pathlib import Path

import pytest
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.contract.values import ARCHIVE, BUCKET, CLAIM
from finetune_trainer.fetch import fetch
from finetune_trainer.run.files import read_json, sha256_of
from finetune_trainer.run.handoff import FETCHED, Fetched
from finetune_trainer.storage.sources import SOURCES

from tests.trainer.support.archives import zip_of
from tests.trainer.support.datasets import (
    Prepared,
    as_ordinary_user,
    make_photos,
    make_run,
    make_tar,
)


def fetched(prepared: Prepared) -> Fetched:
    fetch(prepared.run)
    return read_json(prepared.run.paths.job / FETCHED, Fetched)


def fail(workspace: Path, uri: str, **source: str) -> TrainerError:
    with pytest.raises(TrainerError) as caught:
        fetch(make_run(workspace, source={"uri": uri, **source}).run)
    return caught.value


def test_a_claim_is_used_where_it_is_mounted(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "claims/photos/flowers", {"rose": 1})
    found = fetched(make_run(tmp_path, source={"uri": "pvc://photos/flowers"}))
    assert found == Fetched(train=str(photos))


def test_the_root_of_a_claim_can_be_the_data_set(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "claims/photos", {"rose": 1})
    assert fetched(make_run(tmp_path, source={"uri": "pvc://photos"})).train == str(photos)


def test_the_validation_source_is_found_too(tmp_path: Path) -> None:
    make_photos(tmp_path / "claims/photos/train", {"rose": 1})
    validation = make_photos(tmp_path / "held-out", {"rose": 1})
    run = make_run(
        tmp_path,
        source={"uri": "pvc://photos/train"},
        validationSource={"uri": f"file://{validation}"},
    )
    assert fetched(run).validation == str(validation)


def test_a_claim_that_is_not_mounted_is_named_with_those_that_are(tmp_path: Path) -> None:
    (tmp_path / "claims/models").mkdir(parents=True)
    error = fail(tmp_path, "pvc://photos/flowers")
    assert error.code == ExitCode.InputNotFound
    assert error.message.startswith("dataset.source.uri pvc://photos/flowers: the volume claim")
    assert "mounted here: models" in error.hint


def test_a_missing_folder_is_named_with_what_is_there(tmp_path: Path) -> None:
    for name in ("flower", "trees"):
        (tmp_path / "claims/photos" / name).mkdir(parents=True)
    error = fail(tmp_path, "pvc://photos/flowers/2024")
    assert error.code == ExitCode.InputNotFound
    assert "there is no 'flowers' in" in error.message
    assert error.hint == "Found there: flower, trees."


def test_the_error_of_a_validation_source_names_its_field(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"rose": 1})
    run = make_run(
        tmp_path,
        source={"uri": f"file://{photos}"},
        validationSource={"uri": "file:///nowhere/at/all"},
    )
    with pytest.raises(TrainerError, match=r"^dataset\.validationSource\.uri .*'nowhere' in /"):
        fetch(run.run)


@pytest.mark.parametrize("uri", ["pvc://photos/../secrets", "file:///photos/../etc"])
def test_a_path_that_climbs_is_refused(tmp_path: Path, uri: str) -> None:
    assert fail(tmp_path, uri).code == ExitCode.InvalidSpec


@pytest.mark.parametrize("uri", ["nonsense://host/photos.tar", "photos", "gs://bucket/photos"])
def test_an_unknown_scheme_is_refused_with_those_that_work(tmp_path: Path, uri: str) -> None:
    error = fail(tmp_path, uri)
    assert error.code == ExitCode.InvalidSpec
    assert "pvc://CLAIM/PATH" in error.hint


def test_the_api_server_admits_every_scheme_of_the_table() -> None:
    hosts = {"pvc": "photos", "file": "/photos", "s3": "bucket"}
    for scheme in SOURCES:
        uri = f"{scheme}://{hosts.get(scheme, 'host')}/photos.tar"
        assert re.fullmatch(f"{CLAIM}|{ARCHIVE}|{BUCKET}|file://.*", uri)


def test_a_folder_that_may_not_be_read_is_a_matter_of_permissions(tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory() as name:
        os.chmod(name, 0o755)
        photos = make_photos(Path(name, "photos"), {"rose": 1})
        photos.chmod(0)
        run = make_run(tmp_path, source={"uri": f"file://{photos}"}).run
        with as_ordinary_user(), pytest.raises(TrainerError) as caught:
            fetch(run)
    assert caught.value.code == ExitCode.PermissionDenied
    assert caught.value.message.endswith(f"may not read {photos}")


def test_an_archive_on_a_claim_is_unpacked_once(tmp_path: Path) -> None:
    make_photos(tmp_path / "flowers", {"rose": 2, "tulip": 2})
    (tmp_path / "claims/photos").mkdir(parents=True)
    archive = make_tar(tmp_path / "claims/photos/flowers.tgz", tmp_path / "flowers")
    uri = "pvc://photos/flowers.tgz"
    first = fetched(make_run(tmp_path, source={"uri": uri, "sha256": sha256_of(archive)}))
    assert sorted(os.listdir(first.train)) == ["rose", "tulip"]
    (Path(first.train) / "mark").touch()
    second = fetched(make_run(tmp_path, uid="uid-2", source={"uri": uri}))
    assert (Path(second.train) / "mark").exists()


def test_an_archive_that_was_replaced_is_unpacked_again(tmp_path: Path) -> None:
    archive = tmp_path / "photos.zip"
    for name in ("rose", "tulip"):
        with zipfile.ZipFile(archive, "w") as opened:
            opened.writestr(f"{name}/1.jpg", name)
        train = fetched(make_run(tmp_path, source={"uri": f"file://{archive}"})).train
        assert os.listdir(train) == [name]


def test_an_archive_with_another_digest_is_refused(tmp_path: Path) -> None:
    make_photos(tmp_path / "flowers", {"rose": 1})
    archive = make_tar(tmp_path / "flowers.tgz", tmp_path / "flowers")
    error = fail(tmp_path, f"file://{archive}", sha256="0" * 64)
    assert error.code == ExitCode.InvalidData
    assert f"has the sha256 {sha256_of(archive)}, not 000" in error.message


def test_a_digest_of_a_folder_is_refused(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"rose": 1})
    assert fail(tmp_path, f"file://{photos}", sha256="0" * 64).code == ExitCode.InvalidSpec


@pytest.mark.parametrize("name", ["my photos", "50% #1?", "bl\u00fcten"])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    photos = make_photos(tmp_path / name, {"rose": 1})
    assert fetched(make_run(tmp_path, source={"uri": photos.as_uri()})).train == str(photos)


def test_an_escaped_way_out_of_the_claim_is_refused(tmp_path: Path) -> None:
    (tmp_path / "claims/photos").mkdir(parents=True)
    assert fail(tmp_path, "pvc://photos/%2e%2e/secrets").code == ExitCode.InvalidSpec


def test_each_job_is_warned_of_names_in_the_archive(tmp_path: Path) -> None:
    archive = zip_of("cat/1.jpg", "\u72ac/1.jpg", encoding="cp932")(tmp_path)
    source = {"uri": f"file://{archive}"}
    for _ in range(2):  # the second job finds the archive unpacked
        run = make_run(tmp_path, source=source, validationSource=source)
        (warning, again) = fetched(run).warnings
        assert warning.startswith("dataset.source: file names in the archive may be wrong")
        assert again == warning
