"""The workers: each takes a key, reconciles it, and queues it again for later."""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable

from finetune_operator.kube.client import ApiError, Conflict
from finetune_operator.kube.workqueue import Backoff, WorkQueue
from finetune_operator.metrics.process import Process
from finetune_operator.observe.cache import Key

STUCK_SECONDS = 300
log = logging.getLogger(__name__)


class Workers:
    """Runs a fixed number of reconciles at the same time, never two of one key."""

    def __init__(
        self,
        queue: WorkQueue[Key],
        reconcile: Callable[[Key], Awaitable[float | None]],
        metrics: Process,
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

    def longest_running(self) -> float:
        """Return the seconds of the reconcile that is longest at work, 0 if there is none."""
        now = time.monotonic()
        return max((now - start for start in self._started.values()), default=0)

    async def _work(self) -> None:
        while True:
            key = await self._queue.get()
            self._started[key] = time.monotonic()
            try:
                with self._metrics.work_seconds.time():
                    again = await self._reconcile(key)
            except Conflict:  # it changed since it was read: read it again
                self._retry(key, "conflict")
            except ApiError as error:
                delay = self._retry(key, "error", least=error.retry_after or 0)
                log.warning("%s/%s: %s; again in %.1f s", *key, error, delay)
            except Exception:
                self._retry(key, "error")
                log.exception("%s/%s", *key)
            else:
                self._metrics.reconciles.labels("success").inc()
                self._backoff.forget(key)
                if again is not None:
                    self._queue.add_after(key, again)
            finally:
                del self._started[key]
                self._queue.done(key)

    def _retry(self, key: Key, result: str, *, least: float = 0) -> float:
        """Count a pass without success, and add its key again; return the seconds until then."""
        self._metrics.reconciles.labels(result).inc()
        self._metrics.retries.inc()
        delay = max(self._backoff.next(key), least)
        self._queue.add_after(key, delay)
        return delay
