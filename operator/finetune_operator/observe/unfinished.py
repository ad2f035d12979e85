"""The FineTuneJobs that are not finished, listed at the start before kopf lists all.

kopf needs a millisecond for each object, so among 10,000 finished jobs a new one would wait for ten
seconds. The API server selects by the phase, which the CRD declares as a selectable field.
https://kep.k8s.io/4358
"""

import logging
from collections.abc import Sequence

import msgspec

from finetune_operator.api.types import FineTuneJob
from finetune_operator.kube import urls
from finetune_operator.kube.client import ApiError, Client
from finetune_operator.kube.workqueue import WorkQueue
from finetune_operator.observe.cache import Cache, Key, key_of

SELECTOR = "status.phase!=Complete,status.phase!=Failed"
log = logging.getLogger(__name__)


async def list_unfinished(
    client: Client, cache: Cache, queue: WorkQueue[Key], namespaces: Sequence[str]
) -> None:
    """Add all unfinished FineTuneJobs to the cache and the queue, the new ones first.

    What cannot be listed or decoded is left to kopf and to the pass.
    """
    for namespace in namespaces or ("",):
        path, query = urls.fine_tune_jobs(namespace), {"fieldSelector": SELECTOR}
        try:
            async for page in client.pages(path, msgspec.Raw, query=query):
                for body in page.items:
                    _take(body, cache, queue)
        except ApiError as error:
            log.info("unfinished FineTuneJobs of %s: %s", namespace or "all namespaces", error)


def _take(body: msgspec.Raw, cache: Cache, queue: WorkQueue[Key]) -> None:
    try:
        job = msgspec.json.decode(body, type=FineTuneJob)
    except msgspec.ValidationError:
        return
    cache.keep(job)
    queue.add(key_of(job), patient=job.status.start_time is not None)
