"""`finetune-trainer workspace prune`, as the CronJob of deploy/ runs it."""

import json
import os
import shlex
import tempfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from finetune_trainer.cli import living
from finetune_trainer.cli.living import read_living
from finetune_trainer.cli.main import main
from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.run.files import write_json
from finetune_trainer.run.handoff import LOCAL

from tests.servers.web import Site, make_certificate, serve
from tests.trainer.run.test_prune import Workspace, age
from tests.trainer.support.datasets import as_ordinary_user

MANIFEST = Path("deploy/workspace-clean-up.yaml")
API = "/apis/finetune-operator.dev/v1alpha1"
PHASES = ("Pending", "Queued", "Starting", "Preparing", "Training", "Suspended")


def fine_tune_job(uid: str, *conditions: str, **status: Any) -> dict[str, Any]:
    """Return a FineTuneJob with these conditions that are True, as the API server has it."""
    found = [{"type": each, "status": "True"} for each in conditions]
    found.append({"type": "Failed" if "Complete" in conditions else "Complete", "status": "False"})
    return {"metadata": {"uid": uid}, "status": {**status, "conditions": found}}


def serve_jobs(*jobs: dict[str, Any], certificate: Path) -> Any:
    """Serve a list of FineTuneJobs by TLS, as the API server does."""
    body = json.dumps({"items": jobs}).encode()
    return serve(body, certificate=certificate, path=f"{API}/namespaces/team/finetunejobs")


@pytest.fixture
def account(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder with a ServiceAccount's token."""
    folder = tmp_path / "account"
    folder.mkdir()
    (folder / "namespace").write_text("team")
    (folder / "token").write_text("secret")
    make_certificate(folder / "ca.crt")
    monkeypatch.setattr(living, "ACCOUNT", folder)
    return folder


def environment_of(site: Site) -> dict[str, str]:
    host, port = site.url.split("/")[2].split(":")
    return {"KUBERNETES_SERVICE_HOST": host, "KUBERNETES_SERVICE_PORT": port}


def test_job_that_is_neither_complete_nor_failed_may_go_on(account: Path) -> None:
    waiting = [fine_tune_job(phase, phase=phase) for phase in PHASES]
    new = {"metadata": {"uid": "new"}}
    ended = [fine_tune_job("Complete", "Complete"), fine_tune_job("Failed", "Failed")]
    with serve_jobs(*waiting, new, *ended, certificate=account / "ca.crt") as site:
        found = read_living(environment_of(site))
    assert found
    assert found.namespace == "team"
    assert [uid for uid, finished in found.finished.items() if finished] == ["Complete", "Failed"]
    assert found.finished.keys() >= {*PHASES, "new"}
    (request,) = site.requests
    assert request["Authorization"] == "Bearer secret"


def test_outside_a_cluster_nobody_is_asked() -> None:
    assert read_living({}) is None


@pytest.mark.parametrize(
    ("code", "remedy"),
    [
        (403, "Give the pod's ServiceAccount a Role"),
        (404, "This cluster has no FineTuneJobs"),
        (500, "Run it again"),
    ],
)
def test_api_server_that_does_not_say_what_exists_ends_it_before_anything_is_removed(
    account: Path, code: int, remedy: str
) -> None:
    with serve_jobs(certificate=account / "ca.crt") as site:
        site.answers.append(code)
        with pytest.raises(TrainerError, match=f"answers {code} to a list") as refused:
            read_living(environment_of(site))
    assert refused.value.hint.startswith(f"Nothing was removed. {remedy}")


def test_api_server_that_is_away_ends_it_before_anything_is_removed(account: Path) -> None:
    with serve_jobs(certificate=account / "ca.crt") as site:
        environment = environment_of(site)
    with pytest.raises(TrainerError, match="cannot be listed") as refused:
        read_living(environment)
    assert refused.value.code == ExitCode.TemporaryFailure


def test_command_of_the_cron_job_removes_what_is_old_and_a_dry_run_only_says_so(
    tmp_path: Path,
    account: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    workspace = Workspace(tmp_path / "workspace")
    gone, waits = workspace.add_job("gone", days=40), workspace.add_job("waits", days=40)
    container = cron_job()["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"][0]
    command = [word.replace("/workspace", str(workspace.path)) for word in container["args"]]
    with serve_jobs(fine_tune_job("waits"), certificate=account / "ca.crt") as site:
        for name, value in environment_of(site).items():
            monkeypatch.setenv(name, value)
        assert main([*command, "--dry-run"]) == 0
        assert gone.is_dir()
        assert "would be removed: its FineTuneJob was deleted" in capsys.readouterr().out
        assert main(command) == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("jobs/gone" in line and "removed: its FineTuneJob" in line for line in lines)
    assert any("team/flowers" in line and "kept: its FineTuneJob exists" in line for line in lines)
    assert not gone.exists()
    assert waits.is_dir()


def test_directory_that_cannot_be_removed_is_named_and_keeps_no_other(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with tempfile.TemporaryDirectory() as name:  # that of a test is for its user alone
        workspace = Workspace(Path(name))
        stays, goes = (workspace.add_job(uid, days=40) for uid in ("a", "b"))
        for path in (stays, goes):
            write_json(path / LOCAL, {})
            age(path, 40)
        for path in (workspace.path, *workspace.path.rglob("*")):
            os.chown(path, 65534, 65534)
        os.chown(stays / "checkpoints", 0, 0)
        with as_ordinary_user():
            code = main(shlex.split(f"workspace prune --workspace {name} --older-than 30d"))
        assert code == ExitCode.PermissionDenied
        assert not goes.exists()
    printed = capsys.readouterr()
    assert "jobs/a (Permission denied)" in printed.err
    assert "cannot be removed: Permission denied" in printed.out


def cron_job() -> dict[str, Any]:
    documents = list(yaml.safe_load_all(MANIFEST.read_text()))
    return next(each for each in documents if each["kind"] == "CronJob")


def test_role_of_the_cron_job_lists_fine_tune_jobs_and_may_do_nothing_else() -> None:
    documents = {each["kind"]: each for each in yaml.safe_load_all(MANIFEST.read_text())}
    (rule,) = documents["Role"]["rules"]
    assert (rule["resources"], rule["verbs"]) == (["finetunejobs"], ["list"])
    pod = cron_job()["spec"]["jobTemplate"]["spec"]["template"]["spec"]
    assert pod["serviceAccountName"] == documents["ServiceAccount"]["metadata"]["name"]
    assert documents["RoleBinding"]["subjects"][0]["name"] == pod["serviceAccountName"]


@pytest.mark.parametrize("text", ["30", "0d", "30m", "-1d", "1.5d", ""])
def test_age_without_a_unit_or_below_an_hour_is_refused(
    text: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit, match="2"):
        main(["workspace", "prune", f"--workspace={tmp_path}", f"--older-than={text}"])
    assert "is no age such as 30d or 12h" in capsys.readouterr().err


def test_workspace_that_does_not_exist_is_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = shlex.split(f"workspace prune --workspace {tmp_path / 'no'} --older-than 30d")
    assert main(words) == ExitCode.InputNotFound
    assert f"{tmp_path / 'no'}{os.sep}".rstrip(os.sep) in capsys.readouterr().err
