"""Makes the stand-in for debian:bookworm-slim from Debian's packages: no registry is needed.

Like the official image it is the packages of priority required without documentation, manual pages
and translations, with the security updates of the week it was made in.
"""

import hashlib
import os
import subprocess
import sys
import tempfile
from datetime import date
from pathlib import Path

from tests.images.store import CACHE, buildah, locked, using

SUITE = "bookworm"
MIRROR = os.environ.get("DEBIAN_MIRROR", "http://deb.debian.org/debian")
SECURITY_MIRROR = os.environ.get("DEBIAN_SECURITY_MIRROR", f"{MIRROR}-security")
# The date of every file and image, 2026-01-01: one for all builds, so that a layer from the cache
# is that of a build from nothing, and a node that has it of an older version does not fetch it.
DATE = "1767225600"
EXCLUDED = ("man", "locale", "info", "doc")


def make_base() -> str:
    """Return the name of this week's base image in the store, made if it is not there yet."""
    year, week, _ = date.today().isocalendar()
    recipe = hashlib.sha256(Path(__file__).read_bytes()).hexdigest()[:8]
    name = f"localhost/finetune-base:{SUITE}-{year}w{week:02}-{recipe}"
    with locked("base"):
        if not buildah("images", "--quiet", "--filter", f"reference={name}"):
            print(f"making the base image {name} from {MIRROR} (40 s) ...", file=sys.stderr)
            with using() as is_alone:
                if is_alone:  # all there is was made from an older base
                    buildah("rmi", "--all", "--force")
                commit_tree(name)
    return name


def commit_tree(name: str) -> None:
    """Make the tree and commit it as an image of one layer."""
    with tempfile.TemporaryDirectory(dir=CACHE) as directory:
        tree = Path(directory, "base.tar")
        bootstrap(tree)
        container = buildah("from", "scratch")
        try:
            buildah("add", "--quiet", container, str(tree), "/")
            buildah("config", "--cmd", "bash", container)
            buildah("commit", "--quiet", "--timestamp", DATE, container, name)
        finally:
            buildah("rm", container)


def bootstrap(tree: Path) -> None:
    """Install Debian's required packages and apt into the file TREE."""
    exclude = [f"--dpkgopt=path-exclude=/usr/share/{folder}/*" for folder in EXCLUDED]
    command = [
        "mmdebstrap",
        "--quiet",
        "--mode=root",
        "--variant=apt",
        # Else usrmerge is installed, and with it all of perl, to merge /bin with /usr/bin.
        "--include=usr-is-merged",
        "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
        *exclude,
        "--dpkgopt=path-include=/usr/share/doc/*/copyright",
        # A connection that stalls ends, and is tried again, in the image's own builds too.
        '--aptopt=Acquire::Retries "5"',
        '--aptopt=Acquire::http::Timeout "15"',
        # Both are copied from the machine that builds.
        '--customize-hook=rm "$1"/etc/hostname "$1"/etc/resolv.conf',
        SUITE,
        str(tree),
        f"deb {MIRROR} {SUITE} main",
        f"deb {MIRROR} {SUITE}-updates main",
        f"deb {SECURITY_MIRROR} {SUITE}-security main",
    ]
    environment = os.environ | {"SOURCE_DATE_EPOCH": DATE}
    subprocess.run(command, check=True, stdout=sys.stderr, env=environment)
