"""The alert rules in themselves: what each is tested for, and what it says."""

import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.render.operator_yaml import ALERTS, ROOT
from tests.chart.exposed import metric_names

UNIT_TESTS = sorted((Path(__file__).parent / "alerts").glob("*.yaml"))
METRIC = re.compile(r"(?<![\w:])((?:finetune|process)_\w+)(?![\w:])\s*(\{[^}]*\})?")
"""A metric and its selector. Results of our own rules have colons."""


def rules() -> list[dict[str, Any]]:
    """Return all rules, in their order."""
    groups = yaml.safe_load(ALERTS.read_text())["groups"]
    return [rule for group in groups for rule in group["rules"]]


NAMED = {rule.get("alert") or rule["record"]: rule for rule in rules()}
ALERT_NAMES = [name for name, rule in NAMED.items() if "alert" in rule]


def scenarios(alert: str) -> dict[str, dict[str, Any]]:
    """Return the unit tests of an alert: their names begin with its name."""
    tests = [test for path in UNIT_TESTS for test in yaml.safe_load(path.read_text())["tests"]]
    return {test["name"]: test for test in tests if test["name"].startswith(f"{alert}:")}


def firing(scenario: dict[str, Any]) -> list[bool]:
    """Return whether the alert fires, at each time that the scenario looks at."""
    return [bool(case["exp_alerts"]) for case in scenario["alert_rule_test"]]


def resolves(scenario: dict[str, Any]) -> bool:
    return (True, False) in zip(firing(scenario), firing(scenario)[1:], strict=False)


def has_gap(scenario: dict[str, Any]) -> bool:
    values = [str(series["values"]) for series in scenario["input_series"]]  # 0x60 is a number
    return any(re.search(r"\d _x\d+ -?\d", each) for each in values)


def has_two_pods(scenario: dict[str, Any]) -> bool:
    pods = re.findall(r'pod="(\w+)"', str(scenario["input_series"]))
    return len(set(pods)) > 1


@pytest.mark.parametrize("tests", UNIT_TESTS, ids=lambda path: path.stem)
def test_the_alerts_fire_when_they_should_and_only_then(tests: Path) -> None:
    run = subprocess.run(
        ["promtool", "test", "rules", tests], capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize("alert", ALERT_NAMES)
def test_each_alert_is_tested_with_a_gap_of_the_scrape_and_a_restart(alert: str) -> None:
    mine = scenarios(alert)
    assert any("fires" in name and any(firing(test)) for name, test in mine.items())
    assert any("resolves" in name and resolves(test) for name, test in mine.items())
    assert any("stays silent" in name and not any(firing(test)) for name, test in mine.items())
    assert any("a gap" in name and has_gap(test) for name, test in mine.items())
    assert any("a restart" in name and has_two_pods(test) for name, test in mine.items())


@pytest.mark.parametrize("name", NAMED)
def test_each_metric_of_a_rule_is_that_of_our_scrape_jobs(name: str) -> None:
    for metric, selector in METRIC.findall(NAMED[name]["expr"]):
        assert re.search(r'\bjob="finetune-(operator|trainer)"', selector), metric


@pytest.mark.parametrize("name", NAMED)
def test_each_rule_tells_clusters_apart(name: str) -> None:
    for labels in re.findall(r"\b(?:by|on) \(([^)]*)\)", NAMED[name]["expr"]):
        assert "cluster" in labels.split(", ")


def test_each_metric_of_a_rule_is_one_that_can_be_scraped() -> None:
    named = {metric for rule in rules() for metric, _ in METRIC.findall(rule["expr"])}
    assert named
    assert named <= metric_names()


@pytest.mark.parametrize("alert", ALERT_NAMES)
def test_each_alert_says_how_bad_it_is_and_where_to_look(alert: str) -> None:
    labels, notes = NAMED[alert]["labels"], NAMED[alert]["annotations"]
    assert labels["severity"] in ("info", "warning", "critical")
    assert notes["summary"].endswith(".")
    assert notes["description"].endswith(".")
    assert re.match(r"/d/finetune-(fleet|job|operator)/", notes["dashboard_url"])


@pytest.mark.parametrize("alert", ALERT_NAMES)
def test_each_alert_has_a_runbook(alert: str) -> None:
    url, _, anchor = NAMED[alert]["annotations"]["runbook_url"].partition("#")
    page = ROOT / url.partition("/blob/main/")[2]
    headings = re.findall(r"^#+ (.+)$", page.read_text(), flags=re.MULTILINE)
    assert anchor == alert.lower()
    assert alert in headings
