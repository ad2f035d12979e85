"""The dashboards' queries, asked of a real Prometheus that has six hours of made-up jobs."""

import time
from collections.abc import Iterator

import pytest

from tests.grafana import boards
from tests.grafana.boards import Query
from tests.grafana.made_up import SCRAPE_SECONDS, open_metrics
from tests.grafana.made_up.jobs import JOBS, MINUTES
from tests.prometheus import Prometheus

START = time.time() // 60 * 60 - MINUTES * 60
END = START + MINUTES * 60 - SCRAPE_SECONDS
HOURS = 3
BIRDS = {"cluster": ".*", "namespace": "team-a", "finetunejob": "birds"}
VALUES = dict.fromkeys(boards.UIDS, boards.ALL) | {"finetune-job": BIRDS}
# What the made-up jobs give no data for: no request fails now, and birds trains well.
EMPTY = {"Failed requests", "Why", "Ended"}
QUERIES = [
    pytest.param(query, id=f"{query.uid}: {query.title}")
    for uid in boards.UIDS
    for query in [*boards.queries(uid), *boards.annotations(uid)]
    if query.title not in EMPTY
]


@pytest.fixture(scope="module")
def prometheus() -> Iterator[Prometheus]:
    with Prometheus(history=open_metrics(START)) as prometheus:
        yield prometheus


def _ask(prometheus: Prometheus, query: Query) -> list[str]:
    """All values of the answer, in order."""
    values = VALUES[query.uid]
    asked = boards.fill_in(query.expression, values, seconds=HOURS * 3600)
    if query.is_instant:
        return [series["value"][1] for series in prometheus.query(asked, at=END)]
    series = prometheus.query_range(asked, start=END - HOURS * 3600, end=END, step=30)
    return [value for one in series for _, value in one["values"]]


def _tile(prometheus: Prometheus, title: str, uid: str) -> list[float]:
    (query,) = (query for query in boards.queries(uid) if query.title == title)
    return [float(value) for value in _ask(prometheus, query)]


@pytest.mark.parametrize("query", QUERIES)
def test_each_query_returns_data(prometheus: Prometheus, query: Query) -> None:
    assert any(float(value) >= 0 for value in _ask(prometheus, query))


@pytest.mark.parametrize("uid", boards.UIDS)
def test_each_variable_has_values(prometheus: Prometheus, uid: str) -> None:
    jobs = {job.name for job in JOBS}
    expected = {"namespace": {"team-a", "team-b", "team-c"}, "finetunejob": jobs, "cluster": set()}
    for name, series, label in boards.variables(uid):
        found = prometheus.query(boards.fill_in(series, boards.ALL, seconds=60), at=END)
        values = {one["metric"][label] for one in found if label in one["metric"]}
        assert values == expected[name]


@pytest.mark.parametrize(
    ("title", "values"),
    [
        pytest.param("Operator", [1], id="one operator leads"),
        pytest.param("Failed", [2], id="both operators' failures are counted, the first ones too"),
        pytest.param(
            "Complete", [1], id="fish, not flowers, which completed before the time range"
        ),
        pytest.param("Longest wait", [(359.5 - 315) * 60], id="leaves is in the queue"),
        pytest.param("Waiting", [2], id="leaves and moss wait"),
        pytest.param("Running", [2], id="birds trains, cones is prepared"),
        pytest.param("Ended attempts, by reason", [1, 1, 1, 5], id="attempts of two operators"),
    ],
)
def test_the_fleet_shows_what_happened(
    prometheus: Prometheus, title: str, values: list[float]
) -> None:
    assert sorted(_tile(prometheus, title, "finetune-fleet")) == values


@pytest.mark.parametrize(
    ("title", "value"), [("Attempts", 2), ("Progress", 0.05 + 0.93 * 150.5 / 190)]
)
def test_the_job_shows_where_it_is(prometheus: Prometheus, title: str, value: float) -> None:
    assert _tile(prometheus, title, "finetune-job") == [pytest.approx(value, rel=1e-5)]


def test_the_table_of_what_failed_names_job_and_reason(prometheus: Prometheus) -> None:
    (query,) = (q for q in boards.queries("finetune-fleet") if q.title == "What failed, and why")
    asked = boards.fill_in(query.expression, boards.ALL, seconds=HOURS * 3600)
    found = [series["metric"] for series in prometheus.query(asked, at=END)]
    assert {(one["name"], one["reason"]) for one in found} == {
        ("bark", "InvalidData"),
        ("mushrooms", "BackoffLimitExceeded"),
    }


def test_the_job_says_why_it_failed(prometheus: Prometheus) -> None:
    (query,) = (query for query in boards.queries("finetune-job") if query.title == "Why")
    mushrooms = {"cluster": ".*", "namespace": "team-b", "finetunejob": "mushrooms"}
    (found,) = prometheus.query(boards.fill_in(query.expression, mushrooms, seconds=60), at=END)
    assert found["metric"]["reason"] == "BackoffLimitExceeded"
