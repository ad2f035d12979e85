"""Asks the API server when nothing else does, so that the probes notice if no request gets through.

Requests may starve though the watches are well: a connection each is all that these need.
"""

import asyncio
import contextlib

from finetune_operator.kube.client import ApiError, Client

NOT_READY_SECONDS = 30
UNHEALTHY_SECONDS = 180
"""Longer than an API server takes to restart; a new process has new connections."""


class Heartbeat:
    """Knows for how long no request of a client was answered; a refusal is an answer."""

    def __init__(self, client: Client, path: str, *, interval_seconds: float = 10) -> None:
        self._client = client
        self._path = path
        self._interval = interval_seconds

    async def run(self) -> None:
        """Ask at each interval in which nothing was answered, for ever."""
        while True:
            await asyncio.sleep(self._interval)
            if self._client.seconds_since_answer() >= self._interval:
                with contextlib.suppress(ApiError):
                    await self._client.get(self._path, object)

    def silent(self, seconds: float) -> str:
        """Return the problem if no request was answered for this long, or nothing."""
        waited = self._client.unanswered_seconds()
        if waited < seconds:
            return ""
        return f"the API server has answered no request for {waited:.0f} s"
