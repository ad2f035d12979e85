"""Earlier local runs in the same workspace: a run whose photos have other times alone goes on from
their checkpoints.

Times change without the photos: by `git checkout`, by rsync, by a backup that is restored. They are
not ignored, for a photo may be replaced by one of the same size. So the run is a new one, packs the
photos again, and takes over the checkpoints: the fit drops them if the packed data set is another.
"""

import hashlib
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import msgspec

from finetune_trainer.contract import Struct
from finetune_trainer.run.files import read_json, write_json
from finetune_trainer.run.handoff import LOCAL
from finetune_trainer.run.hidden_files import is_skipped

_PROGRESS = ("checkpoints", "trial", "history.csv", "trials.json", "chosen.json")
"""Files of a fit, each bound to the digest of its data set."""

State = tuple[str, int, int]
"""Path, size and time of a file."""


class LocalRun(Struct):
    """The identity of a local run, apart from the times of its files."""

    name: str
    """NAMESPACE/NAME of the manifest."""
    digest: str
    """Digest of the manifest, and of the names and sizes of the files."""


def states(root: Path) -> Iterator[State]:
    """Yield the files that a run reads; a folder by its name alone, as hidden files change it."""
    for path in sorted(root.rglob("*")) if root.is_dir() else [root]:
        if path != root and any(map(is_skipped, path.relative_to(root).parts)):
            continue
        try:
            state = path.stat()
        except OSError:  # a stage will report a file that cannot be read
            continue
        is_folder = path.is_dir()
        yield (str(path), 0, 0) if is_folder else (str(path), state.st_size, state.st_mtime_ns)


def digest_of(spec: bytes, files: Iterable[State], *, times: bool) -> str:
    """Return a digest of the spec and the files, with or without their times."""
    digest = hashlib.sha256(spec)
    for path, size, time in files:
        line = f"{path} {size} {time if times else 0}\n"
        digest.update(line.encode(errors="surrogateescape"))
    return digest.hexdigest()


def take_over(directory: Path, this: LocalRun) -> str:
    """Record a new run in its directory, with the checkpoints of an earlier one; return a message
    about the earlier run, if there is one.
    """
    earlier = _newest(directory.parent, this)
    directory.mkdir(parents=True)
    write_json(directory / LOCAL, this)
    if earlier is None:
        return ""
    if read_json(earlier / LOCAL, LocalRun) != this:
        return (
            "the photos, the manifest or the options have changed since: starting over; the"
            f" earlier run is in {earlier}"
        )
    for name in _PROGRESS:
        _copy(earlier / name, directory / name)
    return (
        f"the files have other times than in the earlier run in {earlier}: they are read again,"
        " and if they are the same, its checkpoints are used"
    )


def _newest(jobs: Path, this: LocalRun) -> Path | None:
    """Return the newest run of this manifest; one with the same digest comes before all others."""
    found = []
    for record in jobs.glob(f"[!.]*/{LOCAL}"):  # not of what a clean-up is removing
        try:
            run = read_json(record, LocalRun)
        except (OSError, msgspec.MsgspecError):  # it is being deleted, or of another version
            continue
        if run.name == this.name:
            found.append((run == this, record.stat().st_mtime_ns, record.parent))
    return max(found)[2] if found else None


def _copy(source: Path, target: Path) -> None:
    if source.is_dir():
        shutil.copytree(source, target)
    elif source.exists():
        shutil.copyfile(source, target)
