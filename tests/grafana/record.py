"""Records a Prometheus' answers to all queries of the dashboards, to draw them later without it.

An answer is found again by its query as the dashboard has it: a panel that only looks different
needs no new recording.
"""

import gzip
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deploy.render.dashboards.queries import jobs
from tests.grafana import boards
from tests.prometheus import PrometheusApi

Recording = dict[str, Any]
POINTS = 360
JOB = "finetune-job"


@dataclass(frozen=True)
class Source:
    """A Prometheus, how often it scrapes, and until when its answers are wanted."""

    prometheus: PrometheusApi
    scrape_seconds: int = 30
    end: float = field(default_factory=time.time)


def record(source: Source, job: tuple[str, str], *, hours: float) -> Recording:
    """The answers of the last hours, and for the Job dashboard of the life of this job."""
    end = source.end
    names = {"cluster": ".*", "namespace": job[0], "finetunejob": job[1]}
    created = _instant(source, jobs.created(), names) / 1000 - 30
    until = min(end, _instant(source, jobs.until(), names) / 1000)
    span = {uid: (end - hours * 3600, end) for uid in boards.UIDS} | {JOB: (created, until)}
    chosen = {uid: boards.ALL for uid in boards.UIDS} | {JOB: names}
    return {uid: _record(source, uid, chosen[uid], span[uid]) for uid in boards.UIDS}


def save(recording: Recording, path: Path) -> None:
    """Write a recording as compressed JSON."""
    with gzip.open(path, "wt") as file:
        json.dump(recording, file, separators=(",", ":"))


def _record(
    source: Source, uid: str, values: Mapping[str, str], span: tuple[float, float]
) -> dict[str, Any]:
    scrape = source.scrape_seconds
    step = math.ceil((span[1] - span[0]) / POINTS / scrape) * scrape
    start, end = (math.floor(at / step) * step for at in span)
    answers: dict[str, Any] = {"instant": {}, "range": {}}
    for query in (*boards.queries(uid), *boards.annotations(uid)):
        asked = boards.fill_in(
            query.expression, values, seconds=end - start, step=step, scrape=scrape
        )
        if query.is_instant:
            series = source.prometheus.query(asked, at=end)
        else:
            series = source.prometheus.query_range(asked, start=start, end=end, step=step)
        kind = "instant" if query.is_instant else "range"
        answers[kind][query.expression] = [_shorter(one) for one in series]
    own = {name: values[name] for name, _, _ in boards.variables(uid)}
    return {"start": start, "end": end, "step": step, "variables": own, "answers": answers}


def _instant(source: Source, expression: str, values: Mapping[str, str]) -> float:
    asked = boards.fill_in(expression, values, seconds=60)
    series = source.prometheus.query(asked, at=source.end)
    if not series:
        raise ValueError(f"no FineTuneJob {values['namespace']}/{values['finetunejob']}")
    return float(series[0]["value"][1])


def _shorter(series: dict[str, Any]) -> dict[str, Any]:
    """The series with six digits; times, in ms, keep all."""
    if "value" in series:
        return {"metric": series["metric"], "value": _rounded(series["value"])}
    return {"metric": series["metric"], "values": [_rounded(point) for point in series["values"]]}


def _rounded(point: list[Any]) -> list[Any]:
    at, text = point
    return [round(at), f"{float(text):.0f}" if abs(float(text)) > 1e9 else f"{float(text):.6g}"]
