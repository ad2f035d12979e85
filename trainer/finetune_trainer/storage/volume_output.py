"""Models on a claim that is mounted, or in a folder of a local run."""

import contextlib
import errno
import tempfile
from collections.abc import Iterator
from pathlib import Path

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.run import files
from finetune_trainer.run.context import Run
from finetune_trainer.run.failure import DISK_FULL, FAILING

_HINTS = {
    errno.EACCES: "The volume must be writable for the trainer's user: see fsGroup.",
    errno.EPERM: "The volume must be writable for the trainer's user: see fsGroup.",
    errno.EROFS: "The volume is mounted read-only: use another claim for output.uri.",
    errno.ENOSPC: "The volume is full: make room, or use a larger claim.",
    errno.EDQUOT: "The volume's quota is used up: make room, or use a larger claim.",
    errno.ENOTDIR: "A file is in the way: use another path.",
}


class VolumeOutput:
    """The folder with a job's name on a volume; see outputs.Place."""

    def __init__(self, uri: str, run: Run) -> None:
        self.model_uri = f"{uri}/{run.job.name}/{run.job.uid}"
        self._run = run
        self._folder = run.paths.local(uri, field="output.uri") / run.job.name

    def check(self) -> None:
        """Raise if the place cannot be written to; leave nothing there."""
        existing = next(p for p in (self._folder, *self._folder.parents) if p.exists())
        with self._explained():
            tempfile.TemporaryFile(dir=existing).close()

    @contextlib.contextmanager
    def whole_model(self, *, last: str) -> Iterator[Path]:
        """Give a directory that becomes the model at once, whatever file is the last."""
        uid = self._run.job.uid
        with self._explained():
            files.clear_leftovers(self._folder, uid)
            with files.whole_directory(self._folder / uid, check=self._run.check_owner) as staged:
                yield staged

    def write_json(self, name: str, value: object) -> None:
        """Write a file beside the models, whole."""
        with self._explained():
            self._run.check_owner()
            files.write_json(self._folder / name, value)

    @contextlib.contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            # A full volume may have room at the next attempt; a read-only one stays so.
            may_pass = error.errno in DISK_FULL | FAILING
            raise TrainerError(
                ExitCode.InputOutputError if may_pass else ExitCode.OutputNotWritable,
                f"output.uri: the model could not be written to {self.model_uri}:"
                f" {error.strerror or error}",
                _HINTS.get(error.errno or 0, "The model is kept in the workspace."),
            ) from error
