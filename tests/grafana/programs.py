"""Grafana's own code from npm, and what is bundled of it: for pictures and a check of the JSON.

The packages are in the user's cache, in a folder with the lock file's hash; 435 MB.
"""

import hashlib
import json
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tests.cluster.programs import CACHE
from tests.grafana import boards

PAGE = Path(__file__).parent / "page"
MANIFEST = ("package.json", "package-lock.json")


def install() -> Path:
    """The folder of the packages; installs them the first time. Needs Node 20 and npm."""
    lock = hashlib.sha256((PAGE / "package-lock.json").read_bytes()).hexdigest()
    folder = CACHE / f"grafana-{lock[:12]}"
    if not (folder / "ready").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in MANIFEST:
            (folder / name).write_bytes((PAGE / name).read_bytes())
        command = ["npm", "ci", "--legacy-peer-deps", "--ignore-scripts", "--no-audit", "--no-fund"]
        subprocess.run(command, cwd=folder, check=True)
        (folder / "ready").touch()
    return folder


def build(out: Path) -> None:
    """Bundle page.js and check.cjs into a folder, beside the icons and fonts of Grafana."""
    modules = install() / "node_modules"
    subprocess.run(["node", PAGE / "build.mjs", modules.parent, out], check=True)
    (out / "node_modules").symlink_to(modules)
    (out / "build").mkdir()
    (out / "build/img").symlink_to(modules / "@grafana/ui/dist/public/img")
    (out / "fonts/inter").mkdir(parents=True)
    for name, weight in {"Regular": 400, "Medium": 500}.items():
        font = modules / f"@fontsource/inter/files/inter-latin-{weight}-normal.woff2"
        (out / f"fonts/inter/Inter-{name}.woff2").symlink_to(font)


def check(
    recording: dict[str, Any], out: Path, dashboards: Sequence[dict[str, Any]] = ()
) -> list[str]:
    """What Grafana's own code finds wrong with dashboards, or with all: a line for each."""
    file = out / "check.json"
    checked = dashboards or [boards.load(uid) for uid in boards.UIDS]
    file.write_text(json.dumps({"boards": checked, "recording": recording}))
    run = subprocess.run(
        ["node", out / "check.cjs", file], capture_output=True, text=True, timeout=60, check=False
    )
    if run.returncode:
        raise RuntimeError(run.stderr[-4000:])
    return run.stdout.splitlines()
