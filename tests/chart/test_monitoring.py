"""Alerts against a real Prometheus that scrapes the operator's metrics."""

import asyncio
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from deploy.render.operator_yaml import ALERTS, ROOT
from tests.chart.metrics_page import make_metrics, serve
from tests.prometheus import Prometheus

RULES = [rule for group in yaml.safe_load(ALERTS.read_text())["groups"] for rule in group["rules"]]


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


def test_prometheus_evaluates_each_alert_rule(prometheus: Prometheus) -> None:
    prometheus.wait_for('ALERTS{alertname="FineTuneJobFailed"}')
    assert {rule["name"]: rule["health"] for rule in prometheus.rules()} == {
        rule["alert"]: "ok" for rule in RULES
    }


def test_the_alerts_fire_when_they_should_and_only_then() -> None:
    tests = Path(__file__).parent / "alerts_test.yaml"
    run = subprocess.run(
        ["promtool", "test", "rules", tests], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr
    tested = {
        case["alertname"]
        for group in yaml.safe_load(tests.read_text())["tests"]
        for case in group["alert_rule_test"]
        if case["exp_alerts"]
    }
    assert tested == {rule["alert"] for rule in RULES}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_each_alert_has_a_runbook(rule: dict[str, dict[str, str]]) -> None:
    url, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    page = ROOT / url.partition("/blob/main/")[2]
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    assert anchor in [heading.lower().replace(" ", "-") for heading in headings]
