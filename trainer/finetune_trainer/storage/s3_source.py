"""The scheme s3: folders and archives of a bucket, found by one listing, downloaded in parallel.

Never prints a server's messages, which may repeat parts of a secret key. Only codes are shown.
"""

import asyncio
import hashlib
import os
import shutil
import time
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

import fsspec.asyn

from finetune_trainer.contract import ExitCode, Source, TrainerError
from finetune_trainer.run.context import Run
from finetune_trainer.run.files import exclusive, mark_used, sync_filesystem
from finetune_trainer.storage.archive import MAX_MEMBERS, WAITING, Obtained, Put, unpacked_once
from finetune_trainer.storage.s3_bucket import Bucket, S3Object
from finetune_trainer.storage.volume_source import check_sha256

PARALLEL = 16
"""Downloads at a time: small photos wait for the network, not for the disk."""
REPORT_SECONDS = 0.5


def obtain(source: Source, *, field: str, secret: str, run: Run, put: Put | None) -> Obtained:
    """Return the folder of a prefix, or of an archive, downloaded if it was not before."""
    bucket, key = _open(source.uri, field=field, secret=secret)
    if key and not key.endswith("/") and (found := bucket.find(key)):
        return _fetch_archive(bucket, found, source=source, run=run, put=put)
    if source.sha256:
        raise TrainerError(
            ExitCode.InvalidSpec,
            f"{field}.sha256 is set, but {source.uri} is a folder, or is not there",
            "Name an archive, or remove sha256: the data set's own digest is in the result.",
        )
    return _fetch_folder(bucket, key.rstrip("/"), uri=source.uri, run=run)


def find_file(uri: str, *, field: str, secret: str, run: Run) -> Path | None:
    """Return the object, downloaded into the job's directory; None if there is none."""
    bucket, key = _open(uri, field=field, secret=secret)
    if not (found := bucket.find(key)):
        return None
    target = run.paths.job / PurePosixPath(key).name
    _download(
        bucket, iter([(found, target)]), progress=DownloadProgress(run, files=1, size=found.size)
    )
    return target


def _open(uri: str, *, field: str, secret: str) -> tuple[Bucket, str]:
    name, _, key = uri.removeprefix("s3://").partition("/")
    return Bucket(name, field=field, prefix=secret, environment=os.environ), key


def _fetch_archive(
    bucket: Bucket, found: S3Object, *, source: Source, run: Run, put: Put | None
) -> Obtained:
    identity = f"{source.uri}:{source.sha256 or found.etag}"

    def provide(temporary: Path) -> Path:
        archive = temporary / "archive"
        progress = DownloadProgress(run, files=1, size=found.size)
        _download(bucket, iter([(found, archive)]), progress=progress)
        if source.sha256:
            check_sha256(archive, expected=source.sha256, shown=source.uri, field=bucket.field)
        return archive

    return unpacked_once(identity, provide, field=bucket.field, run=run, put=put)


def _fetch_folder(bucket: Bucket, prefix: str, *, uri: str, run: Run) -> Obtained:
    """Download the objects that an earlier attempt did not; return their folder."""
    files = _relative(bucket, prefix, uri=uri)
    version = _digest("".join(f"{path}\0{f.size}\0{f.etag}\n" for path, f in files.items()))
    fetched, name = run.paths.workspace / "fetched", _digest(uri.rstrip("/"))[:12]
    done = fetched / f"{name}-{version[:24]}"
    with exclusive(fetched / f"{name}.lock", waiting=run.reporter.waiting(WAITING)):
        if not done.is_dir():
            partial = fetched / f".{done.name}.part"
            for other in fetched.glob(f".{name}-*.part"):
                if other != partial:
                    shutil.rmtree(other)
            missing = {p: f for p, f in files.items() if not _is_whole(partial / p, f)}
            if len(missing) < len(files):
                print(f"{bucket.field}: {len(files) - len(missing)} files are here already")
            progress = DownloadProgress(
                run, files=len(missing), size=sum(f.size for f in missing.values())
            )
            targets = ((f, partial / p) for p, f in missing.items())
            _download(bucket, targets, progress=progress)
            sync_filesystem(partial)
            partial.rename(done)
        mark_used(done)
    return Obtained(path=done, version=version)


def _is_whole(path: Path, found: S3Object) -> bool:
    """Return True if a file is there and complete: a crash of its node may have cut it off."""
    return path.exists() and path.stat().st_size == found.size


def is_plain(path: str) -> bool:
    """Return True if a key below the prefix is a path in normal form, such as a/b.jpg."""
    plain = str(PurePosixPath("/", path)) == f"/{path}"
    return plain and "\0" not in path and ".." not in path.split("/")


def _relative(bucket: Bucket, prefix: str, *, uri: str) -> dict[str, S3Object]:
    """Return the objects below the prefix by their path in the folder, sorted."""
    files: dict[str, S3Object] = {}
    for found in bucket.list(f"{prefix}/" if prefix else ""):
        path = found.key[len(prefix) + 1 if prefix else 0 :]
        if path.endswith("/") or not path:
            continue  # the mark of a folder that S3 consoles write
        if not is_plain(path):
            raise bucket.failed(
                ExitCode.InvalidData,
                f"the key {found.key!r} is no path of a file",
                "Give the object another key, or name a prefix without it.",
            )
        files[path] = found
        if len(files) > MAX_MEMBERS:
            raise bucket.failed(
                ExitCode.InvalidData, f"has more than {MAX_MEMBERS} objects", "Name a prefix."
            )
    if not files:
        raise bucket.failed(
            ExitCode.InputNotFound,
            f"there is nothing at {uri} in the bucket",
            "Check the prefix: upper and lower case differ.",
        )
    for path in files:
        if clash := next((str(p) for p in PurePosixPath(path).parents if str(p) in files), None):
            raise bucket.failed(
                ExitCode.InvalidData,
                f"{clash!r} is an object and the folder of {path!r}",
                "Give one of them another key.",
            )
    return dict(sorted(files.items()))


def _download(
    bucket: Bucket, targets: Iterator[tuple[S3Object, Path]], *, progress: "DownloadProgress"
) -> None:
    async def work() -> None:
        for found, target in targets:
            await bucket.download(found, target, received=progress.received)
            progress.file_done()

    async def work_in_parallel() -> None:
        tasks = [asyncio.create_task(work()) for _ in range(PARALLEL)]
        try:
            await asyncio.gather(*tasks)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    fsspec.asyn.sync(bucket.fs.loop, work_in_parallel)


class DownloadProgress:
    """The files and bytes received so far, reported at most twice a second."""

    def __init__(self, run: Run, *, files: int, size: int) -> None:
        self._run, self._files, self._size = run, files, size
        self._bytes = self._done = 0
        self._reported_at = 0.0

    def received(self, count: int) -> None:
        """Count received bytes."""
        self._bytes += count
        self._report()

    def file_done(self) -> None:
        """Count a file."""
        self._done += 1
        self._report(now=self._done == self._files)

    def _report(self, *, now: bool = False) -> None:
        if now or time.monotonic() - self._reported_at > REPORT_SECONDS:
            self._reported_at = time.monotonic()
            self._run.reporter.progress(
                step=self._done + (self._bytes >> 20),
                fraction=min(1.0, self._bytes / self._size) if self._size else 1.0,
                note=f"downloaded {self._done} of {self._files} files, {self._bytes >> 20} MiB",
            )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode(errors="surrogateescape")).hexdigest()
