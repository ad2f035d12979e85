"""Lists all FineTuneJobs now and then: finds what a watch missed, drops what is gone.

kopf never reports deletions that happened while its watch was down.
"""

import asyncio
import logging

import msgspec

from finetune_operator import paths
from finetune_operator.cache import Cache, Key
from finetune_operator.client import ApiError, Client, ListMeta
from finetune_operator.objects import Metadata
from finetune_operator.workqueue import WorkQueue

METADATA_ONLY = "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"
log = logging.getLogger(__name__)


class _Item(msgspec.Struct):
    metadata: Metadata


class _Page(msgspec.Struct):
    metadata: ListMeta
    items: list[_Item] | None = None  # not [] when there is none


async def sweep(
    client: Client,
    cache: Cache,
    queue: WorkQueue[Key],
    *,
    namespaces: tuple[str, ...],
    interval_seconds: float,
) -> None:
    """Sweep for ever."""
    while True:
        await asyncio.sleep(interval_seconds)
        try:
            await _sweep(client, cache, queue, namespaces)
        except ApiError as error:
            log.warning("sweep: %s", error)


async def _sweep(
    client: Client, cache: Cache, queue: WorkQueue[Key], namespaces: tuple[str, ...]
) -> None:
    before = set(cache.jobs)
    found: set[Key] = set()
    for namespace in namespaces or ("",):
        query = {"limit": "500"}
        while True:
            page = await client.list(
                paths.fine_tune_jobs(namespace), _Page, query=query, accept=METADATA_ONLY
            )
            found |= {(i.metadata.namespace, i.metadata.name) for i in page.items or ()}
            if not page.metadata.next:
                break
            query["continue"] = page.metadata.next
    for key in before | found:  # reconcile forgets a key that is not there
        queue.add(key)
