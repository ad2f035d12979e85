"""The operator of a checkout: this one, another folder, or a revision in a folder made for it."""

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from bench.population import Object

SAME_JOB = "import json; from bench.scale.work import same_job; print(json.dumps(same_job(0)))"


@dataclass(frozen=True)
class Checkout:
    """A folder with the project's files."""

    directory: Path

    @property
    def label(self) -> str:
        """Its revision."""
        git = ["git", "describe", "--always", "--dirty", "--exclude=*"]
        return self._run(*git).strip()

    @property
    def chart(self) -> Path:
        """Its chart, with its CRD and the operator's rights."""
        return self.directory / "charts/finetune-operator"

    def same_job(self) -> Object:
        """Return the Job that its operator makes of FineTuneJob 0, by its own code."""
        found: Object = json.loads(self._run(sys.executable, "-c", SAME_JOB))
        return found

    def _run(self, *command: str) -> str:
        root = self.directory.resolve()
        environment = {**os.environ, "PYTHONPATH": f"{root}/operator:{root}/trainer:{root}"}
        done = subprocess.run(
            command, check=True, cwd=root, env=environment, stdout=subprocess.PIPE, text=True
        )
        return done.stdout


@contextlib.contextmanager
def worktree(revision: str) -> Iterator[Checkout]:
    """Check a revision out into a folder that is gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="finetune-bench-") as parent:
        directory = f"{parent}/{revision.replace('/', '-')}"
        git = ["git", "worktree"]
        subprocess.run([*git, "add", "--quiet", "--detach", directory, revision], check=True)
        try:
            yield Checkout(Path(directory))
        finally:
            subprocess.run([*git, "remove", "--force", directory], check=True)
