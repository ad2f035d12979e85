"""The page's scrape configurations: the chart's pods, and what Prometheus makes of a trainer's."""

import json
import subprocess
from pathlib import Path

import pytest
import yaml
from finetune_operator.children.job import build_job
from finetune_operator.policy.plan import CreateAttempt

from deploy.render.operator_yaml import template
from tests import prometheus
from tests.prometheus import scrape_configs
from tests.support.builders import make_job

Labels = dict[str, str]


def test_page_scrapes_each_pod_of_the_chart_and_no_address_that_several_share() -> None:
    scrape = scrape_configs()["finetune-operator"]
    (discovery,) = scrape["kubernetes_sd_configs"]
    (selector,) = discovery["selectors"]
    (deployment,) = template("--show-only=templates/deployment.yaml")
    pod = deployment["spec"]["template"]
    (port,) = pod["spec"]["containers"][0]["ports"]
    label, _, value = selector["label"].partition("=")
    assert (discovery["role"], selector["role"]) == ("pod", "pod")
    assert discovery["namespaces"]["names"] == [deployment["metadata"]["namespace"]]
    assert pod["metadata"]["labels"][label] == value
    kept = [each["regex"] for each in scrape["relabel_configs"] if each.get("action") == "keep"]
    assert kept == [port["name"]]
    assert scrape["honor_labels"]


def test_page_scrapes_the_trainers_as_the_pod_monitor_does() -> None:
    (monitor,) = template(
        "--show-only=templates/podmonitor.yaml", "--set=prometheus.podMonitor.enabled=true"
    )
    (endpoint,) = monitor["spec"]["podMetricsEndpoints"]
    names = {"sourceLabels": "source_labels", "targetLabel": "target_label"}
    relabelings = [
        {names.get(key, key): value for key, value in relabeling.items()}
        for relabeling in endpoint["relabelings"]
    ]
    # What the Prometheus Operator adds, and the name that Prometheus gives by itself.
    port = {"source_labels": ["__meta_kubernetes_pod_container_port_name"], "action": "keep"}
    added = [
        port | {"regex": endpoint["port"]},
        {"source_labels": ["__meta_kubernetes_namespace"], "target_label": "namespace"},
        {"source_labels": ["__meta_kubernetes_pod_name"], "target_label": "pod"},
    ]
    keep, job, *labels = relabelings
    assert job == {"target_label": "job", "replacement": "finetune-trainer"}
    scrape = scrape_configs()["finetune-trainer"]
    assert scrape["relabel_configs"] == [keep, *added, *labels]
    assert "honor_labels" not in scrape
    ((selector,),) = (discovery["selectors"] for discovery in scrape["kubernetes_sd_configs"])
    (expression,) = monitor["spec"]["selector"]["matchExpressions"]
    assert expression == {"key": selector["label"], "operator": "Exists"}
    assert selector["field"] == "status.phase=Running"
    assert endpoint["filterRunning"]


@pytest.fixture
def discovered() -> Labels:
    """What Prometheus discovers of a trainer that runs, as the operator has made its pod."""
    job = build_job(make_job(), CreateAttempt(2), image="x", own_image=True, pull="Always")
    pod = job["spec"]["template"]
    (container,) = pod["spec"]["containers"]
    (port,) = container["ports"]
    return prometheus.discovered(
        pod["metadata"]["labels"],
        namespace="team-a",
        pod_name="photos-2-x7k2p",
        pod_ready="true",
        pod_container_name=container["name"],
        pod_container_port_name=port["name"],
    )


def labels_of_targets(folder: Path, *discovered: Labels) -> list[Labels]:
    """Return the labels that Prometheus gives these targets; it drops those without any."""
    config = scrape_configs()["finetune-trainer"]
    del config["kubernetes_sd_configs"]  # Debian's Prometheus has been built without it
    address = ["127.0.0.1:8080"]
    config["static_configs"] = [{"targets": address, "labels": labels} for labels in discovered]
    (folder / "prometheus.yaml").write_text(yaml.safe_dump({"scrape_configs": [config]}))
    check = ("promtool", "check", "service-discovery", "--timeout=1s")
    command = [*check, str(folder / "prometheus.yaml"), config["job_name"]]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    return [
        {name: value for name, value in target["labels"].items() if not name.startswith("__")}
        for target in json.loads(run.stdout)
    ]


def test_target_has_the_names_of_the_trainers_job_and_attempt(
    tmp_path: Path, discovered: Labels
) -> None:
    assert labels_of_targets(tmp_path, discovered) == [
        {
            "job": "finetune-trainer",
            "instance": "127.0.0.1:8080",
            "namespace": "team-a",
            "pod": "photos-2-x7k2p",
            "name": "photos",
            "attempt": "2",
        }
    ]


def test_only_a_trainer_that_runs_is_scraped(tmp_path: Path, discovered: Labels) -> None:
    prefix = "__meta_kubernetes_pod_"
    others = (
        {f"{prefix}container_name": "proxy"},  # its port may be named http, too
        {f"{prefix}container_port_name": "other"},
        {f"{prefix}ready": "false"},  # it has ended, and a sidecar has not
    )
    targets = [discovered | other for other in others]
    assert labels_of_targets(tmp_path, *targets) == [{}] * 3
