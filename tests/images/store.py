"""Runs buildah on a store of our own in the user's cache: never the machine's images."""

import fcntl
import hashlib
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster import packages

NEEDED = {"/usr/bin/buildah": "buildah", "/usr/bin/mmdebstrap": "mmdebstrap"}
CACHE = (
    Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "finetune-operator/images"
)
# buildah counts its mounts here: not in the cache, which outlives a reboot, and one for each cache.
RUN_ROOT = Path("/run", f"finetune-images-{hashlib.sha256(str(CACHE).encode()).hexdigest()[:8]}")


def buildah(*arguments: str, show: bool = False) -> str:
    """Run buildah and return its answer; with `show` that is progress and goes to stderr."""
    if os.geteuid() != 0:
        raise SystemExit("building images needs root: buildah mounts overlays here")
    packages.ensure(NEEDED)
    store = ["--root", str(CACHE / "store"), "--runroot", str(RUN_ROOT)]
    command = ["buildah", *store, "--storage-driver", "overlay", *arguments]
    output = sys.stderr if show else subprocess.PIPE
    return (subprocess.run(command, check=True, text=True, stdout=output).stdout or "").strip()


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Let one process at a time make NAME; the others find it done."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def using() -> Iterator[bool]:
    """Use the store; say whether nobody else does: then what killed builds left is removed."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / "store.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            is_alone = False
        else:
            is_alone = True
            buildah("rm", "--all")
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield is_alone
