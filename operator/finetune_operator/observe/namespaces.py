"""The informers of each watched namespace; one that cannot be listed holds up no other."""

import asyncio
from collections.abc import Mapping
from typing import Any

from finetune_operator.kube.informer import Informer

POLL_SECONDS = 0.1


class Namespaces:
    """Reports which namespaces are listed; "" stands for all of the cluster."""

    def __init__(self, informers: Mapping[str, tuple[Informer[Any], ...]]) -> None:
        self._informers = informers

    def is_listed(self, namespace: str) -> bool:
        """Return True if the cache has the children of this namespace."""
        informers = self._informers.get(namespace) or self._informers.get("", ())
        return all(informer.synced.is_set() for informer in informers)

    def not_ready(self) -> str:
        """Return why no work can begin, or nothing once all are listed that can be.

        A namespace that was deleted, or whose Role was, is not waited for, unless it is the last.
        """
        all_informers = [each for group in self._informers.values() for each in group]
        if not all(informer.synced.is_set() or informer.problem for informer in all_informers):
            return "the first lists are not complete"
        if any(map(self.is_listed, self._informers)):
            return ""
        return f"no namespace can be listed: {all_informers[0].problem}"

    async def until_ready(self) -> None:
        """Wait until work can begin."""
        while self.not_ready():  # noqa: ASYNC110 - any of many events
            await asyncio.sleep(POLL_SECONDS)

    def broken(self) -> int:
        """Return the number of namespaces that cannot be listed or watched now."""
        return sum(any(each.problem for each in group) for group in self._informers.values())

    def last_heard(self, resource: str) -> float:
        """Return the loop time when the most idle watch of this resource was last heard from."""
        informers = [each for group in self._informers.values() for each in group]
        return min(each.last_heard for each in informers if each.resource == resource)
