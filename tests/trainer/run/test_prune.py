"""What a clean-up removes from a workspace, and what it must never remove."""

import dataclasses
import json
import os
import threading
import time
from pathlib import Path

import pytest
from finetune_trainer.contract.parse import parse_job
from finetune_trainer.run import owner, prune
from finetune_trainer.run.files import exclusive, mark_used, scratch_directory, write_json
from finetune_trainer.run.handoff import LOCAL, RECORD, RESULT
from finetune_trainer.run.prune import Living, survey

from tests.trainer.support.datasets import make_photos, make_tar, prepare_photos
from tests.trainer.support.pods import make_job

DAY = 86400.0
DIGEST, KEY = "d" * 64, "a" * 24


@dataclasses.dataclass(frozen=True)
class Workspace:
    """A workspace whose jobs and data are as old as a test wants them."""

    path: Path

    def add_job(
        self, uid: str, *, days: float, namespace: str = "team", result: bool = False
    ) -> Path:
        """Add the directory of a job that began, and last wrote, so many days ago."""
        job = parse_job(json.dumps(make_job(uid=uid, namespace=namespace)))
        directory = self.path / "jobs" / uid
        owner.claim(directory, job.pod_uid)
        owner.record(directory, job)
        (directory / "checkpoints/step-00000001").mkdir(parents=True)
        (directory / "checkpoints/step-00000001/model.params").write_bytes(b"weights")
        if result:
            write_json(directory / RESULT, {})
        return age(directory, days)

    def add_packed(self, *, days: float, digest: str = DIGEST, key: str = KEY) -> Path:
        """Add a packed data set that was last used so many days ago."""
        directory = self.path / "packed" / digest
        (directory / "features").mkdir(parents=True)
        (directory / "train.rec").write_bytes(b"records")
        (self.path / "packed/keys").mkdir(exist_ok=True)
        (self.path / "packed/keys" / key).write_text(digest)
        return age(directory, days)

    def add_fetched(self, name: str, *, days: float) -> Path:
        """Add downloaded data that was last used so many days ago."""
        directory = self.path / "fetched" / name
        directory.mkdir(parents=True)
        (directory / "photo.jpg").write_bytes(b"photo")
        return age(directory, days)

    def prune(self, living: Living | None, *, days: float = 30) -> dict[str, str]:
        """Remove what is older; return why each other directory stays, by its path."""
        before = time.time() - days * DAY
        return {
            str(entry.path.relative_to(self.path)): entry.reason
            for entry in survey(self.path, living=living, before=before)
            if not (entry.removable and prune.remove(entry, before=before))
        }


def age(directory: Path, days: float) -> Path:
    """Set all times back."""
    then = time.time() - days * DAY
    for path in (*directory.rglob("*"), directory):
        os.utime(path, (then, then))
    return directory


def jobs(**finished: bool) -> Living:
    return Living("team", finished)


@pytest.fixture
def workspace(tmp_path: Path) -> Workspace:
    return Workspace(tmp_path)


def test_what_a_deleted_job_left_goes_after_its_age(workspace: Workspace) -> None:
    old = workspace.add_job("gone", days=40)
    young = workspace.add_job("lately", days=20, result=True)
    packed, fetched = workspace.add_packed(days=40), workspace.add_fetched(KEY, days=40)
    kept = workspace.prune(jobs())
    assert kept == {"jobs/lately": "used lately"}
    assert young.is_dir()
    assert not any(path.exists() for path in (old, packed, fetched))
    assert not (workspace.path / "packed/keys" / KEY).exists()


def test_unfinished_job_keeps_its_checkpoints_and_its_data_however_long_it_waits(
    workspace: Workspace,
) -> None:
    waits = workspace.add_job("waits", days=400)
    packed, fetched = workspace.add_packed(days=400), workspace.add_fetched(KEY, days=399)
    kept = workspace.prune(jobs(waits=False))
    assert kept == {
        "jobs/waits": "its FineTuneJob exists",
        f"packed/{DIGEST}": "used since an unfinished job began",
        f"fetched/{KEY}": "used since an unfinished job began",
    }
    assert (waits / "checkpoints/step-00000001/model.params").read_bytes() == b"weights"
    assert (packed / "train.rec").exists()
    assert fetched.is_dir()


def test_finished_job_that_exists_keeps_its_result_and_not_its_data(workspace: Workspace) -> None:
    workspace.add_job("failed", days=400)
    workspace.add_job("complete", days=400, result=True)
    packed = workspace.add_packed(days=400)
    kept = workspace.prune(jobs(failed=True, complete=True))
    assert kept == dict.fromkeys(("jobs/complete", "jobs/failed"), "its FineTuneJob exists")
    assert not packed.exists()


def test_data_that_was_last_used_before_any_unfinished_job_began_goes(workspace: Workspace) -> None:
    workspace.add_job("waits", days=60)
    before = workspace.add_packed(days=61)
    since = workspace.add_packed(days=59, digest="e" * 64, key="b" * 24)
    workspace.prune(jobs(waits=False))
    assert not before.exists()
    assert since.exists()


@pytest.mark.parametrize(
    ("namespace", "living", "reason"),
    [
        ("other", jobs(), "its FineTuneJob is not of the namespace team"),
        ("team", None, "only in its cluster is it known if its FineTuneJob exists"),
    ],
)
def test_job_of_which_the_api_server_does_not_know_is_kept_with_its_data(
    workspace: Workspace, namespace: str, living: Living | None, reason: str
) -> None:
    workspace.add_job("unknown", days=400, namespace=namespace)
    workspace.add_packed(days=400)
    kept = workspace.prune(living)
    assert kept["jobs/unknown"] == reason
    assert f"packed/{DIGEST}" in kept


def test_directory_that_does_not_say_whose_it_is_keeps_everything(workspace: Workspace) -> None:
    (workspace.add_job("old", days=400) / RECORD).unlink()
    age(workspace.path / "jobs/old", 400)
    workspace.add_packed(days=500)
    assert len(workspace.prune(jobs())) == 2


def test_local_run_goes_by_its_age_alone(workspace: Workspace) -> None:
    for uid, days in (("old", 40.0), ("young", 20.0)):
        directory = workspace.add_job(uid, days=days)
        (directory / LOCAL).write_text("{}")
        age(directory, days)
    assert workspace.prune(None) == {"jobs/young": "used lately"}


@pytest.mark.parametrize(
    "name", [KEY, f".{KEY}.tmp", f"{KEY[:12]}-{KEY}", f".{KEY[:12]}-{KEY}.part"]
)
def test_data_that_a_job_holds_is_kept(workspace: Workspace, name: str) -> None:
    fetched = workspace.add_fetched(name, days=40)
    lock = name.removeprefix(".").partition("-")[0].partition(".")[0]
    with exclusive(fetched.parent / f"{lock}.lock", waiting=lambda seconds: None):
        assert f"fetched/{name}" in workspace.prune(jobs())
    assert workspace.prune(jobs()) == {}
    assert not fetched.exists()


def test_data_that_is_used_after_the_survey_is_kept(workspace: Workspace) -> None:
    packed = workspace.add_packed(days=40)
    before = time.time() - 30 * DAY
    (entry,) = survey(workspace.path, living=jobs(), before=before)
    mark_used(packed)
    assert entry.removable
    assert not prune.remove(entry, before=before)
    assert (workspace.path / "packed/keys" / KEY).exists()


@pytest.mark.parametrize("place", ["jobs/.gone.pruned", f"packed/.{DIGEST}.pruned"])
def test_what_a_killed_clean_up_left_is_removed(workspace: Workspace, place: str) -> None:
    (workspace.path / place / "checkpoints").mkdir(parents=True)
    assert workspace.prune(jobs(waits=False)) == {}
    assert not (workspace.path / place).exists()


def test_workspace_in_which_a_job_writes_can_be_surveyed(workspace: Workspace) -> None:
    running, packed = workspace.add_job("runs", days=0), workspace.path / "packed"
    ended = threading.Event()

    def write() -> None:
        while not ended.is_set():
            with (
                scratch_directory(packed / f".{KEY}.tmp") as scratch,
                scratch_directory(running / "checkpoints/.step-2") as step,
            ):
                (scratch / "records").touch()
                (step / "model.params").touch()

    thread = threading.Thread(target=write)
    thread.start()
    try:
        for _ in range(300):
            assert workspace.prune(jobs(runs=False))["jobs/runs"] == "its FineTuneJob exists"
    finally:
        ended.set()
        thread.join()


def test_what_is_not_of_the_trainer_is_left_alone(workspace: Workspace) -> None:
    for name in ("models/a", "packed/mine", "fetched/mine"):
        age(workspace.add_fetched(f"../{name}", days=400), 400)
    (workspace.path / "jobs").mkdir()
    (workspace.path / "jobs/link").symlink_to(workspace.path / "models")
    assert workspace.prune(jobs()) == {}
    assert all(
        (workspace.path / name).exists() for name in ("models/a", "packed/mine", "jobs/link")
    )


def test_each_use_of_a_packed_data_set_is_recorded_and_one_that_is_gone_is_packed_again(
    tmp_path: Path,
) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 10, "dog": 10})
    workspace = Workspace(tmp_path / "workspace")
    first = prepare_photos(workspace.path, photos)
    write_json(first.run.paths.job / RESULT, {})
    packed = age(first.directory, 40)
    prepare_photos(workspace.path, photos)
    assert f"packed/{packed.name}" in workspace.prune(jobs())
    age(packed, 40)
    workspace.prune(jobs())
    assert not packed.exists()
    assert prepare_photos(workspace.path, photos).directory == packed
    assert packed.is_dir()


def test_each_use_of_an_archive_is_recorded(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", {"cat": 10, "dog": 10})
    archive = make_tar(tmp_path / "photos.tar.gz", photos)
    workspace = Workspace(tmp_path / "workspace")
    first = prepare_photos(workspace.path, archive)
    write_json(first.run.paths.job / RESULT, {})
    (fetched,) = (path for path in (workspace.path / "fetched").iterdir() if path.is_dir())
    age(fetched, 40)
    prepare_photos(workspace.path, archive)
    assert f"fetched/{fetched.name}" in workspace.prune(jobs())
    age(fetched, 40)
    assert f"fetched/{fetched.name}" not in workspace.prune(jobs())
    assert {path.suffix for path in (workspace.path / "fetched").iterdir()} == {".lock"}
