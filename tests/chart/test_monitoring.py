"""Dashboard and rules against a real Prometheus that scrapes the operator's metrics."""

import time
from collections.abc import Iterator

import pytest

from tests.chart.metrics_page import serve
from tests.chart.test_alerts import rules
from tests.prometheus import Prometheus, dashboard_queries, dashboard_variables


@pytest.fixture(scope="module")
def prometheus() -> Iterator[Prometheus]:
    with serve() as target, Prometheus(target, scrape_seconds=0.5) as prometheus:
        yield prometheus


@pytest.mark.parametrize(("panel", "expression"), dashboard_queries())
def test_each_query_of_the_dashboard_returns_data(
    prometheus: Prometheus, panel: str, expression: str
) -> None:
    for series in prometheus.wait_for(f"({expression}) == ({expression})"):  # NaN is no data
        assert float(series["value"][1]) >= 0, panel


@pytest.mark.parametrize(("name", "series", "label"), dashboard_variables())
def test_each_variable_of_the_dashboard_has_values(
    prometheus: Prometheus, name: str, series: str, label: str
) -> None:
    expected = {"namespace": {"team-a", "team-b"}, "job": {"flowers", "birds", "broken"}}
    assert {found["metric"][label] for found in prometheus.wait_for(series)} == expected[name]


def test_a_jobs_metrics_keep_the_jobs_namespace(prometheus: Prometheus) -> None:
    (series,) = prometheus.wait_for('finetune_job_accuracy{name="flowers"}')
    assert series["metric"]["namespace"] == "team-a"
    assert not prometheus.query('{exported_namespace!=""}')
    (operator,) = prometheus.wait_for("finetune_operator_queue_depth")
    assert operator["metric"]["namespace"] == "finetune-system"
    assert operator["metric"]["job"] == "finetune-operator"


def test_prometheus_evaluates_each_rule(prometheus: Prometheus) -> None:
    expected = {rule.get("alert") or rule["record"]: "ok" for rule in rules()}
    deadline = time.monotonic() + 30
    while (health := {rule["name"]: rule["health"] for rule in prometheus.rules()}) != expected:
        assert time.monotonic() < deadline, health
        time.sleep(0.2)
