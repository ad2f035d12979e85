"""Plays one scenario with one operator behind one proxy, and checks how it ends."""

import asyncio
import functools
import itertools
import tempfile
from collections.abc import Awaitable, Callable, Coroutine, Iterable
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.cluster.controlplane import ControlPlane
from tests.support.faults.kubelet import Kubelet
from tests.support.faults.operators import Counted, Operator
from tests.support.faults.proxy import Proxy, Strike
from tests.support.faults.scenarios import End, Scenario, apply, end_of
from tests.support.faults.trouble import Trouble
from tests.support.faults.watched_cluster import Namespace, WatchedCluster

QUIET_SECONDS = 0.7  # longer than the pauses of a healthy operator with work to do
NUMBERS = itertools.count(1)


@dataclass(frozen=True, kw_only=True)
class Kill:
    """When the operator is killed, to be started again at once."""

    call: int
    passed_on: bool = False


@dataclass(frozen=True, kw_only=True)
class Run:
    """What came of it."""

    calls: int
    """Requests of the operator, watches apart."""
    killed: bool
    faults: int


async def all_of(runs: Iterable[Coroutine[Any, Any, Run]]) -> list[Run]:
    """Wait for all runs, and only then raise what has failed."""
    ends = await asyncio.gather(*runs, return_exceptions=True)
    if errors := [end for end in ends if isinstance(end, Exception)]:
        raise ExceptionGroup(f"{len(errors)} of {len(ends)} runs failed", errors)
    return [end for end in ends if isinstance(end, Run)]


class Stage:
    """Where runs take place, some `at_once`; a context manager."""

    def __init__(
        self, plane: ControlPlane, *, token: str, at_once: int, end_seconds: float = 60
    ) -> None:
        self._plane = plane
        self._end_seconds = end_seconds
        self._token = token
        self._slots = asyncio.Semaphore(at_once)

    async def __aenter__(self) -> Self:
        """Connect to the API server."""
        self._directory = tempfile.TemporaryDirectory(prefix="finetune-faults-")
        self._cluster = await WatchedCluster(self._plane).__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Disconnect."""
        await self._cluster.__aexit__(kind, error, trace)
        self._directory.cleanup()

    async def play(
        self,
        scenario: Scenario,
        *,
        kill: Kill | None = None,
        trouble: Trouble | None = None,
        hidden_writes: int = 0,
    ) -> Run:
        """Play a scenario in a new namespace; AssertionError if it does not end as it must.

        `hidden_writes` is how many of its writes the operator may not know of.
        """
        # With an API server that keeps things back, the resync is part of the play.
        resync_seconds = 3 if trouble else 30
        trouble = trouble or Trouble()
        async with self._slots:
            namespace = await self._cluster.add_namespace(f"f-{next(NUMBERS)}")
            authority = self._plane.certificate_authority
            async with Proxy(
                self._plane.url, certificate_authority=authority, trouble=trouble
            ) as proxy:
                operator = Operator(
                    Path(self._directory.name) / namespace.name,
                    url=proxy.url,
                    token=self._token,
                    namespaces=namespace.name,
                    resync_seconds=resync_seconds,
                )
                lost: list[Counted] = []
                if kill:
                    restart = _restart(operator, proxy, lost)
                    proxy.strike = Strike(kill.call, restart, kill.passed_on)
                operator.start()
                try:
                    await _play(
                        scenario,
                        namespace,
                        proxy,
                        ends=scenario.ends(refused=trouble.refuses),
                        end_seconds=self._end_seconds,
                    )
                    assert operator.is_alive(), "the operator ended"
                    counted = functools.reduce(Counted.plus, lost, await operator.counted())
                    hidden = trouble.faults if trouble.hides_writes else hidden_writes
                    _check_counters(counted, namespace, may_lose=len(lost) + hidden)
                except (AssertionError, TimeoutError) as error:
                    calls = "\n".join(f"{c.method} {c.path}" for c in proxy.calls)
                    what = f"{scenario.name}, {kill}: {error!r}"
                    raise AssertionError(f"{what}\n{calls}\n{operator.log()}") from error
                finally:
                    operator.kill()
        killed = bool(kill) and proxy.strike is None
        return Run(calls=len(proxy.calls), killed=killed, faults=trouble.faults)


async def _play(
    scenario: Scenario,
    namespace: Namespace,
    proxy: Proxy,
    *,
    ends: tuple[End, ...],
    end_seconds: float,
) -> None:
    player = Kubelet(namespace, scenario.attempts, scenario.preparations)
    kubelet = asyncio.create_task(player.run())
    try:
        await apply(namespace, scenario)
        await scenario.user(namespace)
        await _end(ends, namespace, proxy, seconds=end_seconds)
    finally:
        kubelet.cancel()
        await asyncio.gather(kubelet, return_exceptions=True)
    assert not namespace.violations, namespace.violations


async def _end(
    ends: tuple[End, ...], namespace: Namespace, proxy: Proxy, *, seconds: float
) -> None:
    """Wait until the job is where it must come to, and the operator leaves it there."""

    def is_end() -> bool:
        return namespace.applied and end_of(namespace) in ends

    try:
        await namespace.until("the end", is_end, seconds=seconds)
    except AssertionError as error:
        raise AssertionError(f"{end_of(namespace)}, not {ends}; {error}") from None
    while proxy.quiet_seconds() < QUIET_SECONDS:  # noqa: ASYNC110
        await asyncio.sleep(0.1)
    assert is_end(), f"{end_of(namespace)} after the end"


def _check_counters(counted: Counted, namespace: Namespace, *, may_lose: int) -> None:
    """Check that no more transitions are lost than may be, and that none is counted twice."""
    if not namespace.job:  # deleted: its status is gone
        return
    status = namespace.last_status
    expected = Counted(
        attempts=len(status.get("history", [])),
        jobs=int(status.get("phase") in ("Complete", "Failed")),
    )
    for got, all_of_them in zip(counted, expected, strict=True):
        assert all_of_them - may_lose <= got <= all_of_them, f"{counted}, not {expected}"


def _restart(
    operator: Operator, proxy: Proxy, lost: list[Counted]
) -> Callable[[], Awaitable[None]]:
    async def restart() -> None:
        lost.append(await operator.counted())
        operator.kill()
        proxy.listen_anew()
        operator.start()

    return restart
