"""Runs a command in a built image as a pod would: read-only root, the image's user, no network."""

import json
import subprocess
import tempfile
from pathlib import Path
from typing import Any

from tests.images.build import Image
from tests.images.store import buildah, using

Mounts = dict[str, Path]


def run(image: Image, *command: str, mounts: Mounts | None = None) -> str:
    """Return what the command prints; it sees the files of `mounts` at the paths they are for."""
    with using():
        return run_container(image, command, mounts=mounts or {})


def run_container(image: Image, command: tuple[str, ...], *, mounts: Mounts) -> str:
    """Make a container of the image, run the command with runc, remove it."""
    container = buildah("from", "--pull-never", image.name)
    try:
        root = buildah("mount", container)
        with tempfile.TemporaryDirectory() as bundle:
            subprocess.run(["runc", "spec", "--bundle", bundle], check=True)
            file = Path(bundle, "config.json")
            spec = json.loads(file.read_text())
            adapt(spec, root=root, config=config(image), command=command, mounts=mounts)
            file.write_text(json.dumps(spec))
            arguments = ["runc", "run", "--bundle", bundle, container]
            done = subprocess.run(arguments, capture_output=True, text=True)
    finally:
        buildah("rm", container)
    assert done.returncode == 0, f"{command} in {image.name}:\n{done.stdout}\n{done.stderr}"
    return done.stdout.strip()


def config(image: Image) -> dict[str, Any]:
    """Return the configuration in the image: user, environment, entry point, labels."""
    description = json.loads(buildah("inspect", "--type", "image", image.name))
    return dict(description["OCIv1"]["config"])


def adapt(
    spec: dict[str, Any],
    *,
    root: str,
    config: dict[str, Any],
    command: tuple[str, ...],
    mounts: Mounts,
) -> None:
    """Make runc's example specification that of this container."""
    user, _, group = config["User"].partition(":")
    spec["root"] = {"path": root, "readonly": True}
    spec["process"] |= {
        "terminal": False,
        "args": list(command),
        "env": config["Env"],
        "user": {"uid": int(user), "gid": int(group)},
        "rlimits": [],
    }
    scratch = {"destination": "/tmp", "type": "tmpfs", "source": "tmpfs", "options": ["mode=1777"]}
    spec["mounts"].append(scratch)
    for path, source in mounts.items():
        bind = {"destination": path, "source": str(source), "options": ["bind", "ro"]}
        spec["mounts"].append(bind)
