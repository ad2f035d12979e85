"""The watch of FineTuneJobs, by kopf, which also ends the process on SIGTERM.

No finalizer, annotation, daemon, timer or index of kopf is used: its one handler updates the cache
and adds the key to the queue. Jobs and pods have an informer of their own (kube/informer), because
kopf keeps whole objects: docs/design/20261124-watching.md.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import kopf
from kubernetes.aio.client import Configuration

from finetune_operator.api import constants as c
from finetune_operator.api.kubernetes import Discovery, Named
from finetune_operator.kube import urls
from finetune_operator.kube.client import ApiError, Client
from finetune_operator.kube.informer import watch_idle_seconds
from finetune_operator.kube.login import configure
from finetune_operator.kube.workqueue import WorkQueue
from finetune_operator.observe.cache import Cache, Key
from finetune_operator.settings import Settings

IDENTITY: Any = "finetune-operator"
"""Name for kopf, which else asks for the user's name: on OpenShift the user has none."""
log = logging.getLogger(__name__)

SECONDS_BETWEEN_LOOKS = 1.0
"""Seconds until it is asked again whether FineTuneJobs are served."""


class _Backoffs:
    """The seconds between kopf's retries: doubled up to a limit, without end.

    kopf retries a refusal (403), too: a named namespace may be created later, or its Role.
    """

    def __init__(self, *, most: float) -> None:
        self._most = most

    def __iter__(self) -> Iterator[float]:
        delay = 1.0
        while True:
            yield delay
            delay = min(delay * 2, self._most)


class _NoDiffs(kopf.DiffBaseStorage):
    """A storage of nothing: to tell what changed, kopf would copy each object twice."""

    def build(self, **_: Any) -> kopf.BodyEssence:
        return kopf.BodyEssence({})

    def fetch(self, **_: Any) -> kopf.BodyEssence | None:
        return None

    def store(self, **_: Any) -> None:
        pass


async def watch_jobs(
    client: Client,
    cache: Cache,
    queue: WorkQueue[Key],
    settings: Settings,
    *,
    observe: Callable[..., None],
    ready: asyncio.Event,
    begin: Callable[[], Awaitable[None]],
) -> None:
    """Watch FineTuneJobs until SIGTERM; pass each event to the cache, `observe` and the queue.

    `begin` is awaited once they are served, before kopf lists them.
    """
    await until_served(client)
    await begin()
    registry = kopf.OperatorRegistry()
    handle = handler(cache, queue, observe)

    @kopf.on.login(registry=registry)
    async def login(**_: Any) -> kopf.ConnectionInfo:
        return await connection_of(await configure())

    @kopf.on.event(c.GROUP, c.VERSION, c.PLURAL, registry=registry)
    async def on_event(type: str | None, body: kopf.Body, **_: Any) -> None:
        handle(dict(body), deleted=type == "DELETED", listed=type is None)

    await kopf.operator(
        registry=registry,
        settings=_kopf_settings(settings.sweep_interval_seconds),
        namespaces=list(settings.namespaces),
        clusterwide=not settings.namespaces,
        standalone=True,
        identity=IDENTITY,
        ready_flag=ready,
    )


def handler(
    cache: Cache, queue: WorkQueue[Key], observe: Callable[..., None]
) -> Callable[..., None]:
    """Return the handler of an event of the watch.

    It queues the job, unless a pass has had this version already. So the echo of the operator's own
    write queues nothing. Of those that the list at the start finds, the new ones come first.
    """

    def handle(body: dict[str, Any], *, deleted: bool, listed: bool = False) -> None:
        version = body["metadata"]["resourceVersion"]
        key = cache.observe_fine_tune_job(body, deleted=deleted)
        observe(key, version, deleted=deleted)
        writing = key in cache.writing
        if writing:
            cache.writing[key] = version
        if deleted or not (writing or version == cache.reconciled.get(key)):
            queue.add(key, patient=listed and "startTime" in body.get("status", {}))

    return handle


async def connection_of(configuration: Configuration) -> kopf.ConnectionInfo:
    """Return the client's way to the API server for kopf: its own would need the cluster's DNS."""
    key = await configuration.get_api_key_with_prefix("BearerToken")
    scheme, _, token = (key or "").partition(" ")
    return kopf.ConnectionInfo(
        server=configuration.host,
        ca_path=configuration.ssl_ca_cert,
        ca_data=configuration.ca_cert_data,
        insecure=not configuration.verify_ssl,
        certificate_path=configuration.cert_file,
        private_key_path=configuration.key_file,
        scheme=scheme or None,
        token=token or None,
        proxy_url=configuration.proxy,
    )


async def until_served(client: Client) -> None:
    """Wait until the API server serves FineTuneJobs.

    kopf asks once, when it starts, and then watches what there is: nothing, if the API server has
    just started and not read its CRDs yet.
    """
    warned = False
    while not await _is_served(client):
        if not warned:
            log.warning(
                "the API server does not serve %s.%s yet: waiting. Is the CRD installed?",
                c.PLURAL,
                c.GROUP,
            )
        warned = True
        await asyncio.sleep(SECONDS_BETWEEN_LOOKS)


async def _is_served(client: Client) -> bool:
    try:
        groups = (await client.get(urls.GROUPS, Discovery)).groups
        resources = (await client.get(urls.RESOURCES, Discovery)).resources
    except ApiError as error:
        log.debug("discovery: %s", error)
        return False
    return Named(name=c.GROUP) in groups and Named(name=c.PLURAL) in resources


def _kopf_settings(sweep_interval_seconds: float) -> kopf.OperatorSettings:
    settings, lasts = kopf.OperatorSettings(), max(1, min(300, int(sweep_interval_seconds)))
    idle_seconds = watch_idle_seconds(lasts)
    # Memory: by default kopf keeps all FineTuneJobs of a list at once, and each body for 5 s more.
    settings.watching.chunk_size = 500
    settings.queueing.idle_timeout = 0.5
    settings.watching.server_timeout = lasts
    settings.watching.client_timeout = lasts + 30
    settings.watching.inactivity_timeout = idle_seconds
    settings.watching.connect_timeout = 10
    settings.networking.connect_timeout = 10
    settings.networking.request_timeout = 30
    # Sooner than the resync takes what a watch has missed for a sign that it is stale.
    settings.networking.error_backoffs = _Backoffs(most=min(60, idle_seconds))
    settings.networking.enforce_retry_after = True
    settings.scanning.disabled = True  # needs no right to watch CRDs
    settings.posting.enabled = False
    settings.persistence.diffbase_storage = _NoDiffs()
    settings.persistence.finalizer = f"{c.GROUP}/unused"  # never added to an object
    settings.process.ultimate_exiting_timeout = 20
    logging.getLogger("kopf").setLevel(logging.WARNING)
    logging.getLogger("aiohttp.access").propagate = False
    return settings
