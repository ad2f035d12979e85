"""Small data sets, drawn by seed, and the run of a stage over them."""

import contextlib
import dataclasses
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest
from finetune_trainer.contract import Dataset, DatasetStatus, ExitCode, Job, Model, TrainerError
from finetune_trainer.dataset.lock import File, Lock, read_lock
from finetune_trainer.dataset.stage import prepare
from finetune_trainer.fetch import fetch
from finetune_trainer.run import owner
from finetune_trainer.run.context import Paths, Run
from finetune_trainer.run.files import read_json
from finetune_trainer.run.handoff import PACKED, Packed
from finetune_trainer.run.reporter import Reporter
from PIL import Image

Pixels = np.ndarray[Any, np.dtype[np.uint8]]


def draw(seed: int, *, size: tuple[int, int] = (60, 40)) -> Image.Image:
    """Return a smooth picture that is different for each seed."""
    small = np.random.default_rng(seed).integers(0, 256, (4, 6, 3), dtype=np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def make_photos(root: Path, counts: dict[str, int], *, seed: int = 0) -> Path:
    """Write CLASS/N.jpg, each with other pixels."""
    for number, (name, count) in enumerate(counts.items()):
        (root / name).mkdir(parents=True)
        for index in range(count):
            draw(seed + 1000 * number + index).save(root / name / f"{index}.jpg", quality=95)
    return root


def make_hostile_photos(root: Path) -> Path:
    """Write two classes of 10 good photos, with damaged and unrelated files among them."""
    make_photos(root, {"cat": 10, "dog": 10})
    cat, dog = root / "cat", root / "dog"
    whole = (cat / "0.jpg").read_bytes()
    (cat / "truncated.jpg").write_bytes(whole[: len(whole) // 2])
    (cat / "text.jpg").write_text("This is not a photo.")
    (cat / "empty.jpg").touch()
    (cat / "notes.txt").write_text("taken in May")
    draw(1).save(dog / "still.gif")
    frames = [draw(seed) for seed in (2, 3, 4)]
    frames[0].save(dog / "moving.gif", save_all=True, append_images=frames[1:])
    draw(5).save(dog / "photo.webp", quality=95)
    transparent = draw(6).convert("RGBA")
    transparent.putalpha(Image.new("L", transparent.size, 100))
    transparent.save(dog / "transparent.png")
    draw(7).quantize(16).save(dog / "palette.png")
    exif = Image.Exif()
    exif[0x0112] = 6
    draw(8, size=(90, 40)).save(dog / "turned.jpg", exif=exif)
    (root / "bird").mkdir()
    make_photos(cat / "older", {"2019": 2})
    draw(9).save(root / "stray.jpg")
    (root / "readme.md").write_text("my photos")
    (root / "lost+found").mkdir()
    (root / ".cache").mkdir()
    return root


def make_tar(archive: Path, folder: Path) -> Path:
    """Pack a folder as users do: with the folder itself around everything."""
    with tarfile.open(archive, "w:gz") as tar:
        tar.add(folder, arcname=folder.name)
    return archive


def copy_with_other_times(source: Path, target: Path) -> Path:
    """Copy the files in the opposite order, so that neither order nor times are the same."""
    for path in sorted(source.rglob("*"), reverse=True):
        if path.is_file():
            (target / path.relative_to(source)).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target / path.relative_to(source))
    for path in source.rglob("*"):
        if path.is_dir():
            (target / path.relative_to(source)).mkdir(parents=True, exist_ok=True)
    return target


@contextlib.contextmanager
def as_ordinary_user() -> Iterator[None]:
    """Run as nobody if the tests run as root, who may read everything."""
    user = os.geteuid()
    if user == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(user)


@dataclasses.dataclass
class Prepared:
    """A run of `fetch` and `prepare`, and its results."""

    run: Run
    reports: list[dict[str, Any]]

    @property
    def packed(self) -> Packed:
        return read_json(self.run.paths.job / PACKED, Packed)

    @property
    def directory(self) -> Path:
        return Path(self.packed.directory)

    @property
    def lock(self) -> Lock:
        return read_lock(self.directory)

    @property
    def status(self) -> DatasetStatus:
        return self.packed.status

    def file(self, path: str) -> File:
        return next(file for file in self.lock.files if file.path == path)


def make_run(workspace: Path, *, threads: int = 2, uid: str = "uid-1", **dataset: Any) -> Prepared:
    """Return a run with `dataset` as the manifest has it; claims are folders of the workspace."""
    job = Job(
        name="flowers",
        namespace="team-a",
        uid=uid,
        attempt=1,
        pod_uid="pod-1",
        model=Model(name="efficientnet-lite0"),
        dataset=msgspec.convert(dataset, Dataset),
    )
    paths = Paths(
        workspace=workspace,
        claims=workspace / "claims",
        models=workspace / "models",
        job=workspace / "jobs" / uid,
    )
    owner.claim(paths.job, job.pod_uid)
    reports: list[dict[str, Any]] = []
    reporter = Reporter(lambda line: reports.append(json.loads(line)))
    return Prepared(Run(job=job, paths=paths, reporter=reporter, threads=threads), reports)


def prepare_photos(workspace: Path, photos: Path, **settings: Any) -> Prepared:
    """Run both stages over a folder."""
    prepared = make_run(workspace, source={"uri": f"file://{photos}"}, **settings)
    fetch(prepared.run)
    prepare(prepared.run)
    return prepared


def refusal(
    workspace: Path, photos: Path, *, code: ExitCode = ExitCode.InvalidData, **settings: Any
) -> TrainerError:
    """Return the error that both stages end with."""
    with pytest.raises(TrainerError) as caught:
        prepare_photos(workspace, photos, **settings)
    assert caught.value.code == code
    return caught.value


def prepare_together(workspace: Path, photos: Path, uid: str, barrier: Any, results: Any) -> None:
    """Start with the other processes; put the digest and the first word of each note."""
    barrier.wait()
    prepared = prepare_photos(workspace, photos, threads=1, uid=uid)
    notes = {report["note"].split()[0] for report in prepared.reports if report.get("note")}
    results.put((prepared.status.digest, sorted(notes)))
