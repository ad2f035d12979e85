"""A laptop: a fresh copy of the checkout, its own home, and nothing of this project installed."""

import hashlib
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import yaml

from tests import demo_photos
from tests.cluster.programs import CACHE, lock
from tests.docs.pages import ROOT, Command
from tests.docs.shell import Shell, plain_environment

SAMPLE = "deploy/samples/finetunejob.yaml"


@dataclass(frozen=True)
class Laptop:
    """A user without a cluster."""

    shell: Shell

    @property
    def directory(self) -> Path:
        """Where the user works."""
        return self.shell.directory

    def run(self, command: Command) -> str:
        """Run a command of a page, with a real name for each placeholder; return what it prints."""
        return self.shell.run(re.sub(r"\b(MODEL_DIR|PATH)\b", self.model, command.text))

    @property
    def model(self) -> str:
        """The folder of the model that the README's commands have made; empty before."""
        found = sorted(self.directory.glob("models/photos/*/manifest.json"))
        return str(found[0].parent.relative_to(self.directory)) if found else ""


@contextmanager
def laptop() -> Iterator[Laptop]:
    """Give a laptop; the virtual environment in it is kept, but for the trainer.

    Its name has the hash of what says which packages there are. One of an earlier run saves the
    minute in which pip fetches them; the wheel of the trainer is built and installed each time.
    """
    digest = hashlib.sha256((ROOT / "trainer/pyproject.toml").read_bytes()).hexdigest()[:12]
    directory = CACHE / f"laptop-{digest}"
    with lock("laptop"):
        for other in {*CACHE.glob("laptop-*/")} - {directory}:
            shutil.rmtree(other)
        clean(directory)
        copy_checkout(directory)
        prepare(directory)
        yield Laptop(Shell(directory, environment_of(directory)))


def clean(directory: Path) -> None:
    """Remove all but a virtual environment that pip has finished."""
    has_more = any(directory.glob("venv/lib/*/site-packages/cv2"))  # of the slow commands
    kept = (directory / "venv/bin/finetune-trainer").exists() and not has_more
    for path in directory.glob("*"):
        if not (kept and path.name == "venv"):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    if kept:
        uninstall = [directory / "venv/bin/pip", "uninstall", "--quiet", "--yes"]
        subprocess.run([*map(str, uninstall), "finetune-trainer"], check=True)


def copy_checkout(directory: Path) -> None:
    """Copy the files that git knows or would add, as they are now."""
    # The checkout may be another user's, as in a container of CI.
    command = ["git", "-c", "safe.directory=*", "ls-files", "-z"]
    command += ["--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, directory / name)


def prepare(directory: Path) -> None:
    """Lay out what the pages take for given: photos and manifests of the user's own."""
    photos = demo_photos.cached_photos()
    downloads = directory / "home/.cache/finetune-operator"
    downloads.mkdir(parents=True)
    (downloads / photos.name).symlink_to(photos)  # 161 MB, once
    (directory / "folder").mkdir()
    birds = sorted((photos / "bird").iterdir())
    shutil.copy(birds[0], directory / "photo.jpg")
    shutil.copy(birds[1], directory / "folder")
    normalization = {"mean": ["127", "127", "127"], "std": ["128", "128", "128"]}
    own = {"source": {"uri": "pvc://networks/own"}, "normalization": normalization}
    write_manifest(directory / "own.yaml", model=own)
    more = {"resumeFrom": {"uri": "pvc://models/photos"}}
    write_manifest(directory / "more.yaml", training=more, model=None)


def write_manifest(path: Path, **changes: object) -> None:
    """Write the sample with another spec; a part that is None is left out."""
    job = yaml.safe_load((ROOT / SAMPLE).read_text())
    spec = job["spec"] | changes
    job["spec"] = {name: part for name, part in spec.items() if part is not None}
    path.write_text(yaml.safe_dump(job))


def environment_of(directory: Path) -> dict[str, str]:
    """Return the environment: what is cached goes to a home of its own, but for what pip has."""
    environment = plain_environment()
    home = directory / "home"
    own = {
        "HOME": str(home),
        "XDG_CACHE_HOME": str(home / ".cache"),
        "PATH": f"{directory}/venv/bin:{environment['PATH']}",  # the pages say finetune-trainer
    }
    pip = {"PIP_CACHE_DIR": str(CACHE.parent / "pip")}
    return pip | environment | own
