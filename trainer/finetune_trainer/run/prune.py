"""Clean-up of a workspace by age: what no FineTuneJob needs any more.

The proofs are in docs/design/20261128-workspace-clean-up.md. In short: a job's directory goes only
if the API server has no FineTuneJob of its uid; packed and fetched data only if its last use,
which each use writes under a lock, was before any unfinished job of the workspace began.
"""

import contextlib
import dataclasses
import os
import re
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import msgspec

from finetune_trainer.run.files import exclusive, read_json, sync_directory
from finetune_trainer.run.handoff import LOCAL, RECORD, RESULT, JobRecord

CLOCKS_SECONDS = 3600.0
"""Most that the clocks of nodes and of the volume may differ."""
_PRUNED = ".pruned"
_KEY = re.compile(r"\.*([0-9a-f]{12,64})")


@dataclasses.dataclass(frozen=True)
class Living:
    """The FineTuneJobs of a namespace that exist now."""

    namespace: str
    finished: Mapping[str, bool]
    """True for a job that is complete or failed, by uid."""


@dataclasses.dataclass(frozen=True)
class Entry:
    """A directory of the workspace, and what is to become of it."""

    path: Path
    owner: str
    """NAMESPACE/NAME of the job of a job's directory."""
    size: int
    """Size of its files in bytes."""
    used: float
    """Time of its last use: for a job's directory, of the last write."""
    reason: str
    removable: bool


@dataclasses.dataclass(frozen=True)
class _JobDirectory:
    """A job's directory, as the rules see it."""

    entry: Entry
    began: float | None
    """Time at which the job began, if it stays and may go on."""


class _Busy(Exception):
    """The lock is held by a job."""


def survey(workspace: Path, *, living: Living | None, before: float) -> list[Entry]:
    """Return all directories of a workspace, and whether they may go: those last used before.

    Without `living` there is no cluster to ask: then only data and local runs may go.
    """
    jobs = [_job(path, living, before) for path in _directories(workspace / "jobs")]
    began = [job.began for job in jobs if job.began is not None]
    needed = min(began, default=float("inf")) - CLOCKS_SECONDS
    data = [
        entry
        for name in ("packed", "fetched")
        for path in _directories(workspace / name)
        if _KEY.match(path.name) and (entry := _data(path, needed=needed, before=before))
    ]
    return [*(job.entry for job in jobs), *data]


def remove(entry: Entry, *, before: float) -> bool:
    """Remove a directory, unless a job uses it now or has used it since; return True if it is gone.

    It is renamed first: no job ever finds a part of it. Raises OSError if it cannot be removed.
    """
    path = entry.path
    pruned = path if path.name.endswith(_PRUNED) else path.with_name(f".{path.name}{_PRUNED}")
    try:
        with contextlib.ExitStack() as locks:
            for lock in _locks(path):
                locks.enter_context(exclusive(lock, waiting=_give_up))
            if pruned != path:
                if _last_use(path) >= before:
                    return False
                path.rename(pruned)
                _forget(path)
                sync_directory(path.parent)
    except (_Busy, FileNotFoundError):
        return False
    with contextlib.suppress(FileNotFoundError):  # another clean-up removes it, too
        shutil.rmtree(pruned)
    return True


def _directories(parent: Path) -> Iterator[Path]:
    for path in sorted(parent.iterdir()) if parent.is_dir() else ():
        if path.is_dir() and not path.is_symlink() and path.name != "keys":
            yield path


def _job(path: Path, living: Living | None, before: float) -> _JobDirectory:
    size, written = _measure(path)
    record, began = _record(path)
    owner = f"{record.namespace}/{record.name}" if record else ""
    kept = _why_kept(path, record, living)
    if not kept and written >= before:
        kept = "used lately"
    if path.name.endswith(_PRUNED):
        kept = ""
    reason = kept or ("a local run" if _is_local(path) else "its FineTuneJob was deleted")
    entry = Entry(path, owner, size, written, reason, removable=not kept)
    return _JobDirectory(entry, began if kept and not _has_ended(path, living) else None)


def _why_kept(path: Path, record: JobRecord | None, living: Living | None) -> str:
    """Return why the directory stays, whatever its age."""
    if _is_local(path):
        return ""
    if record is None:
        return f"it has no {RECORD}"
    if living is None:
        return "only in its cluster is it known if its FineTuneJob exists"
    if record.namespace != living.namespace:
        return f"its FineTuneJob is not of the namespace {living.namespace}"
    return "its FineTuneJob exists" if path.name in living.finished else ""


def _has_ended(path: Path, living: Living | None) -> bool:
    """Return True if no attempt of the job follows."""
    return (path / RESULT).exists() or bool(living and living.finished.get(path.name))


def _record(path: Path) -> tuple[JobRecord | None, float]:
    """Return the record of a job, and when it was written: as the job's first attempt began."""
    try:
        return read_json(path / RECORD, JobRecord), (path / RECORD).stat().st_mtime
    except (FileNotFoundError, msgspec.DecodeError):
        return None, 0.0  # before everything: all data is kept


def _is_local(path: Path) -> bool:
    return (path / LOCAL).exists()


def _data(path: Path, *, needed: float, before: float) -> Entry | None:
    """Return the entry of packed or fetched data, None if a job has just removed or renamed it."""
    try:
        used = _last_use(path)
    except FileNotFoundError:
        return None
    size, _ = _measure(path)
    if path.name.endswith(_PRUNED):
        kept = ""
    elif used >= before:
        kept = "used lately"
    else:
        kept = "used since an unfinished job began" if used >= needed else ""
    reason = kept or "no unfinished job has used it"
    return Entry(path, "", size, used, reason, removable=not kept)


def _last_use(path: Path) -> float:
    """Return the time of the last use: of a job's directory the last write of any file."""
    return _measure(path)[1] if path.parent.name == "jobs" else path.stat().st_mtime


def _measure(path: Path) -> tuple[int, float]:
    """Return the size of a directory's files, and the time of the last write."""
    size, written = 0, 0.0
    for folder, _, names in os.walk(path):  # which passes over what vanishes: a job may be running
        for each in (folder, *(os.path.join(folder, name) for name in names)):
            with contextlib.suppress(FileNotFoundError):
                state = os.lstat(each)
                size += state.st_size
                written = max(written, state.st_mtime)
    return size, written


def _locks(path: Path) -> list[Path]:
    """Return the locks under which jobs look for this data, and use it."""
    key = _KEY.match(path.name)
    if path.parent.name == "jobs" or not key:
        return []
    if path.parent.name == "fetched":
        return [path.parent / f"{key[1]}.lock"]
    return [key_file.with_suffix(".lock") for key_file in _keys_of(path)] or [
        path.parent / "keys" / f"{key[1]}.lock"
    ]


def _keys_of(packed: Path) -> list[Path]:
    """Return the key files that lead to a packed data set."""
    found: Iterable[Path] = (packed.parent / "keys").glob("*")
    return [path for path in found if path.suffix != ".lock" and path.read_text() == packed.name]


def _forget(path: Path) -> None:
    """Remove the small files that lead to a directory."""
    if path.parent.name == "packed":
        for key_file in _keys_of(path):
            key_file.unlink()
    if path.parent.name == "fetched":
        path.with_name(f"{path.name}.warnings.json").unlink(missing_ok=True)


def _give_up(seconds: int) -> None:
    raise _Busy
