"""The dashboards as text: the rules of Grafana's dashboard-linter, and some of our own."""

import itertools
import re
from collections.abc import Iterator
from typing import Any, get_args

import pytest
from finetune_operator.api.types import Phase

from deploy.render.dashboards.style import PHASE_COLORS
from tests.chart.exposed import metric_names
from tests.grafana import boards
from tests.grafana.boards import UIDS, Query
from tests.grafana.made_up import samples

PANELS = [
    pytest.param(panel, id=f"{uid}: {panel['title']}")
    for uid in UIDS
    for panel in boards.panels(uid)
]
QUERIES = [
    pytest.param(query, id=f"{query.uid}: {query.title}")
    for uid in UIDS
    for query in [*boards.queries(uid), *boards.annotations(uid)]
]
SELECTOR = re.compile(r"(\w+)\{([^}]*)\}")
# A metric's name: in no label, and neither a function nor a keyword.
NAME = re.compile(r"\b((?:finetune|process|DCGM)_\w+)\b")
COUNTER = re.compile(r"\w+(?:_total|_bucket|_sum|_count)\{[^}]*\}")


@pytest.mark.parametrize("panel", PANELS)
def test_each_panel_says_what_it_shows_and_in_which_unit(panel: dict[str, Any]) -> None:
    assert panel["description"].endswith((".", ")"))
    assert panel["fieldConfig"]["defaults"]["unit"]


@pytest.mark.parametrize("panel", PANELS)
def test_each_panel_asks_the_chosen_data_source(panel: dict[str, Any]) -> None:
    chosen = {"type": "prometheus", "uid": "${datasource}"}
    assert panel["datasource"] == chosen
    assert all(target["datasource"] == chosen for target in panel["targets"])


@pytest.mark.parametrize("panel", PANELS)
def test_the_queries_of_a_panel_have_names_of_their_own(panel: dict[str, Any]) -> None:
    letters = [target["refId"] for target in panel["targets"]]
    assert len(letters) == len(set(letters)) > 0


@pytest.mark.parametrize("query", QUERIES)
def test_each_series_is_chosen_by_scrape_job_and_cluster(query: Query) -> None:
    selectors = SELECTOR.findall(query.expression)
    assert len(selectors) >= len(NAME.findall(query.expression))
    for name, matchers in selectors:
        assert name == "ALERTS" or re.match(r'job=~?"[^"]+", ', matchers), name
        assert 'cluster=~"$cluster"' in matchers, name


@pytest.mark.parametrize("query", QUERIES)
def test_no_counter_is_shown_as_it_is(query: Query) -> None:
    rates = r"(?:rate|increase)\(@\[\$__(?:rate_interval|range)\]\)"
    new = r"last_over_time\(@\[\$__range\]\) unless @ offset \$__range"
    counters = COUNTER.findall(query.expression)
    marked = COUNTER.sub("@", query.expression)
    assert "@" not in re.sub(f"{rates}|{new}", "", marked)
    assert bool(counters) == ("rate(" in marked or "increase(" in marked)


@pytest.mark.parametrize("query", QUERIES)
def test_each_metric_is_one_that_can_be_scraped(query: Query) -> None:
    names = {re.sub("_bucket$", "", name) for name, _ in SELECTOR.findall(query.expression)}
    assert names <= metric_names()


def test_the_made_up_jobs_have_metrics_that_can_be_scraped_alone() -> None:
    names = {re.sub("_bucket$", "", name) for name, _, _ in samples(300, 0)}
    assert names <= metric_names()


@pytest.mark.parametrize("uid", UIDS)
def test_each_variable_is_of_a_metric_that_can_be_scraped(uid: str) -> None:
    for name, series, _ in boards.variables(uid):
        assert name != "job"  # in Prometheus the scrape job
        assert SELECTOR.findall(series)[0][0] in metric_names()


@pytest.mark.parametrize("uid", UIDS)
def test_a_dashboard_is_kept_by_the_chart_and_leads_to_the_others(uid: str) -> None:
    board = boards.load(uid)
    assert (board["uid"], board["editable"], board["refresh"]) == (uid, False, "30s")
    targets = {link["url"] for link in board["links"]}
    assert targets >= {f"/d/{other}" for other in UIDS if other != uid}
    variables = [variable["name"] for variable in board["templating"]["list"]]
    assert variables[:2] == ["datasource", "cluster"]


@pytest.mark.parametrize("uid", UIDS)
def test_no_panel_covers_another(uid: str) -> None:
    for one, other in itertools.combinations(boards.panels(uid), 2):
        assert not set(_cells(one)) & set(_cells(other)), (one["title"], other["title"])


def test_each_phase_has_a_colour_of_its_own() -> None:
    assert set(PHASE_COLORS) == set(get_args(Phase))
    assert len(set(PHASE_COLORS.values())) == len(PHASE_COLORS)


def _cells(panel: dict[str, Any]) -> Iterator[tuple[int, int]]:
    place = panel["gridPos"]
    assert place["x"] + place["w"] <= 24
    columns = range(place["x"], place["x"] + place["w"])
    return itertools.product(columns, range(place["y"], place["y"] + place["h"]))
