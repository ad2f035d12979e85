"""Encodes photos in parallel and writes them as records, one at a time: memory does not grow.

The photos go to a spool first: which of them can be read, and so who trains and who validates, is
known only when all were decoded.
"""

import contextlib
import dataclasses
import itertools
import multiprocessing
import os
import signal
import threading
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from pathlib import Path
from typing import BinaryIO

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.photo import Encoded, encode_photo
from finetune_trainer.dataset.recordio import open_records

CHUNK = 8
"""Photos of one task: fewer messages between processes."""


@dataclasses.dataclass(frozen=True, slots=True)
class Spooled:
    """Where a photo lies in the spool, or why it does not."""

    sha256: str
    reason: str
    note: str
    content: bytes = b""
    look: int | None = None
    offset: int = 0
    length: int = 0


Task = tuple[str, int | None]
"""A file, and where in it a record begins."""


@dataclasses.dataclass(frozen=True, slots=True)
class Packing:
    """How photos are encoded."""

    resize_short: int
    quality: int
    exact: bool = False


class Spool:
    """A file of encoded photos, written once and then read in any order."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._end = 0

    def add(self, photo: Encoded) -> Spooled:
        """Append a photo."""
        spooled = Spooled(
            photo.sha256,
            photo.reason,
            photo.note,
            photo.content,
            photo.look,
            self._end,
            len(photo.jpeg),
        )
        self._file.write(photo.jpeg)
        self._end += len(photo.jpeg)
        return spooled

    def read(self, photo: Spooled) -> bytes:
        """Return an encoded photo."""
        self._file.seek(photo.offset)
        return self._file.read(photo.length)


@contextlib.contextmanager
def open_spool(path: Path) -> Iterator[Spool]:
    """Make an empty spool."""
    with open(path, "w+b") as file:
        yield Spool(file)


def encode_photos(
    tasks: Iterable[Task], packing: Packing, *, threads: int
) -> Generator[Encoded, None, None]:
    """Yield the outcome for each task, in their order, from `threads` processes."""
    chunks = _chunked(tasks)
    waiting: deque[tuple[list[Task], Future[list[Encoded]]]] = deque()
    # Not fork: threads of the caller (MXNet, OpenMP) do not survive it.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(threads, mp_context=context, initializer=_end_with_parent) as pool:
        try:
            while True:
                for chunk in itertools.islice(chunks, 2 * threads + 2 - len(waiting)):
                    waiting.append((chunk, pool.submit(_encode_chunk, chunk, packing)))
                if not waiting:
                    return
                chunk, future = waiting.popleft()
                yield from _result(chunk, future)
        finally:
            pool.shutdown(cancel_futures=True)


def _chunked(tasks: Iterable[Task]) -> Iterator[list[Task]]:
    rest = iter(tasks)
    while chunk := list(itertools.islice(rest, CHUNK)):
        yield chunk


def _encode_chunk(tasks: list[Task], packing: Packing) -> list[Encoded]:
    return [
        encode_photo(
            path, packing.resize_short, packing.quality, offset=offset, exact=packing.exact
        )
        for path, offset in tasks
    ]


def _result(chunk: list[Task], future: Future[list[Encoded]]) -> list[Encoded]:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise TrainerError(
            ExitCode.InternalError,
            f"A process that decodes photos was killed, perhaps for its memory, near {chunk[0][0]}",
            "Raise trainer.resources.limits.memory, or remove the photo that does it.",
        ) from error


def _end_with_parent() -> None:
    """Watch the stage: when it is killed, its workers would wait for tasks for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the stage


def write_records(path: Path, photos: Iterable[tuple[int, Spooled]], *, spool: Spool) -> None:
    """Write PATH.rec and PATH.idx from the (label, photo) in their order."""
    with open_records(path) as writer:
        for label, photo in photos:
            writer.write(label=label, image=spool.read(photo))
