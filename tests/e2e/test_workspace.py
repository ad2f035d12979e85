"""The clean-up of a workspace, as deploy/workspace-clean-up.yaml installs it."""

import os
from pathlib import Path

from tests.demo.clusters import Cluster
from tests.e2e.conftest import directory_of, sample
from tests.support.world import World

MANIFEST = Path("deploy/workspace-clean-up.yaml")
IMAGE = "ghcr.io/finetune-operator/trainer:0.1.0"


def trained(world: World, name: str) -> str:
    """Train on a few photos; return the uid of the FineTuneJob."""
    job = sample("finetunejob", dataset={"source": {"uri": "pvc://photos/small"}})
    job["metadata"]["name"] = name
    uid: str = world.apply(job)["metadata"]["uid"]
    world.wait_for_phase("Complete", name, seconds=120)
    return uid


def test_cron_job_removes_what_a_deleted_job_left_and_nothing_of_one_that_exists(
    world: World, cluster: Cluster
) -> None:
    kept, left = trained(world, "kept"), trained(world, "left")
    world.delete("left")
    world.wait("the deletion", lambda: len(world.items("finetunejobs")) == 1)
    jobs = directory_of(world, "workspace") / "jobs"
    for path in jobs.rglob("*"):
        os.utime(path, (0, 0), follow_symlinks=False)
    text = MANIFEST.read_text()
    assert IMAGE in text
    world.kubectl("apply", "-f", "-", text=text.replace(IMAGE, cluster.trainer))
    world.kubectl("create", "job", "clean-up", "--from=cronjob/workspace-clean-up")
    ended = world.kubectl("wait", "job/clean-up", "--for=condition=Complete", "--timeout=90s")
    log = world.kubectl("logs", "job/clean-up").stdout
    world.kubectl("delete", "-f", str(MANIFEST))
    world.kubectl("delete", "job", "clean-up")
    assert ended.returncode == 0, log
    assert "kept: its FineTuneJob exists" in log
    assert "removed: its FineTuneJob was deleted" in log
    assert (jobs / kept / "result.json").exists()
    assert not (jobs / left).exists()
