"""The workers: each takes a key, reconciles it, and queues it again for later."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from finetune_operator.kube.client import ApiError, Conflict
from finetune_operator.kube.workqueue import Backoff, WorkQueue
from finetune_operator.metrics import Metrics
from finetune_operator.observe.cache import Key

STUCK_SECONDS = 300
log = logging.getLogger(__name__)


class Workers:
    """Runs a fixed number of reconciles at the same time, never two of one key."""

    def __init__(
        self,
        queue: WorkQueue[Key],
        reconcile: Callable[[Key], Awaitable[float | None]],
        metrics: Metrics,
    ) -> None:
        self._queue = queue
        self._reconcile = reconcile
        self._metrics = metrics
        self._backoff: Backoff[Key] = Backoff()
        self._started: dict[Key, float] = {}

    async def run(self, count: int) -> None:
        """Run `count` workers for ever."""
        async with asyncio.TaskGroup() as group:
            for _ in range(count):
                group.create_task(self._work())

    def stuck(self) -> str:
        """Return the keys whose reconcile takes too long, or nothing."""
        limit = time.monotonic() - STUCK_SECONDS
        keys = [f"{ns}/{name}" for (ns, name), start in self._started.items() if start < limit]
        return f"stuck: {', '.join(keys)}" if keys else ""

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            self._started[key] = time.monotonic()
            try:
                with self._metrics.reconcile_seconds.time():
                    again = await self._reconcile(key)
                self._backoff.forget(key)
                if again is not None:
                    self._queue.add_after(key, again)
            except Conflict:  # it changed since it was read: read it again
                self._queue.add_after(key, self._backoff.next(key))
            except ApiError as error:
                self._metrics.reconcile_errors.inc()
                delay = max(self._backoff.next(key), error.retry_after or 0)
                log.warning("%s/%s: %s; again in %.1f s", *key, error, delay)
                self._queue.add_after(key, delay)
            except Exception:
                self._metrics.reconcile_errors.inc()
                log.exception("%s/%s", *key)
                self._queue.add_after(key, self._backoff.next(key))
            finally:
                del self._started[key]
                self._queue.done(key)
