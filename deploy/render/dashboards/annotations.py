"""Marks on the curves of a job: its start and end, attempts and checkpoints."""

from typing import Any

from deploy.render.dashboards.queries import job, jobs
from deploy.render.dashboards.style import GREEN, GREY, ORANGE, SKY


def of_a_job() -> list[dict[str, Any]]:
    """All annotations of the Job dashboard."""
    return [
        _at_value("Started", jobs.started(), SKY),
        _at_value("Ended", jobs.ended(), GREEN),
        _annotation("Attempts", job.new_attempt(), ORANGE, titleFormat="A new attempt"),
        _at_value("Checkpoints", jobs.saved(), GREY),
    ]


def _at_value(name: str, expression: str, color: str) -> dict[str, Any]:
    """A mark at each time that is a value of the query."""
    return _annotation(name, expression, color, titleFormat=name, useValueForTime=True)


def _annotation(name: str, expression: str, color: str, **how: object) -> dict[str, Any]:
    return {
        "name": name,
        "enable": True,
        "iconColor": color,
        "datasource": {"type": "prometheus", "uid": "${datasource}"},
        "expr": expression,
        "step": "15s",
        **how,
    }
