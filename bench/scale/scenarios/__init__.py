"""What is done to a cluster, one module each: each measures one kind of work."""

from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any

from bench.scale.figures import Row
from bench.scale.scenarios import (
    burst,
    churn,
    ends,
    foreign,
    namespaces,
    one,
    polled,
    restart,
    slow,
    steady,
)
from bench.scale.scenarios.options import Options
from bench.scale.work import Work

Measure = Callable[[Work, Options], Coroutine[Any, Any, Row]]


@dataclass(frozen=True)
class Scenario:
    """What is measured, and whether it says something without an operator."""

    measure: Measure
    has_floor: bool = False


ALL: dict[str, Scenario] = {
    "one": Scenario(one.measure, has_floor=True),
    "burst": Scenario(burst.measure, has_floor=True),
    "steady": Scenario(steady.measure, has_floor=True),
    "churn": Scenario(churn.measure),
    "ends": Scenario(ends.measure),
    "restart": Scenario(restart.measure),
    "polled": Scenario(polled.measure),
    "namespaces": Scenario(namespaces.measure),
    "named-namespaces": Scenario(namespaces.measure_named),
    "foreign": Scenario(foreign.measure),
    "throttled": Scenario(slow.measure_throttled),
    "slow": Scenario(slow.measure_slow),
}
