"""Polls every running trainer for its progress.

A pod that hangs, floods or sends false reports harms only itself: concurrency, time and size are
bounded, and a report must carry the uids of its pod and its job. Pods that did not answer promptly
share a few connections of their own, so that however many they are, the others are asked in time.
"""

import asyncio
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
from finetune_operator.logs import about
from finetune_operator.observe.cache import Cache, Key
from finetune_operator.policy.progress import differ_in_figures_only, has_news

PROMPT_CONCURRENCY = 128
SLOW_CONCURRENCY = 32
PROMPT_SECONDS = 0.5
"""The time of an answer up to which a pod is prompt; one that was never asked is, too."""
TIMEOUT_SECONDS = 2
MAX_BYTES = 64 * 1024
MISSES = 12
"""Intervals without an answer after which a pod is unreachable: a minute by default."""
FIGURES_PER_SECOND = 50
"""Most jobs that are queued in a second because nothing but their figures has changed: each write
of a status costs the API server about 10 ms of CPU. So 1,000 jobs are written each 20 s, and 200
at each poll."""
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
        prompt: int = PROMPT_CONCURRENCY,
        slow: int = SLOW_CONCURRENCY,
        figures_per_second: float = FIGURES_PER_SECOND,
    ) -> None:
        self._cache = cache
        self._queue = queue
        self._interval = interval_seconds
        self._figures_per_second = figures_per_second
        self._clock = clock
        self._prompt = asyncio.Semaphore(prompt)
        self._slow = asyncio.Semaphore(slow)
        self._slow_pods: set[str] = set()  # uids
        self._asked: set[str] = set()  # uids of the pods that are being asked
        self._missed_since: dict[str, float] = {}  # loop time of the first miss, by pod uid
        # The report that last queued its job, and when, by pod uid.
        self._queued: dict[str, tuple[Progress, float]] = {}
        self._running = 0

    async def run(self) -> None:
        """Poll for ever."""
        timeout = aiohttp.ClientTimeout(total=TIMEOUT_SECONDS)
        connector = aiohttp.TCPConnector(limit=0, force_close=True)  # the semaphores limit them
        # Without decompression the size limit is also the limit of memory.
        async with (
            aiohttp.ClientSession(
                timeout=timeout, connector=connector, auto_decompress=False
            ) as session,
            asyncio.TaskGroup() as polls,
        ):
            while True:
                pods = list(self._cache.reporting_pods())
                self._running = len(pods)
                self._forget_all_but({pod.metadata.uid for pod, _ in pods})
                for pod, job_uid in pods:
                    if pod.metadata.uid not in self._asked:
                        self._asked.add(pod.metadata.uid)
                        polls.create_task(self._poll(session, pod, job_uid))
                await asyncio.sleep(self._interval * random.uniform(0.9, 1.1))

    def _forget_all_but(self, running: set[str]) -> None:
        """Drop the reports of pods that run no more."""
        for uid in self._cache.progress.keys() - running:
            del self._cache.progress[uid]
        for uid in self._missed_since.keys() - running:
            del self._missed_since[uid]
        for uid in self._queued.keys() - running:
            del self._queued[uid]
        self._slow_pods &= running
        self._cache.unreachable &= running

    async def _poll(self, session: aiohttp.ClientSession, pod: Pod, job_uid: str) -> None:
        uid, loop = pod.metadata.uid, asyncio.get_running_loop()
        async with self._slow if uid in self._slow_pods else self._prompt:
            start = loop.time()
            progress = await _fetch(session, pod, self._clock)
            prompt = progress is not None and loop.time() - start <= PROMPT_SECONDS
        self._asked.discard(uid)
        (self._slow_pods.discard if prompt else self._slow_pods.add)(uid)
        self._take(pod, job_uid, progress, loop.time())

    def _take(self, pod: Pod, job_uid: str, progress: Progress | None, now: float) -> None:
        """Keep the report, or count the time without one; queue the job if that changes it."""
        uid = pod.metadata.uid
        if progress and (progress.job.pod_uid, progress.job.uid) == (uid, job_uid):
            self._cache.progress[uid] = progress
            self._missed_since.pop(uid, None)
            self._cache.unreachable.discard(uid)
            news = self._is_due(progress, uid, now)
            if news:
                self._queued[uid] = progress, now
        else:
            since = self._missed_since.setdefault(uid, now)
            silent = now - since >= (MISSES - 1) * self._interval
            news = silent and uid not in self._cache.unreachable
            if news:  # the last report is too old
                self._cache.progress.pop(uid, None)
                self._queued.pop(uid, None)
                self._cache.unreachable.add(uid)
        if news:
            name = pod.metadata.labels.get(c.LABEL_JOB, "")
            self._queue.add((pod.metadata.namespace, name))

    def _is_due(self, progress: Progress, uid: str, now: float) -> bool:
        """Return True if the report changes the status, and its figures may be written again."""
        if uid not in self._queued:
            return True
        old, since = self._queued[uid]
        rests = now - since < self._running / self._figures_per_second
        return has_news(progress, old) and not (rests and differ_in_figures_only(progress, old))


async def _fetch(
    session: aiohttp.ClientSession, pod: Pod, clock: Callable[[], datetime.datetime]
) -> Progress | None:
    about(pod.metadata.namespace, pod.metadata.labels.get(c.LABEL_JOB, ""))
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
