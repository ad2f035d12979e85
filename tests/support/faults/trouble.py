"""What can go wrong between the operator and its API server, as seeded plans: data, no I/O."""

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

MOST_FAULTS = 12  # of one plan: then the API server is well again
SHARE = 0.3  # of the requests, until then


@dataclass(frozen=True)
class Call:
    """A request of the operator."""

    method: str
    path: str
    is_watch: bool
    is_page: bool = False
    """Of a list that is read in pages, as an informer's is."""

    @property
    def is_election(self) -> bool:
        """Of a Lease: it is renewed as time goes by, whatever there is to do."""
        return "/leases" in self.path


@dataclass(frozen=True, kw_only=True)
class Fault:
    """What happens to a request."""

    forwarded: bool = True
    """Whether the API server gets it: then it is done, whatever is answered."""
    delay_seconds: float = 0
    gate: asyncio.Event | None = None
    """What it waits for after that."""
    status: int | None = None
    """Answered instead of the API server's."""
    retry_after: int | None = None
    cut: bool = False
    """No answer: the connection ends."""


@dataclass(frozen=True)
class Fate:
    """How a watch ends, after so many lines."""

    lines: int
    end: Literal["cut", "frozen", "gone"]


def _refused(status: int, *, retry_after: int | None = None) -> Fault:
    return Fault(forwarded=False, status=status, retry_after=retry_after)


Plan = Callable[[random.Random, Call], Fault | Fate | None]


def _conflict(_: random.Random, call: Call) -> Fault | None:
    return _refused(409) if call.method == "PATCH" else None


def _unprocessable(_: random.Random, call: Call) -> Fault | None:
    return _refused(422) if call.method in ("PATCH", "POST") else None


def _throttled(_: random.Random, call: Call) -> Fault:
    return _refused(429, retry_after=1)


def _broken(dice: random.Random, call: Call) -> Fault:
    return _refused(dice.choice((500, 502, 503, 504)))


def _unanswered(dice: random.Random, call: Call) -> Fault | None:
    """The worst one: it was done, and the operator does not know."""
    return Fault(cut=True) if dice.random() < 0.5 else Fault(status=500)


def _slow(dice: random.Random, call: Call) -> Fault:
    return Fault(delay_seconds=dice.uniform(0.2, 1.5))


def _watch(end: Literal["cut", "frozen", "gone"]) -> Plan:
    def fate(dice: random.Random, call: Call) -> Fate | None:
        return Fate(dice.randint(0, 4), end) if call.is_watch else None

    return fate


PLANS: dict[str, Plan] = {
    "conflict": _conflict,
    "unprocessable": _unprocessable,
    "throttled": _throttled,
    "broken": _broken,
    "unanswered": _unanswered,
    "slow": _slow,
    "cut": _watch("cut"),
    "frozen": _watch("frozen"),
    "gone": _watch("gone"),
}


class Trouble:
    """One plan with its seed; without a plan all is well."""

    def __init__(self, plan: str = "", *, seed: int = 0) -> None:
        self.refuses = plan == "unprocessable"
        """Whether a create may be refused, which is tried again only after a while."""
        self.hides_writes = plan == "unanswered"
        """Whether a write may be done without the operator's knowledge."""
        self._plan = PLANS.get(plan)
        self._dice = random.Random(f"{plan} {seed}")
        self._share = 0.8 if plan in ("cut", "frozen", "gone") else SHARE
        self.faults = 0
        """How many there were."""

    def of(self, call: Call) -> Fault | Fate | None:
        """Return what happens to this request."""
        if not self._plan or call.is_election or self.faults == MOST_FAULTS:
            return None
        # The first chance is always taken: a run without any trouble would show nothing.
        if self.faults and self._dice.random() > self._share:
            return None
        fault = self._plan(self._dice, call)
        self.faults += fault is not None
        return fault


class Stale(Trouble):
    """What an operator with an old cache goes through: it hears of no child but those that its
    first lists had, and what it writes arrives when the `gate` is opened.
    """

    def __init__(self, gate: asyncio.Event) -> None:
        super().__init__()
        self.gate = gate
        self._listed: set[str] = set()
        self._watched: set[str] = set()

    @property
    def holds(self) -> bool:
        """Whether its cache is as it will stay: what is watched has been listed."""
        return self._watched >= {"jobs", "pods", "finetunejobs"}

    def of(self, call: Call) -> Fault | Fate | None:
        """Return what happens to this request."""
        if call.is_election:
            return None
        if call.is_watch:
            self._watched.add(call.path.rpartition("/")[2])
            return Fate(0, "frozen")
        if call.is_page and call.path.endswith(("/jobs", "/pods")):
            if call.path in self._listed:
                return Fault(forwarded=False, gate=asyncio.Event())  # never opened
            self._listed.add(call.path)
        return Fault(gate=self.gate) if call.method != "GET" else None
