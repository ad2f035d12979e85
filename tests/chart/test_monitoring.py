"""The rules against a real Prometheus that scrapes the operator's metrics."""

import asyncio
import subprocess
import time
from collections.abc import Iterator

import pytest

from tests.chart.metrics_page import make_metrics, serve
from tests.chart.test_alerts import rules
from tests.prometheus import Prometheus


@pytest.fixture(scope="module")
def prometheus() -> Iterator[Prometheus]:
    with serve() as target, Prometheus(target, scrape_seconds=0.5) as prometheus:
        yield prometheus


def test_a_jobs_metrics_keep_the_jobs_namespace(prometheus: Prometheus) -> None:
    (series,) = prometheus.wait_for('finetune_job_accuracy{name="flowers"}')
    assert series["metric"]["namespace"] == "team-a"
    assert not prometheus.query('{exported_namespace!=""}')
    (operator,) = prometheus.wait_for("finetune_operator_workqueue_depth")
    assert operator["metric"]["namespace"] == "finetune-system"
    assert operator["metric"]["job"] == "finetune-operator"


def test_promtool_finds_nothing_to_improve_in_the_page() -> None:
    page, _ = asyncio.run(make_metrics().page())
    run = subprocess.run(
        ["promtool", "check", "metrics"], input=page, capture_output=True, check=False
    )
    assert (run.returncode, run.stdout, run.stderr) == (0, b"", b"")


def test_prometheus_evaluates_each_rule(prometheus: Prometheus) -> None:
    expected = {rule.get("alert") or rule["record"]: "ok" for rule in rules()}
    deadline = time.monotonic() + 30
    while (health := {rule["name"]: rule["health"] for rule in prometheus.rules()}) != expected:
        assert time.monotonic() < deadline, health
        time.sleep(0.2)
    (alert,) = prometheus.wait_for('ALERTS{alertname="FineTuneJobFailed"}')
    assert (alert["metric"]["namespace"], alert["metric"]["name"]) == ("team-a", "broken")
