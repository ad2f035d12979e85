"""Debian's Prometheus on a loopback address, scraping one operator as the ServiceMonitor says.

with Prometheus("10.244.0.7:8080") as prometheus:
    accuracy = prometheus.wait_for('finetune_job_accuracy{name="flowers"}')
"""

import random
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import requests
import yaml

from deploy.render.operator_yaml import ALERTS, NAMESPACE, ROOT, template

READY_SECONDS = 30


def scrape_configs() -> dict[str, Any]:
    """Return the scrape configurations of the page for operators, by their names."""
    text = (ROOT / "docs/operations.md").read_text()
    (block,) = re.findall(r"```yaml\n(scrape_configs:.*?)```", text, re.DOTALL)
    return {config["job_name"]: config for config in yaml.safe_load(block)["scrape_configs"]}


def discovered(labels: Mapping[str, str], **meta: str) -> dict[str, str]:
    """Return the labels of a pod's target before relabelling, as Prometheus discovers them: those
    of the pod, and what else is known of it.
    """
    own = {f"pod_label_{re.sub(r'[^a-zA-Z0-9_]', '_', name)}": labels[name] for name in labels}
    return {f"__meta_kubernetes_{name}": value for name, value in (meta | own).items()}


class PrometheusApi:
    """The answers of a Prometheus."""

    def __init__(self, url: str) -> None:
        """Choose the Prometheus."""
        self._url = url
        self._http = requests.Session()
        # A proxy from the environment is not for this machine.
        self._http.trust_env = False

    def query(self, expression: str, *, at: float | None = None) -> list[dict[str, Any]]:
        """The series of an instant query: [{"metric": labels, "value": [time, text]}]."""
        answer = self._get("query", query=expression, **({"time": at} if at else {}))
        if answer["resultType"] != "vector":
            raise ValueError(f"{expression!r} gives a {answer['resultType']}, not a vector")
        series: list[dict[str, Any]] = answer["result"]
        return series

    def query_range(
        self, expression: str, *, start: float, end: float, step: float
    ) -> list[dict[str, Any]]:
        """The series over time: [{"metric": labels, "values": [[time, text], ...]}]."""
        answer = self._get("query_range", query=expression, start=start, end=end, step=step)
        series: list[dict[str, Any]] = answer["result"]
        return series

    def rules(self) -> list[dict[str, Any]]:
        """The alert rules, each with its health and last error."""
        groups = self._get("rules")["groups"]
        return [rule for group in groups for rule in group["rules"]]

    def _get(self, path: str, **parameters: str | float) -> Any:
        url = f"{self._url}/api/v1/{path}"
        answer = self._http.get(url, params=parameters, timeout=30).json()
        if answer["status"] != "success":
            raise ValueError(f"{parameters}: {answer['error']}")
        return answer["data"]


class Prometheus(PrometheusApi):
    """A running Prometheus with the project's alert rules; a context manager."""

    def __init__(
        self,
        target: str = "",
        *,
        trainers: Path | None = None,
        scrape_seconds: float = 1,
        history: str = "",
    ) -> None:
        """Choose the address (host:port) whose metrics are read, and how often; or a history that
        it has read: OpenMetrics with times, in which a series ends where it has no more samples.

        `trainers` is a file of targets (JSON, or its name with a star), as Prometheus would
        discover the trainers' pods: they are scraped as docs/operations.md has it.
        """
        self._target = target
        self._trainers = trainers
        self._history = history
        self._interval = f"{scrape_seconds * 1000:.0f}ms"
        self._directory = Path(tempfile.mkdtemp(prefix="finetune-prometheus-"))
        # Every 127.x.y.z is this machine: an address of its own needs no hunt for a free port.
        host = ".".join(str(random.randint(1, 254)) for _ in range(3))
        self._address = f"127.{host}:9090"
        super().__init__(f"http://{self._address}")

    def __enter__(self) -> Self:
        """Start it and wait until it answers queries."""
        if self._history:
            self._write_blocks()
        (self._directory / "prometheus.yaml").write_text(yaml.safe_dump(self._configuration()))
        with (self._directory / "log").open("wb") as log:
            self._process = subprocess.Popen(self._command(), stdout=log, stderr=log)
        try:
            self._wait_until_ready()
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Stop it and remove its data."""
        self._stop()

    def wait_for(self, expression: str, *, seconds: float = 30) -> list[dict[str, Any]]:
        """Query until there is data: a scrape may not have happened yet, a rate needs two."""
        deadline = time.monotonic() + seconds
        while not (series := self.query(expression)):
            if time.monotonic() > deadline:
                raise TimeoutError(f"no data for {expression!r} in {seconds} s")
            time.sleep(0.2)
        return series

    def _write_blocks(self) -> None:
        """Store the history as Prometheus does what it has scraped."""
        text = self._directory / "history.txt"
        text.write_text(self._history)
        command = ["promtool", "tsdb", "create-blocks-from", "openmetrics", "--quiet"]
        subprocess.run([*command, text, self._directory / "data"], check=True, timeout=120)

    def _configuration(self) -> dict[str, Any]:
        (monitor,) = template(
            "--show-only=templates/servicemonitor.yaml",
            "--set=prometheus.serviceMonitor.enabled=true",
        )
        (endpoint,) = monitor["spec"]["endpoints"]
        name = monitor["metadata"]["name"]
        (job,) = (r["replacement"] for r in endpoint["relabelings"] if r["targetLabel"] == "job")
        # The labels the Prometheus Operator's relabelling gives each target of a ServiceMonitor.
        labels = {
            "namespace": NAMESPACE,
            "service": name,
            "endpoint": endpoint["port"],
            "container": "operator",
            "pod": f"{name}-0",
        }
        scrape = {
            "job_name": job,
            "metrics_path": endpoint["path"],
            "honor_labels": endpoint["honorLabels"],
            "static_configs": [{"targets": [self._target], "labels": labels}],
        }
        intervals = {"scrape_interval": self._interval, "evaluation_interval": self._interval}
        return {
            "global": intervals | {"scrape_timeout": self._interval},
            "rule_files": [str(ALERTS)],
            "scrape_configs": [*([scrape] if self._target else []), *self._trainers_scrape()],
        }

    def _trainers_scrape(self) -> list[dict[str, Any]]:
        if self._trainers is None:
            return []
        scrape = scrape_configs()["finetune-trainer"]
        del scrape["kubernetes_sd_configs"]  # Debian's Prometheus has been built without it
        files = {"files": [str(self._trainers)], "refresh_interval": "1s"}
        return [scrape | {"file_sd_configs": [files]}]

    def _command(self) -> list[str]:
        program = shutil.which("prometheus")
        if not program:
            raise FileNotFoundError("prometheus is not installed: apt-get install prometheus")
        return [
            *("setpriv", "--pdeathsig", "KILL", "--", program),
            f"--config.file={self._directory / 'prometheus.yaml'}",
            f"--storage.tsdb.path={self._directory / 'data'}",
            f"--web.listen-address={self._address}",
            *(["--query.lookback-delta=20s"] if self._history else []),
        ]

    def _wait_until_ready(self) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while not self._is_ready():
            if self._process.poll() is not None:
                raise RuntimeError((self._directory / "log").read_text()[-4000:])
            if time.monotonic() > deadline:
                raise TimeoutError(f"prometheus was not ready in {READY_SECONDS} s")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        try:
            return self._http.get(f"http://{self._address}/-/ready", timeout=5).ok
        except requests.ConnectionError:
            return False

    def _stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._http.close()
        shutil.rmtree(self._directory, ignore_errors=True)
