"""Polls every running trainer for its progress.

A pod that hangs, floods or sends false reports harms only itself: concurrency, time and size are
bounded, and a report must carry the uids of its pod and its job.
"""

import asyncio
import collections
import datetime
import email.utils
import logging
import random
from collections.abc import Callable

import aiohttp
import msgspec

from finetune_operator.api import constants as c
from finetune_operator.api.contract import Progress, parse_progress
from finetune_operator.api.kubernetes import Pod
from finetune_operator.kube.workqueue import WorkQueue
from finetune_operator.observe.cache import Cache, Key
from finetune_operator.policy.progress import has_news

CONCURRENCY = 32
TIMEOUT_SECONDS = 2
MAX_BYTES = 64 * 1024
MISSES = 12
"""Polls in a row without an answer after which a pod is unreachable: a minute by default."""
log = logging.getLogger(__name__)


class Poller:
    """Updates cache.progress, and queues the jobs whose status has to change."""

    def __init__(
        self,
        cache: Cache,
        queue: WorkQueue[Key],
        *,
        interval_seconds: float,
        clock: Callable[[], datetime.datetime] = lambda: datetime.datetime.now(datetime.UTC),
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._interval = interval_seconds
        self._clock = clock
        self._slots = asyncio.Semaphore(CONCURRENCY)
        self._misses: collections.Counter[str] = collections.Counter()  # in a row, by pod uid
        self._queued: dict[str, Progress] = {}  # the report that last queued its job, by pod uid

    async def run(self) -> None:
        """Poll for ever."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        connector = aiohttp.TCPConnector(limit=CONCURRENCY, force_close=True)
        # Without decompression the size limit is also the limit of memory.
        async with aiohttp.ClientSession(
            timeout=timeout, connector=connector, auto_decompress=False
        ) as session:
            while True:
                pods = list(self._cache.reporting_pods())
                self._forget_all_but({pod.metadata.uid for pod, _ in pods})
                pause = asyncio.sleep(self._interval * random.uniform(0.9, 1.1))
                await asyncio.gather(pause, *(self._poll(session, *pod) for pod in pods))

    def _forget_all_but(self, running: set[str]) -> None:
        """Drop the reports of pods that run no more."""
        for uid in self._cache.progress.keys() - running:
            del self._cache.progress[uid]
        for uid in self._misses.keys() - running:
            del self._misses[uid]
        for uid in self._queued.keys() - running:
            del self._queued[uid]
        self._cache.unreachable &= running

    async def _poll(self, session: aiohttp.ClientSession, pod: Pod, job_uid: str) -> None:
        async with self._slots:
            progress = await _fetch(session, pod, self._clock)
        uid = pod.metadata.uid
        if progress and (progress.job.pod_uid, progress.job.uid) == (uid, job_uid):
            self._cache.progress[uid] = progress
            self._misses.pop(uid, None)
            self._cache.unreachable.discard(uid)
            news = has_news(progress, self._queued.get(uid))
            if news:
                self._queued[uid] = progress
        else:
            self._misses[uid] += 1
            news = self._misses[uid] == MISSES
            if news:  # the last report is too old
                self._cache.progress.pop(uid, None)
                self._queued.pop(uid, None)
                self._cache.unreachable.add(uid)
        if news:
            name = pod.metadata.labels.get(c.LABEL_JOB, "")
            self._queue.add((pod.metadata.namespace, name))


async def _fetch(
    session: aiohttp.ClientSession, pod: Pod, clock: Callable[[], datetime.datetime]
) -> Progress | None:
    address = pod.status.pod_ip
    host = f"[{address}]" if ":" in address else address
    try:
        url = f"http://{host}:{c.TRAINER_PORT}/progress"
        async with session.get(url, allow_redirects=False) as response:
            body = await response.content.read(MAX_BYTES + 1)
            while len(body) <= MAX_BYTES and (more := await response.content.read(MAX_BYTES)):
                body += more
            sent_at = _time(response.headers.get("Date", ""))
    except (TimeoutError, aiohttp.ClientError, OSError) as error:
        log.debug("progress of %s: %r", pod.metadata.name, error)
        return None
    progress = parse_progress(body) if len(body) <= MAX_BYTES else None
    if progress is None:
        return None
    return msgspec.structs.replace(progress, read_at=clock(), sent_at=sent_at)


def _time(date: str) -> datetime.datetime | None:
    try:
        return email.utils.parsedate_to_datetime(date)
    except (ValueError, OverflowError):
        return None
