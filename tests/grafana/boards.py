"""What the rendered dashboards ask Prometheus for, with Grafana's variables filled in."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from deploy.render.operator_yaml import ROOT

FOLDER = ROOT / "deploy/grafana"
UIDS = ("finetune-fleet", "finetune-job", "finetune-operator")
# What Grafana puts in place of a variable with "All" selected.
ALL = {"cluster": ".*", "namespace": ".*", "finetunejob": ".*"}


@dataclass(frozen=True)
class Query:
    """A query of a panel or an annotation."""

    uid: str
    title: str
    expression: str
    is_instant: bool
    may_be_empty: bool
    """Whether the panel has a text for the case that there is no data."""

    def __str__(self) -> str:
        return f"{self.uid}: {self.title}: {self.expression}"


@cache
def load(uid: str) -> dict[str, Any]:
    """A rendered dashboard."""
    board: dict[str, Any] = json.loads((FOLDER / f"{uid}.json").read_text())
    return board


def panels(uid: str) -> list[dict[str, Any]]:
    """Its panels, without the titles of sections."""
    return [panel for panel in load(uid)["panels"] if panel["type"] != "row"]


def queries(*uids: str) -> list[Query]:
    """All queries of the panels of these dashboards, or of all."""
    return [
        Query(
            uid,
            panel["title"],
            target["expr"],
            is_instant=bool(target.get("instant")),
            may_be_empty="noValue" in panel["fieldConfig"]["defaults"],
        )
        for uid in uids or UIDS
        for panel in panels(uid)
        for target in panel["targets"]
    ]


def annotations(uid: str) -> list[Query]:
    """Its annotations' queries."""
    return [
        Query(uid, annotation["name"], annotation["expr"], is_instant=False, may_be_empty=True)
        for annotation in load(uid).get("annotations", {}).get("list", ())
    ]


def variables(uid: str) -> Iterator[tuple[str, str, str]]:
    """Name, series and label of each variable whose values Prometheus is asked for."""
    for variable in load(uid)["templating"]["list"]:
        if variable["type"] == "query":
            query = variable["query"]["query"]
            found = re.fullmatch(r"label_values\((.+), (\w+)\)", query)
            assert found, f"{uid}: {query}"
            yield variable["name"], found[1], found[2]


def fill_in(
    expression: str, values: Mapping[str, str], *, seconds: int, step: int = 30, scrape: int = 30
) -> str:
    """The expression as Grafana sends it, for a time range of so many seconds."""
    own = {
        "__rate_interval": f"{max(4 * scrape, step + scrape)}s",
        "__range_s": str(seconds),
        "__range": f"{seconds}s",
        "__interval": f"{step}s",
    }
    known = {**values, **own}
    return re.sub(r"\$(\w+)", lambda match: known[match[1]], expression)
