"""The chart as text: what Helm says of it, its values, and what is rendered from it."""

import itertools
import json
import re
import shutil
import subprocess
from dataclasses import fields
from pathlib import Path

import pytest
import yaml
from finetune_operator.settings import PREFIX, Settings

from deploy.render import dashboards, operator_yaml
from deploy.render.operator_yaml import ALERTS, ALERTS_IN_CHART, CHART, OUTPUT, helm, template
from tests.cluster.programs import HELM, HELM_UNITTEST, ensure

SNAPSHOT = CHART / "tests/__snapshot__/defaults_test.yaml.snap"
EVERYTHING = CHART / "ci/everything-values.yaml"


def test_helm_lint_finds_nothing() -> None:
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART))
    assert "0 chart(s) failed" in helm("lint", "--strict", str(CHART), f"--values={EVERYTHING}")


def test_helm_unittest_passes_and_the_defaults_are_those_reviewed() -> None:
    ensure(HELM_UNITTEST)
    reviewed = SNAPSHOT.read_text()
    program = HELM_UNITTEST.directory / "helm-unittest"
    run = subprocess.run([program, "--strict", CHART], capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stdout
    # Without a stored snapshot helm-unittest writes one and calls that a success.
    assert SNAPSHOT.read_text() == reviewed


@pytest.mark.parametrize(
    ("flag", "complaint"),
    [
        ("--set=setting.workers=1", "'setting' not allowed"),
        ("--set=settings.worker=1", "'worker' not allowed"),
        ("--set=trainer.image.repo=x", "'repo' not allowed"),
        ("--set=prometheus.serviceMonitor.enable=true", "'enable' not allowed"),
        ("--set=image.pullPolicy=Sometimes", "'Always', 'IfNotPresent', 'Never'"),
        ("--set=settings.workers=0", "minimum: got 0, want 1"),
        ("--set=settings.logLevel=info", "'DEBUG', 'INFO', 'WARNING', 'ERROR'"),
        ("--set=image.digest=latest", "'latest' does not match pattern"),
        ("--set=grafana.dashboards.labels.x=1", "got number, want string"),
        ("--set=enabled=maybe", "got string, want boolean"),
        ("--set=prometheus.podMonitor.interval=fast", "'fast' does not match pattern"),
        ("--set=grafana.url=grafana.example.org", "does not match pattern '^(https?://"),
        ("--set=metrics.secure.enabled=true", "certSecretName: name a Secret with tls.crt"),
        (
            "--set=metrics.secure.enabled=true,metrics.secure.certSecretName=x,settings.port=8443",
            "metrics.secure.port: 8443 is settings.port too",
        ),
        (
            r"--set=grafana.grafanaDashboards.labels.helm\.sh/chart=x",
            "grafana.grafanaDashboards.labels: the chart sets the label helm",
        ),
        ("--set=settings.renewDeadlineSeconds=20", "must be less than settings.leaseDuration"),
        ("--set=settings.renewDeadlineSeconds=15", "must be less than settings.leaseDuration"),
        ("--set=settings.leaseDurationSeconds=9", "must be less than settings.leaseDuration"),
        ("--set=settings.retryPeriodSeconds=5", "less than half of settings.renewDeadline"),
        (r"--set=podLabels.app\.kubernetes\.io/name=x", "podLabels: the chart sets the label app"),
        (r"--set=podLabels.app\.kubernetes\.io/component=x", "sets the label app"),
        (r"--set=podLabels.helm\.sh/chart=x", "sets the label helm.sh/chart itself: remove it"),
        (
            r"--set=prometheus.serviceMonitor.labels.app\.kubernetes\.io/instance=x",
            "prometheus.serviceMonitor.labels: the chart sets the label app",
        ),
        (
            r"--set=podAnnotations.kubectl\.kubernetes\.io/default-container=x",
            "podAnnotations: the chart sets the annotation kubectl",
        ),
    ],
)
def test_a_wrong_value_is_refused_by_name(flag: str, complaint: str) -> None:
    command = [str(HELM.directory / "helm"), "template", "x", str(CHART), flag]
    run = subprocess.run(command, capture_output=True, text=True, check=False)
    assert run.returncode != 0
    assert complaint in run.stderr


@pytest.mark.parametrize("times", [*itertools.product((4, 5), (3.5, 4), (1.5, 1.75))])
def test_chart_refuses_the_times_that_the_operator_refuses(times: tuple[float, ...]) -> None:
    names = ("leaseDurationSeconds", "renewDeadlineSeconds", "retryPeriodSeconds")
    value = f"--set-json=settings={json.dumps(dict(zip(names, times, strict=True)))}"
    duration, renew, retry = times
    try:
        Settings(
            lease_duration_seconds=duration,
            renew_deadline_seconds=renew,
            retry_period_seconds=retry,
        )
    except ValueError:
        with pytest.raises(subprocess.CalledProcessError):
            template("--show-only=templates/deployment.yaml", value)
    else:
        assert template("--show-only=templates/deployment.yaml", value)


ADDRESS = "/d/finetune-job/?var-namespace={{ $labels.namespace }}"


@pytest.mark.parametrize("written", [ADDRESS, f"'{ADDRESS}'", f'"{ADDRESS}"', f">-\n    {ADDRESS}"])
@pytest.mark.parametrize("url", ["", "https://grafana.test/g", "https://grafana.test/g/"])
def test_address_of_grafana_goes_before_the_dashboard_of_an_alert(
    tmp_path: Path, written: str, url: str
) -> None:
    chart = shutil.copytree(CHART, tmp_path / CHART.name)
    (chart / "files/alerts.yaml").write_text(
        f"groups:\n- dashboard_url: {written}\n  other: /d/x\n"
    )
    flags = ("--set=prometheus.rules.enabled=true", f"--set=grafana.url={url}")
    show = "--show-only=templates/prometheusrule.yaml"
    rule = yaml.safe_load(helm("template", "release", str(chart), show, *flags))
    (group,) = rule["spec"]["groups"]
    assert group == {"dashboard_url": url.rstrip("/") + ADDRESS, "other": "/d/x"}


@pytest.mark.parametrize("alias", ["", "tuner"])
def test_chart_is_a_dependency_that_its_parent_may_turn_off(tmp_path: Path, alias: str) -> None:
    name = alias or CHART.name
    dependency = {"name": CHART.name, "version": "0.1.0", "condition": f"{name}.enabled"}
    dependency |= {"alias": alias} if alias else {}
    parent = {"apiVersion": "v2", "name": "parent", "version": "1.0.0"}
    values = {"global": {"imageRegistry": "example.com"}, name: {"enabled": True, "replicas": 2}}
    (tmp_path / "Chart.yaml").write_text(json.dumps(parent | {"dependencies": [dependency]}))
    (tmp_path / "values.yaml").write_text(json.dumps(values))
    shutil.copytree(CHART, tmp_path / "charts" / CHART.name)

    def kinds(*flags: str) -> set[str]:
        rendered = helm("template", "release", str(tmp_path), "--dependency-update=false", *flags)
        return {manifest["kind"] for manifest in yaml.safe_load_all(rendered) if manifest}

    assert {"Deployment", "CustomResourceDefinition", "PodDisruptionBudget"} <= kinds()
    assert kinds(f"--set={name}.enabled=false") == set()


def test_every_value_has_a_comment() -> None:
    lines = (CHART / "values.yaml").read_text().splitlines()
    uncommented = [
        line
        for above, line in zip(["", *lines], lines, strict=False)
        if re.match(r" *[a-zA-Z]+: .", line) and not above.lstrip().startswith("#")
    ]
    # Kubernetes' own words inside a commented value.
    assert [line.split(":")[0].strip() for line in uncommented] == ["cpu", "memory", "memory"]


def test_every_setting_of_the_operator_has_a_value_with_the_same_default() -> None:
    (deployment,) = template("--show-only=templates/deployment.yaml")
    (container,) = deployment["spec"]["template"]["spec"]["containers"]
    environment = {variable["name"]: variable["value"] for variable in container["env"]}
    assert set(environment) == {PREFIX + field.name.upper() for field in fields(Settings)}
    settings = Settings.from_environment(environment)
    assert settings == Settings(
        trainer_image=settings.trainer_image, trainer_gpu_image=settings.trainer_gpu_image
    )


def test_operator_yaml_is_the_rendered_chart() -> None:
    assert OUTPUT.read_text() == operator_yaml.render(), "run `make render`"


def test_operator_yaml_begins_with_its_namespace_and_has_nothing_of_helm() -> None:
    first, *others = yaml.safe_load_all(OUTPUT.read_text())
    assert (first["kind"], first["metadata"]["name"]) == ("Namespace", operator_yaml.NAMESPACE)
    kinds = {"ServiceAccount", "CustomResourceDefinition", "ClusterRole", "ClusterRoleBinding"}
    kinds |= {"Role", "RoleBinding", "Service", "Deployment"}
    assert {other["kind"] for other in others} == kinds
    labels = {label for other in others for label in other["metadata"]["labels"]}
    assert labels.isdisjoint({"helm.sh/chart", "app.kubernetes.io/managed-by"})


def test_the_crd_in_the_chart_is_the_generated_one() -> None:
    generated = yaml.safe_load((CHART / "files/finetunejobs.yaml").read_text())
    (rendered,) = template("--show-only=templates/crd.yaml")
    assert rendered["spec"] == generated["spec"]
    assert rendered["metadata"]["name"] == generated["metadata"]["name"]


def test_the_dashboards_are_rendered_from_their_source() -> None:
    for place in dashboards.PLACES:
        assert place.read_text() == dashboards.render(place.stem), "run `make render`"


def test_the_alert_rules_in_the_chart_are_those_for_prometheus() -> None:
    assert ALERTS_IN_CHART.read_text() == ALERTS.read_text(), "run `make render`"
    (rule,) = template(
        "--show-only=templates/prometheusrule.yaml", "--set=prometheus.rules.enabled=true"
    )
    assert rule["spec"] == yaml.safe_load(ALERTS.read_text())
