"""`python -m finetune_operator`: reads the settings, then runs every part in one event loop."""

import asyncio
import contextlib
import functools
import logging
import sys
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Job, Pod
from finetune_operator.certificate import Certificate, UnusableCertificate
from finetune_operator.kube import urls
from finetune_operator.kube.access import Access
from finetune_operator.kube.client import Client
from finetune_operator.kube.heartbeat import NOT_READY_SECONDS, UNHEALTHY_SECONDS, Heartbeat
from finetune_operator.kube.informer import Informer, watch_idle_seconds
from finetune_operator.kube.leader_election import Elector, LostLease
from finetune_operator.kube.login import UnusableProxy
from finetune_operator.kube.workqueue import WorkQueue
from finetune_operator.logs import JsonFormatter
from finetune_operator.metrics import Metrics
from finetune_operator.observe import kopf_watch
from finetune_operator.observe.cache import C, Cache, Key
from finetune_operator.observe.namespaces import Namespaces
from finetune_operator.observe.poller import Poller
from finetune_operator.observe.queues import QueueReader
from finetune_operator.observe.resync import Resync
from finetune_operator.observe.unfinished import list_unfinished
from finetune_operator.reconcile import Reconciler
from finetune_operator.server import Secure, Server
from finetune_operator.settings import Settings
from finetune_operator.workers import Workers

WAIT_FOR_LISTS_SECONDS = 1.0
KOPF_WAITS_SECONDS = 15.0
"""Longest time that kopf waits for the lists of Jobs and pods."""
LIVE_SECONDS = 5.0
"""Time without an event after which a watch may have missed something."""


async def run(settings: Settings) -> None:
    """Run until SIGTERM; raise if a part fails."""
    cache = Cache()
    metrics = Metrics(
        cache, leading=lambda: elector.leading.is_set(), job_limit=settings.metrics_job_limit
    )
    observe = metrics.process.count_request
    # No other request may delay a renewal.
    lease_client = await Client.connect(connections=2, observe=observe)
    elector = Elector(lease_client, settings)
    client = await Client.connect(time_to_write=elector.time_to_write, observe=observe)
    try:
        await _operate(client, settings, elector, cache, metrics)
    finally:  # nothing writes any more
        await elector.release()
        await lease_client.close()


async def _operate(
    client: Client, settings: Settings, elector: Elector, cache: Cache, metrics: Metrics
) -> None:
    """Watch at once; compete for the Lease once all is listed; reconcile as the leader."""
    process = metrics.process
    queue: WorkQueue[Key] = WorkQueue(added=process.adds.inc, waited=process.queue_seconds.observe)
    # Each watch keeps a connection: however many there are, requests have theirs.
    watch_client = await Client.connect(connections=0, observe=process.count_request)
    informers = {
        namespace: _informers(watch_client, cache, queue, metrics, settings, namespace)
        for namespace in settings.namespaces or ("",)
    }
    namespaces = Namespaces(informers)

    async def reconcile(key: Key) -> float | None:
        # Before the first lists a reconcile could miss its own Jobs.
        return await reconciler(key) if namespaces.is_listed(key[0]) else WAIT_FOR_LISTS_SECONDS

    workers = Workers(queue, reconcile, process)
    resync = Resync(
        client,
        cache,
        queue,
        namespaces=settings.namespaces,
        interval_seconds=settings.sweep_interval_seconds,
        patience_seconds=2 * watch_idle_seconds(settings.sweep_interval_seconds),
    )
    reconciler = Reconciler(
        client,
        cache,
        metrics,
        settings,
        clock=client.clock.now,
        watch_is_live=lambda: resync.seconds_since_heard() < LIVE_SECONDS,
    )
    poller = Poller(
        cache,
        queue,
        interval_seconds=settings.progress_interval_seconds,
        clock=client.clock.now,
    )
    queues = QueueReader(client, cache, queue)
    heartbeat = Heartbeat(client, urls.RESOURCES)
    watching = asyncio.Event()

    async def begin() -> None:
        await list_unfinished(client, cache, queue, settings.namespaces)
        with contextlib.suppress(TimeoutError):  # kopf's list would delay theirs
            await asyncio.wait_for(namespaces.until_ready(), KOPF_WAITS_SECONDS)

    def not_ready() -> str:
        if not watching.is_set():
            return "FineTuneJobs are not served yet"
        return namespaces.not_ready() or heartbeat.silent(NOT_READY_SECONDS)

    def unhealthy() -> str:
        stale = resync.missed_by_watch()
        return workers.stuck() or stale or heartbeat.silent(UNHEALTHY_SECONDS)

    process.show_watch_age(c.PLURAL, lambda: resync.last_heard)
    for resource in ("jobs", "pods"):
        process.show_watch_age(resource, functools.partial(namespaces.last_heard, resource))
    process.broken_namespaces.set_function(namespaces.broken)
    process.ready.set_function(lambda: not not_ready())
    process.depth.set_function(lambda: len(queue) if elector.leading.is_set() else 0)
    process.longest_running.set_function(workers.longest_running)
    server = Server(
        metrics=metrics,
        healthy=unhealthy,
        ready=not_ready,
        secure=_secure(settings, watch_client),
    )
    try:
        await _until_first_ends(
            kopf_watch.watch_jobs(
                client,
                cache,
                queue,
                settings,
                observe=resync.observe,
                ready=watching,
                begin=begin,
            ),
            server.run(settings.port),
            *(informer.run() for group in informers.values() for informer in group),
            _when_ready(
                namespaces, lambda: _when(elector.leading, lambda: workers.run(settings.workers))
            ),
            _when(elector.leading, poller.run),
            _when(elector.leading, queues.run),
            resync.run(),
            heartbeat.run(),
            _when_ready(namespaces, elector.run),
        )
    finally:
        await watch_client.close()
        await client.close()


def _secure(settings: Settings, client: Client) -> Secure | None:
    """Return the secure port of the metrics, if they are to have one; a standby's `client`, too,
    may ask about tokens.
    """
    if not settings.metrics_tls_directory:
        return None
    certificate = Certificate(Path(settings.metrics_tls_directory))
    return Secure(settings.metrics_tls_port, certificate, Access(client))


async def _when_ready(
    namespaces: Namespaces, begin: Callable[[], Coroutine[Any, Any, None]]
) -> None:
    await namespaces.until_ready()
    await begin()


async def _when(event: asyncio.Event, begin: Callable[[], Coroutine[Any, Any, None]]) -> None:
    await event.wait()
    await begin()


async def _until_first_ends(*parts: Coroutine[Any, Any, None]) -> None:
    """Run all parts until one ends (kopf's does on SIGTERM); then end the others."""
    tasks = [asyncio.create_task(part) for part in parts]
    try:
        done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in tasks:
            task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    for task in done:
        if not task.cancelled() and (error := task.exception()):
            raise error


def _informers(
    client: Client,
    cache: Cache,
    queue: WorkQueue[Key],
    metrics: Metrics,
    settings: Settings,
    namespace: str,
) -> tuple[Informer[Job], Informer[Pod]]:
    def observe(take: Callable[..., Key | None]) -> Callable[..., None]:
        def seen(child: Any, *, deleted: bool, listed: bool) -> None:
            if key := take(child, deleted=deleted):
                queue.add(key, patient=listed)

        return seen

    def informer(
        path: str, kind: type[C], take: Callable[..., Key | None], known: Callable[[str], list[C]]
    ) -> Informer[C]:
        return Informer(
            client,
            path,
            kind,
            selector=c.CHILD_SELECTOR,
            observe=observe(take),
            known=lambda: known(namespace),
            relist_seconds=settings.sweep_interval_seconds,
            watch_failed=metrics.process.watch_errors.labels(path.rpartition("/")[2]).inc,
        )

    return (
        informer(urls.jobs(namespace), Job, cache.observe_attempt, cache.attempts_in),
        informer(urls.pods(namespace), Pod, cache.observe_pod, cache.pods_in),
    )


def main() -> None:
    """Run the operator; an invalid setting ends it at once, with the name of its variable."""
    try:
        settings = Settings.from_environment()
    except ValueError as error:
        sys.exit(str(error))
    handler = logging.StreamHandler(sys.stdout)
    handler.setFormatter(JsonFormatter())
    logging.basicConfig(level=settings.log_level, handlers=[handler])
    try:
        asyncio.run(run(settings))
    except (UnusableProxy, UnusableCertificate) as unusable:
        sys.exit(str(unusable))
    except LostLease as lost:
        sys.exit(f"{lost}: this operator ends, and restarts as a standby")


if __name__ == "__main__":
    main()
