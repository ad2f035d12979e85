"""Metrics, rules and dashboards while real jobs succeed, fail, are retried, wait, stall and train
as a gang.
"""

import csv
import datetime
import os
import re
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chart.test_alerts import rules
from tests.cluster import cluster as node
from tests.cluster.layout import KUBECONFIG
from tests.demo.clusters import Cluster
from tests.e2e.conftest import directory_of
from tests.e2e.monitored_run import CURVE, EPOCHS, play, trainers_of
from tests.e2e.test_sample import operator_address
from tests.grafana import boards
from tests.grafana.record import Source, record, save
from tests.prometheus import Prometheus
from tests.support.world import Object, World

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1500)]
SCRAPE_SECONDS = 5
FAILED = {"bark", "mushrooms"}
COLUMNS = {
    "train_loss": "train_loss",
    "train_accuracy": "train_accuracy",
    "accuracy": "validation_accuracy",
    "learning_rate": "learning_rate",
}
RECORDING = os.environ.get("RECORDING")
"""A file that gets the answers to all queries of the dashboards, to draw pictures from."""


@pytest.fixture(scope="module")
def prometheus(
    cluster: Cluster, namespace: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Prometheus]:
    """A Prometheus that has scraped the whole run."""
    world = World(node.connect(), kubeconfig=KUBECONFIG, namespace=namespace)
    targets = tmp_path_factory.mktemp("prometheus") / "trainers.json"
    address = operator_address(world)
    with (
        trainers_of(world.api, targets),
        Prometheus(address, trainers=targets, scrape_seconds=SCRAPE_SECONDS) as prometheus,
    ):
        play(world)
        time.sleep(2 * SCRAPE_SECONDS)
        yield prometheus
    world.kubectl("delete", "finetunejobs", "--all", "--timeout=180s")
    world.wait("no pods", lambda: not world.pods(), seconds=180)


@pytest.fixture
def started(prometheus: Prometheus) -> float:
    (series,) = prometheus.query("min(finetune_job_created_timestamp_seconds)")
    return float(series["value"][1]) - 2 * SCRAPE_SECONDS


def test_learning_curve_of_the_operator_is_that_of_history_csv(
    prometheus: Prometheus, started: float, namespace: str
) -> None:
    world = World(node.connect(), kubeconfig=KUBECONFIG, namespace=namespace)
    model = directory_of(world, "models") / CURVE / world.job(CURVE)["metadata"]["uid"]
    with (model / "history.csv").open() as file:
        history = {int(row["epoch"]): row for row in csv.DictReader(file)}
    assert len(history) == EPOCHS
    job = f'{{namespace="{namespace}", name="{CURVE}"}}'
    points = {
        name: _points(prometheus, f"finetune_job_{name}{job}", started)
        for name in ("epoch", *COLUMNS)
    }
    first = {epoch: at for at, epoch in reversed(points["epoch"].items())}
    assert sorted(first) == sorted(history)
    for at, epoch in points["epoch"].items():
        for name, column in COLUMNS.items():
            # The status of a complete job has four digits of its accuracy.
            expected = pytest.approx(
                float(history[int(epoch)][column]), abs=5e-5 * (name == "accuracy"), rel=0
            )
            assert points[name][at] == expected, (name, epoch)
    for epoch, row in history.items():
        late = first[epoch] - _time_of(row["time"])
        print(f"epoch {epoch}: {row}, scraped {late:.1f} s later")


def test_each_query_of_each_dashboard_has_data_where_it_should(
    prometheus: Prometheus, started: float, namespace: str
) -> None:
    seconds = int(time.time() - started)
    chosen = {"cluster": ".*", "namespace": namespace, "finetunejob": CURVE}
    empty = set()
    for query in (
        q for uid in boards.UIDS for q in (*boards.queries(uid), *boards.annotations(uid))
    ):
        values = chosen if query.uid == "finetune-job" else boards.ALL
        asked = boards.fill_in(query.expression, values, seconds=seconds, scrape=SCRAPE_SECONDS)
        if not (prometheus.query(asked) or _over_run(prometheus, asked, started)):
            empty.add((query.uid, query.title, query.may_be_empty))
    print("without data:", *sorted(empty), sep="\n  ")
    assert not [title for _, title, may_be_empty in empty if not may_be_empty]
    if RECORDING:
        source = Source(prometheus, SCRAPE_SECONDS)
        answers = record(source, (namespace, CURVE), hours=seconds / 3600)
        save(answers, Path(RECORDING))


def test_each_metric_of_each_rule_was_there(prometheus: Prometheus, started: float) -> None:
    for rule in rules():
        for selector in re.findall(r"finetune_\w+\{[^}]*\}", rule["expr"]):
            name = selector.partition("{")[0]
            assert _over_run(prometheus, name, started), (rule, name)
    health = {rule["name"]: (rule["health"], rule.get("lastError")) for rule in prometheus.rules()}
    assert {state for state, _ in health.values()} == {"ok"}, health


def test_each_failed_job_and_no_other_has_its_alert(prometheus: Prometheus, started: float) -> None:
    fired = _over_run(prometheus, 'ALERTS{alertstate="firing"}', started)
    found = {(one["metric"]["alertname"], one["metric"].get("name", "")) for one in fired}
    print("fired:", *sorted(found), sep="\n  ")
    assert {name for alert, name in found if alert == "FineTuneJobFailed"} == FAILED
    assert not [alert for alert, _ in found if alert.startswith("FineTuneOperator")]


def _points(prometheus: Prometheus, selector: str, started: float) -> dict[float, float]:
    (series,) = _over_run(prometheus, selector, started)
    return {at: float(value) for at, value in series["values"]}


def _over_run(prometheus: Prometheus, expression: str, started: float) -> list[Object]:
    return prometheus.query_range(expression, start=started, end=time.time(), step=SCRAPE_SECONDS)


def _time_of(text: str) -> float:
    return datetime.datetime.fromisoformat(text).timestamp()
