"""Encodes photos in parallel into a spool, and writes those of a split as records.

Neither holds more than a few photos in memory.
"""

import ctypes
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
from typing import NamedTuple

from finetune_trainer.contract import ExitCode, TrainerError
from finetune_trainer.dataset.photo import Packing, encode_photo
from finetune_trainer.dataset.recordio import open_records
from finetune_trainer.dataset.spool import Spooled, write_photos

CHUNK_BYTES = 4 << 20
PHOTO_BYTES = 1 << 16
"""A chunk of photos goes to a process at a time: few messages for small photos, and no process is
left with many large ones at the end. PHOTO_BYTES stands for the work that every photo costs."""
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD = -1, -3
KEPT_BYTES, LARGEST_KEPT_BYTES = 256 << 20, 32 << 20


class PackTask(NamedTuple):
    """A photo to encode."""

    path: str
    size: int
    offset: int | None = None
    """The byte where its record begins, if the file is RecordIO."""


def encode_photos(
    tasks: Iterable[PackTask], packing: Packing, *, spool: Path, threads: int
) -> Generator[Spooled, None, None]:
    """Encode photos in `threads` processes, which write them to the directory `spool`.

    Yields the results a few at a time, in the order of the tasks.
    """
    chunks = _chunked(tasks)
    waiting: deque[tuple[list[PackTask], Future[Spooled]]] = deque()
    # Not fork: threads of the caller (MXNet, OpenMP) do not survive it.
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(threads, mp_context=context, initializer=_begin) as pool:
        try:
            while True:
                for chunk in itertools.islice(chunks, 2 * threads + 2 - len(waiting)):
                    waiting.append((chunk, pool.submit(_encode_chunk, chunk, packing, spool)))
                if not waiting:
                    return
                chunk, future = waiting.popleft()
                yield _result(chunk, future)
        finally:
            pool.shutdown(cancel_futures=True)


def _chunked(tasks: Iterable[PackTask]) -> Iterator[list[PackTask]]:
    chunk, size = [], 0
    for task in tasks:
        chunk.append(task)
        size += task.size + PHOTO_BYTES
        if size >= CHUNK_BYTES:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _encode_chunk(tasks: list[PackTask], packing: Packing, spool: Path) -> Spooled:
    photos = (encode_photo(task.path, packing, offset=task.offset) for task in tasks)
    return write_photos(spool, photos)


def _result(chunk: list[PackTask], future: Future[Spooled]) -> Spooled:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise TrainerError(
            ExitCode.InternalError,
            "A process that decodes photos was killed, perhaps for its memory, near"
            f" {chunk[0].path}",
            "Raise trainer.resources.limits.memory, or remove the photo that needs so much.",
        ) from error


def _begin() -> None:
    keep_memory()
    _end_with_parent()


def keep_memory() -> None:
    """Let glibc keep the memory of a photo for the next one.

    Otherwise the kernel takes it back and clears it page by page: a third of the time of a small
    photo.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, LARGEST_KEPT_BYTES)
        libc.mallopt(M_TRIM_THRESHOLD, KEPT_BYTES)


def _end_with_parent() -> None:
    """End this process with the stage: if the stage is killed, it would wait for tasks for ever."""
    parent = multiprocessing.parent_process()
    assert parent is not None

    def watch() -> None:
        parent.join()
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the stage


def write_records(path: Path, records: Iterable[tuple[int, bytes]]) -> None:
    """Write each (label, image) to PATH.rec, and its offset to PATH.idx."""
    with open_records(path) as writer:
        for label, image in records:
            writer.write(label=label, image=image)
