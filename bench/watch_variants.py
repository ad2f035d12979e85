"""One way to fill the operator's cache, measured in a process of its own: prints one JSON object.

Nothing is reconciled: the queue is drained into nothing. Each variant has loaded the whole
operator, so that the figures are those of an operator.
"""

import asyncio
import ctypes
import functools
import gc
import json
import os
import resource
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import kopf
import msgspec
from finetune_operator import __main__ as operator
from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Job, Pod
from finetune_operator.api.types import FineTuneJob
from finetune_operator.kube import urls
from finetune_operator.kube.client import Client
from finetune_operator.kube.informer import Informer
from finetune_operator.kube.workqueue import WorkQueue
from finetune_operator.metrics import Metrics
from finetune_operator.observe import kopf_watch
from finetune_operator.observe.cache import Cache, Key, key_of
from finetune_operator.settings import Settings

SETTLE_SECONDS = 12  # kopf ends the task of an idle object after 5
LIMIT_SECONDS = 300
MIB = 1024 * 1024


class Watched:
    """The cache and the queue that a variant fills."""

    def __init__(self, client: Client) -> None:
        self.client = client
        self.cache = Cache()
        self.queue: WorkQueue[Key] = WorkQueue()

    def is_complete(self, count: int) -> bool:
        """Whether all of the `count` objects of each kind are cached."""
        return len(self.cache.jobs) == count and len(self.cache) == 2 * count

    def informers(self) -> list[Awaitable[None]]:
        """Return the operator's own watches of the children."""
        return [
            informer.run()
            for informer in operator._informers(
                self.client, self.cache, self.queue, Metrics(self.cache), Settings(), ""
            )
        ]

    async def drain(self) -> None:
        """Take every key and do nothing with it."""
        while True:
            self.queue.done(await self.queue.get())


async def watch_by_kopf(watched: Watched, *, children: bool, paged: bool) -> None:
    """Watch through kopf as the operator does; `children`: the Jobs and pods, too. `paged`: list by
    pages and forget a settled object at once, instead of kopf's defaults.
    """
    registry = kopf.OperatorRegistry()
    settings = kopf_watch._kopf_settings(300)
    settings.watching.chunk_size = 500 if paged else None
    settings.queueing.idle_timeout = 0.5 if paged else 5

    @kopf.on.login(registry=registry)
    def login(**options: Any) -> Any:
        return kopf.login_with_service_account(**options) or kopf.login_with_kubeconfig(**options)

    @kopf.on.event(c.GROUP, c.VERSION, c.PLURAL, registry=registry)
    async def job(type: str | None, body: kopf.Body, **_: Any) -> None:
        deleted = type == "DELETED"
        watched.queue.add(watched.cache.observe_fine_tune_job(dict(body), deleted=deleted))

    def child(kind: type[Any], take: Callable[..., Key | None]) -> Callable[..., Any]:
        async def observe(type: str | None, body: kopf.Body, **_: Any) -> None:
            if key := take(msgspec.convert(dict(body), kind), deleted=type == "DELETED"):
                watched.queue.add(key)

        return observe

    own = asyncio.gather(*([] if children else watched.informers()))
    if children:
        cache, on = watched.cache, functools.partial(kopf.on.event, registry=registry)
        settings.watching.label_selectors["jobs"] = c.CHILD_SELECTOR
        settings.watching.label_selectors["pods"] = c.CHILD_SELECTOR
        on("batch", "v1", "jobs")(child(Job, cache.observe_attempt))
        on("v1", "pods")(child(Pod, cache.observe_pod))
    shell = kopf.operator(registry=registry, settings=settings, clusterwide=True, standalone=True)
    await asyncio.gather(shell, own)


async def watch_by_informers(watched: Watched) -> None:
    """Watch all three kinds through the operator's own informer."""

    def take(job: FineTuneJob, *, deleted: bool, listed: bool) -> None:
        key = key_of(job)
        if deleted:
            watched.cache.forget(key)
        else:
            watched.cache.keep(job)
        watched.queue.add(key, patient=listed)

    kind: Any = FineTuneJob
    jobs = Informer(
        watched.client, urls.fine_tune_jobs(), kind, selector="", observe=take, known=tuple
    )
    await asyncio.gather(jobs.run(), *watched.informers())


VARIANTS: dict[str, Callable[[Watched], Awaitable[None]]] = {
    "kopf-defaults": functools.partial(watch_by_kopf, children=True, paged=False),
    "kopf": functools.partial(watch_by_kopf, children=True, paged=True),
    "mixed-defaults": functools.partial(watch_by_kopf, children=False, paged=False),
    "mixed": functools.partial(watch_by_kopf, children=False, paged=True),
    "own": watch_by_informers,
}


async def measure(variant: str, count: int, started: float) -> dict[str, float]:
    """Watch until all is cached and all has settled; return the figures."""
    gc.collect()
    figures = {"imported_mib": rss()}
    watched = Watched(await Client.connect())
    tasks = [asyncio.ensure_future(part) for part in (VARIANTS[variant](watched), watched.drain())]
    async with asyncio.timeout(LIMIT_SECONDS):
        while not watched.is_complete(count):
            ended, _ = await asyncio.wait(tasks, timeout=0.02, return_when=asyncio.FIRST_COMPLETED)
            for task in ended:
                task.result()
    figures["cached_s"] = time.monotonic() - started
    figures["cpu_s"] = sum(os.times()[:2])
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


async def main() -> None:
    status = 1
    try:
        figures = await measure(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]))
        print(json.dumps(figures), flush=True)
        status = 0
    except TimeoutError:
        print(f"not all was cached within {LIMIT_SECONDS} s", file=sys.stderr)
    finally:
        os._exit(status)  # an orderly end of all the watches is not what is measured


if __name__ == "__main__":
    asyncio.run(main())
