"""Builds a target of the Dockerfile into an OCI archive with its SBOM, once for each state."""

import hashlib
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.images.archive import Archive
from tests.images.base import DATE, make_base
from tests.images.sbom import sbom_of, wheels_of
from tests.images.store import CACHE, buildah, locked, using

ROOT = Path(__file__).resolve().parents[2]
TRAINER_SOURCES = (
    "trainer/requirements-cpu.txt",
    "trainer/requirements-models.txt",
    "trainer/trim.sh",
    "trainer/finetune_trainer",
)
SOURCES = {
    "operator": ("operator/requirements.txt", "operator/trim.sh", "operator/finetune_operator"),
    "trainer": TRAINER_SOURCES,
    "trainer-gpu": (
        *TRAINER_SOURCES,
        "trainer/requirements-cu112.txt",
        "trainer/libcuda-stub.c",
    ),
}
PREFIX = "localhost/finetune-operator"  # as in the chart: PREFIX/operator, PREFIX/trainer
KEPT = 2  # archives of one target in the cache; the trainer's has 150 MB, the GPU's 2 GB


@dataclass(frozen=True, kw_only=True)
class Image:
    """A built image: its name, which no registry can serve, and the archive it lies in."""

    name: str
    archive: Path

    @property
    def sbom(self) -> Path:
        """The CycloneDX bill of materials beside the archive."""
        return self.archive.with_suffix(".cdx.json")

    def compressed_bytes(self) -> int:
        """Add up what a node downloads: the layers as they are in a registry."""
        with Archive.open(self.archive) as archive:
            return archive.compressed_bytes()


def build(target: str) -> Image:
    """Return the image of TARGET for the sources as they are now, built if it is not cached."""
    base = make_base()
    key = sources_hash(target, base=base)
    image = Image(name=f"{PREFIX}/{target}:{key}", archive=CACHE / f"{target}-{key}.tar")
    with locked(target):
        if image.archive.exists():
            image.archive.touch()
        else:
            with using():
                build_archive(image, target=target, base=base)
            prune(target)
    return image


def build_archive(image: Image, *, target: str, base: str) -> None:
    """Run the Dockerfile, write the SBOM and the archive; that appears when both are whole."""
    start = time.monotonic()
    print(f"building the image {image.name} ...", file=sys.stderr)
    bud(target, base=base, tag=image.name)
    partial = image.archive.with_suffix(".partial")
    partial.unlink(missing_ok=True)
    buildah("push", "--quiet", image.name, f"oci-archive:{partial}:{image.name}")
    with Archive.open(partial) as archive:
        image.sbom.write_text(sbom_of(archive, wheels=wheels_of(pip_report(target, base=base))))
    partial.rename(image.archive)
    size = image.compressed_bytes() / 1e6
    took = time.monotonic() - start
    print(f"built {image.name}: {size:.0f} MB compressed, {took:.0f} s", file=sys.stderr)


def build_again(target: str) -> Path:
    """Build the target from nothing, into an archive beside those of the cache."""
    again = Image(name=f"{PREFIX}/{target}:again", archive=CACHE / f"{target}-again.tar")
    again.archive.unlink(missing_ok=True)
    with using():
        bud(target, base=make_base(), tag=again.name, is_cached=False)
        buildah("push", "--quiet", again.name, f"oci-archive:{again.archive}:{again.name}")
        buildah("rmi", again.name)
    return again.archive


def bud(target: str, *, base: str, tag: str, is_cached: bool = True) -> None:
    """Build a stage of the Dockerfile into the store."""
    command = ["bud", "--isolation", "chroot", "--layers", "--pull-never", "--format", "oci"]
    command += ["--timestamp", DATE, "--build-arg", f"BASE={base}"]
    command += ["--target", target, "--tag", tag]
    command += [] if is_cached else ["--no-cache"]
    # A machine behind a proxy names the proxy's certificate authority in one of these.
    bundle = os.environ.get("PIP_CERT") or os.environ.get("SSL_CERT_FILE")
    if bundle:
        command += ["--secret", f"id=ca,src={bundle}"]
    buildah(*command, str(ROOT), show=True)


def pip_report(target: str, *, base: str) -> dict[str, Any]:
    """Read what pip reported when it filled the virtual environment, in a stage before."""
    stage = f"{PREFIX}/{target}-venv"
    bud(f"{target}-venv", base=base, tag=stage)
    container = buildah("from", "--pull-never", stage)
    try:
        return dict(json.loads(Path(buildah("mount", container), "installed.json").read_bytes()))
    finally:
        buildah("rm", container)


def sources_hash(target: str, *, base: str = "") -> str:
    """Name the state of everything that goes into the image."""
    digest = hashlib.sha256(base.encode())
    for path in source_files(target):
        digest.update(f"{path.relative_to(ROOT)}\0{path.stat().st_size}\0".encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()[:12]


def source_files(target: str) -> Iterator[Path]:
    """List the files that the image is made of, in a fixed order."""
    for name in ("Dockerfile", ".dockerignore", *SOURCES[target]):
        path = ROOT / name
        files = sorted(path.rglob("*")) if path.is_dir() else [path]
        yield from (file for file in files if file.is_file() and "__pycache__" not in file.parts)


def prune(target: str) -> None:
    """Keep the newest archives of TARGET only."""
    archives = sorted(
        CACHE.glob(f"{target}-{'[0-9a-f]' * 12}.tar"), key=lambda a: a.stat().st_mtime
    )
    for archive in archives[:-KEPT]:
        archive.unlink()
        archive.with_suffix(".cdx.json").unlink(missing_ok=True)
