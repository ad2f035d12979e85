"""One way to fill the operator's cache, measured in a process of its own: prints one JSON object.

Nothing is reconciled: the queue is drained into nothing. Every variant has loaded the whole
operator (but "own" not kopf), so that the figures are those of an operator.
"""

import asyncio
import ctypes
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
from finetune_operator import constants as c
from finetune_operator import paths
from finetune_operator.cache import Cache, Key, summarize
from finetune_operator.client import Client
from finetune_operator.objects import Job, Metadata, Object, Pod
from finetune_operator.settings import Settings
from finetune_operator.workqueue import WorkQueue

SETTLE_SECONDS = 12  # kopf ends the task of an idle object after 5
MIB = 1024 * 1024
VARIANTS = {
    "kopf": "kopf for all three kinds",
    "mixed": "kopf for FineTuneJobs, own informers",
    "own": "own informers for all three, no kopf",
}
"""Names of the variants, with what they are."""


class Watched:
    """The cache and the queue that a variant fills."""

    def __init__(self) -> None:
        self.cache = Cache()
        self.queue: WorkQueue[Key] = WorkQueue()

    def note(self, take: Callable[..., Key | None]) -> Callable[..., None]:
        """Return an observer that also queues, as the operator's do."""

        def seen(child: Any, *, gone: bool) -> None:
            if key := take(child, gone=gone):
                self.queue.add(key)

        return seen

    def is_complete(self, count: int) -> bool:
        """Whether all of the `count` objects of each kind are cached."""
        return len(self.cache.jobs) == count and len(self.cache) == 2 * count

    async def drain(self) -> None:
        """Take every key and do nothing with it."""
        while True:
            self.queue.done(await self.queue.get())


async def watch_by_kopf(watched: Watched, client: Client) -> None:
    """Watch all three kinds through kopf, with its own server-side selector for the children."""
    import kopf
    from finetune_operator import handlers

    registry = kopf.OperatorRegistry()
    settings = handlers._kopf_settings()
    for plural in ("pods", "jobs"):
        settings.watching.label_selectors[plural] = c.CHILD_SELECTOR

    @kopf.on.login(registry=registry)
    def login(**options: Any) -> Any:
        return kopf.login_with_service_account(**options) or kopf.login_with_kubeconfig(**options)

    @kopf.on.event(c.GROUP, c.VERSION, c.PLURAL, registry=registry)
    async def job(type: str | None, body: kopf.Body, **_: Any) -> None:
        gone = type == "DELETED"
        watched.queue.add(watched.cache.observe_fine_tune_job(dict(body), gone=gone))

    def child(kind: type[Any], take: Callable[..., Key | None]) -> Callable[..., Any]:
        seen = watched.note(take)

        async def observe(type: str | None, body: kopf.Body, **_: Any) -> None:
            seen(msgspec.convert(dict(body), kind), gone=type == "DELETED")

        return observe

    cache = watched.cache
    kopf.on.event("batch", "v1", "jobs", registry=registry)(child(Job, cache.observe_attempt))
    kopf.on.event("v1", "pods", registry=registry)(child(Pod, cache.observe_pod))
    await kopf.operator(registry=registry, settings=settings, clusterwide=True, standalone=True)


async def watch_mixed(watched: Watched, client: Client) -> None:
    """Watch as the operator does."""
    from finetune_operator import handlers

    jobs = handlers.watch_jobs(watched.cache, watched.queue, Settings(), ready=asyncio.Event())
    await asyncio.gather(jobs, *_children(watched, client))


async def watch_by_informers(watched: Watched, client: Client) -> None:
    """Watch all three kinds through the operator's own informer."""
    from finetune_operator.informer import Informer

    def take(job: FineTuneJob, *, gone: bool) -> None:
        key = job.metadata.namespace, job.metadata.name
        if gone:
            watched.cache.jobs.pop(key, None)
        else:
            status: Any = job.status
            watched.cache.jobs[key] = summarize(job.metadata.uid, status)
        watched.queue.add(key)

    jobs = Informer(client, paths.fine_tune_jobs(), FineTuneJob, selector="", observe=take)  # type: ignore[type-var]
    await asyncio.gather(jobs.run(), *_children(watched, client))


class Progress(Object):
    progress_percentage: int | None = None


class Status(Object):
    phase: str = ""
    accuracy: str = ""
    attempts: int = 0
    trainer_status: Progress | None = None


class FineTuneJob(Object):
    """Of a FineTuneJob, what the metrics need."""

    metadata: Metadata
    status: Status = Status()


def _children(watched: Watched, client: Client) -> list[Any]:
    from finetune_operator.informer import Informer

    cache, selector = watched.cache, c.CHILD_SELECTOR
    attempts = watched.note(cache.observe_attempt)
    pods = watched.note(cache.observe_pod)
    return [
        Informer(client, paths.jobs(), Job, selector=selector, observe=attempts).run(),
        Informer(client, paths.pods(), Pod, selector=selector, observe=pods).run(),
    ]


WATCHES = {"kopf": watch_by_kopf, "mixed": watch_mixed, "own": watch_by_informers}


def load_operator(*, kopf: bool) -> None:
    """Import all that an operator needs."""
    from finetune_operator import metrics, progress, reconcile, server, sweep, workers  # noqa: F401

    if kopf:
        import finetune_operator.__main__  # noqa: F401


async def measure(variant: str, count: int, started: float) -> dict[str, float]:
    """Watch until all is cached and all has settled; return the figures."""
    load_operator(kopf=variant != "own")
    gc.collect()
    figures = {"imported_mib": rss()}
    client = await Client.connect()
    watched = Watched()
    parts = [WATCHES[variant](watched, client), watched.drain()]
    tasks = [asyncio.ensure_future(part) for part in parts]
    async with asyncio.timeout(300):
        while not watched.is_complete(count):
            await asyncio.wait(tasks, timeout=0.02, return_when=asyncio.FIRST_COMPLETED)
            [task.result() for task in tasks if task.done()]
    figures["cached_s"] = time.monotonic() - started
    figures["cpu_s"] = cpu()
    await asyncio.sleep(SETTLE_SECONDS)
    gc.collect()
    figures["settled_mib"] = rss()
    ctypes.CDLL("libc.so.6").malloc_trim(0)
    figures["trimmed_mib"] = rss()
    figures["peak_mib"] = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return figures


def rss() -> float:
    """Resident memory now, in MiB."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / MIB


def cpu() -> float:
    """CPU seconds since the start of the process."""
    times = os.times()
    return times.user + times.system


async def main() -> None:
    figures = await measure(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
    print(json.dumps(figures), flush=True)
    os._exit(0)  # an orderly end of all the watches is not what is measured


if __name__ == "__main__":
    asyncio.run(main())
