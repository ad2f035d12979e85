"""Reads why Kueue holds the Jobs that it suspends: the cause is on their Workloads.

One list for each namespace with such a Job, so the requests do not grow with the number of jobs. A
cluster without Kueue, or without suspended Jobs, is asked for nothing.
"""

import asyncio
import logging
import random

import msgspec

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import ApiGroup, Job, Workload
from finetune_operator.kube import urls
from finetune_operator.kube.client import ApiError, Client, Forbidden, NotFound
from finetune_operator.kube.workqueue import WorkQueue
from finetune_operator.observe.cache import Cache, Key

INTERVAL_SECONDS = 3.0
WITHOUT_KUEUE_SECONDS = 300.0
"""Seconds until a cluster without Kueue, or without the right to read it, is asked again."""
log = logging.getLogger(__name__)


class QueueReader:
    """Updates cache.workloads, and queues the jobs whose Workload changed."""

    def __init__(
        self,
        client: Client,
        cache: Cache,
        queue: WorkQueue[Key],
        *,
        interval_seconds: float = INTERVAL_SECONDS,
    ) -> None:
        self._client = client
        self._cache = cache
        self._queue = queue
        self._interval = interval_seconds
        self._version = ""
        self._asked_again_at = 0.0
        self._refused_until: dict[str, float] = {}  # loop time, by namespace

    async def run(self) -> None:
        """Read for ever."""
        loop = asyncio.get_running_loop()
        while True:
            start = loop.time()
            await self.read()
            # Large lists are read less often: at most a tenth of the time.
            pause = max(self._interval, 9 * (loop.time() - start))
            await asyncio.sleep(pause * random.uniform(0.9, 1.1))

    async def read(self) -> None:
        """Read the Workloads of all suspended Jobs once."""
        jobs = {job.metadata.uid: job for job in self._cache.queued_attempts()}
        for uid in self._cache.workloads.keys() - jobs.keys():
            del self._cache.workloads[uid]
        if not jobs or asyncio.get_running_loop().time() < self._asked_again_at:
            return
        try:
            for namespace in sorted({job.metadata.namespace for job in jobs.values()}):
                await self._read(namespace, jobs)
        except NotFound:  # no Kueue, or one that serves another version now
            self._ask_later()
        except (ApiError, msgspec.DecodeError) as error:
            log.warning("workloads of Kueue: %s", error)

    async def _read(self, namespace: str, jobs: dict[str, Job]) -> None:
        """Read one namespace; one without the right to do so harms no other."""
        time = asyncio.get_running_loop().time()
        if time < self._refused_until.get(namespace, 0.0):
            return
        try:
            await self._list(namespace, jobs)
        except Forbidden as error:
            log.warning("workloads of Kueue: %s", error)
            self._refused_until[namespace] = time + WITHOUT_KUEUE_SECONDS

    async def _list(self, namespace: str, jobs: dict[str, Job]) -> None:
        if not self._version:
            group = await self._client.get(urls.KUEUE, ApiGroup)
            self._version = group.preferred_version.version
        path = urls.workloads(namespace, self._version)
        query = {"labelSelector": c.LABEL_WORKLOAD_JOB}
        async for page in self._client.pages(path, msgspec.Raw, query=query):
            for workload in filter(None, map(_decode, page.items)):
                job = jobs.get(workload.metadata.labels.get(c.LABEL_WORKLOAD_JOB, ""))
                if job and workload.metadata.controller_uid == job.metadata.uid:
                    self._observe(job, workload)

    def _observe(self, job: Job, workload: Workload) -> None:
        before = self._cache.workloads.get(job.metadata.uid)
        self._cache.workloads[job.metadata.uid] = workload
        if before is None or (before.spec, before.status) != (workload.spec, workload.status):
            self._queue.add((job.metadata.namespace, job.metadata.labels.get(c.LABEL_JOB, "")))

    def _ask_later(self) -> None:
        self._version = ""
        self._asked_again_at = asyncio.get_running_loop().time() + WITHOUT_KUEUE_SECONDS


def _decode(raw: msgspec.Raw) -> Workload | None:
    """Decode a Workload; one that cannot be read hides only its own cause."""
    try:
        return msgspec.json.decode(raw, type=Workload)
    except msgspec.DecodeError as error:
        log.warning("a Workload of Kueue: %s", error)
        return None
