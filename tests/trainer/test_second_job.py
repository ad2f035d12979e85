"""A second job over the same photos and settings goes to training at once."""

import os
import time
from pathlib import Path

from finetune_trainer.dataset.lock import read_lock

from tests.trainer.support.datasets import make_photos
from tests.trainer.support.pods import Pod, make_job, start_pod


def start(root: Path, name: str, *, network: str = "efficientnet-lite0", **environment: str) -> Pod:
    """Start a pod of a job of its own on the volumes that all share."""
    (root / name).mkdir()
    volumes = {
        "FINETUNE_WORKSPACE": str(root / "workspace"),
        "FINETUNE_CLAIMS": str(root / "claims"),
    }
    return start_pod(
        root / name, job=make_job(uid=name, model={"name": network}), **volumes, **environment
    )


def test_a_second_job_neither_reads_nor_packs_the_photos(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "claims/photos/flowers", {"rose": 10, "tulip": 10})
    assert start(tmp_path, "first", FINETUNE_ROLE="prepare").wait() == 0
    for path in photos.rglob("*.jpg"):
        state = path.stat()
        path.write_bytes(bytes(state.st_size))
        os.utime(path, ns=(state.st_atime_ns, state.st_mtime_ns))
    second = start(tmp_path, "second")
    second.wait_for("stage fetch")
    start_seconds = time.monotonic()
    second.wait_for("stage fit")
    print(f"\ntraining starts after {time.monotonic() - start_seconds:.1f} s")
    second.process.terminate()
    second.wait()
    lines = [line for line in second.log.splitlines() if "packed" in line or "stage" in line]
    assert [line.partition(":")[2].split()[0:2] for line in lines[:5]] == [
        ["stage", "fetch"],
        ["stage", "prepare"],
        ["found", "packed"],
        ["stage", "model"],
        ["stage", "fit"],
    ]
    assert "reading class folders" not in second.log


def test_a_pod_that_only_packs_stores_photos_in_the_size_of_the_network(tmp_path: Path) -> None:
    make_photos(tmp_path / "claims/photos/flowers", {"rose": 10, "tulip": 10})
    role = {"FINETUNE_ROLE": "prepare"}
    assert start(tmp_path, "first", network="efficientnet-lite2", **role).wait() == 0
    (packed,) = (path.parent for path in tmp_path.glob("workspace/packed/*/train.rec"))
    assert read_lock(packed).settings.resize_short == 297
