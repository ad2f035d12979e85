"""The Operator dashboard: does the operator keep up, and does the API server answer it."""

from collections.abc import Callable
from typing import Any

from grafana_foundation_sdk.builders import bargauge, stat, timeseries

from deploy.render.dashboards.board import OPERATOR, Panel, board, to_json
from deploy.render.dashboards.queries import operator as queries
from deploy.render.dashboards.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    SKY,
    VERMILION,
    Line,
    bars,
    colored,
    fixed_color,
    graph,
    levels,
    stacked,
    text_tile,
    tile,
    value_mappings,
)

QUANTILES = {"median": (0.5, SKY), "95 %": (0.95, BLUE), "99 %": (0.99, PURPLE)}


def render() -> dict[str, Any]:
    """The dashboard."""
    dashboard = board(
        OPERATOR, "The operator itself: does it keep up, and does the API server answer it."
    ).time("now-3h", "now")
    sections: dict[str, list[Panel]] = {
        "": [*_tiles()],
        "Work": [_reconciles(), _queue(), _longest(), _waits(), _durations(), _returns()],
        "API server": [
            _requests(),
            _failures(),
            _latency(),
            _watch_ages(),
            _watch_errors(),
            _unread(),
        ],
        "Process": [_cpu(), _memory(), _files()],
    }
    return to_json(dashboard, sections)


def _tiles() -> tuple[stat.Panel, ...]:
    leaders = {"0": ("none", VERMILION), "1": ("1", GREEN)}
    return (
        tile(
            "Leaders",
            queries.leaders(),
            description="Operators that lead, of several clusters in that with fewest: to be 1.",
        )
        .mappings([value_mappings(leaders)])
        .thresholds(levels(VERMILION, {})),
        tile(
            "Not ready",
            queries.not_ready(),
            description="Operators, standbys too, whose /readyz does not say ok: they have not "
            "been able to list all that they need.",
        ).thresholds(levels(GREEN, {1: VERMILION})),
        text_tile(
            "Version",
            queries.version(),
            legend="{{version}}",
            description="Of the operators that are scraped; two during an upgrade.",
        ).no_value("not scraped"),
        tile(
            "Failed reconciles",
            queries.failed_reconciles(),
            description="Reconciles in the time range that ended in an error. Each is repeated.",
        )
        .thresholds(levels(GREEN, {1: ORANGE}))
        .no_value("not scraped"),
        tile(
            "Oldest watch",
            queries.oldest_watch(),
            description="Since a watch is known to have missed nothing. A bookmark comes each "
            "minute: from 5 minutes on the operator acts on what it knew before.",
            unit="s",
        )
        .thresholds(levels(GREEN, {180: ORANGE, 300: VERMILION}))
        .no_value("not scraped"),
        tile(
            "Jobs without series",
            queries.jobs_without_series(),
            description="Jobs beyond settings.metricsJobLimit. The dashboards count them, and do "
            "not show them one by one.",
        )
        .thresholds(levels(GREEN, {1: ORANGE}))
        .no_value("not scraped"),
    )


def _reconciles() -> timeseries.Panel:
    panel = graph(
        "Reconciles",
        [Line(queries.reconciles(), "{{result}}")],
        description="Per second, by result. A conflict is repeated with what is newer; an error "
        "with a growing delay.",
        unit="ops",
    )
    colors = {"success": GREEN, "conflict": ORANGE, "error": VERMILION}
    return stacked(colored(panel, colors))


def _queue() -> timeseries.Panel:
    return graph(
        "Queue",
        [Line(queries.queue_depth(), "jobs that wait", BLUE)],
        description="FineTuneJobs that wait for a worker. It is to come back to 0.",
        unit="short",
    ).decimals(0)


def _longest() -> timeseries.Panel:
    return graph(
        "Longest work",
        [Line(queries.longest_work(), "one worker at one job", BLUE)],
        description="How long the worker has been at its job that is longest at it. Minutes mean "
        "that the API server does not answer.",
        unit="s",
    )


def _waits() -> timeseries.Panel:
    return graph(
        "Time in the queue",
        _quantiles(queries.queue_duration),
        description="From the moment at which a job is to be looked at, until a worker does.",
        unit="s",
    ).no_value("Nothing was in the queue")


def _durations() -> timeseries.Panel:
    return graph(
        "Reconcile duration",
        _quantiles(queries.work_duration),
        description="How long a worker is at one job. Above a second the API server is slow, or "
        "slows the operator down.",
        unit="s",
    ).no_value("Nothing was reconciled")


def _returns() -> timeseries.Panel:
    return graph(
        "Adds and retries",
        [
            Line(queries.queue_adds(), "adds", BLUE),
            Line(queries.queue_retries(), "of these retries", VERMILION),
        ],
        description="Jobs per second that are put into the queue; a retry is an add after an error "
        "or a conflict.",
        unit="ops",
    )


def _requests() -> timeseries.Panel:
    panel = graph(
        "Requests, by code",
        [Line(queries.requests(), "{{code}}")],
        description="Requests to the API server per second. 409: somebody else was first; "
        "429: too many; error: no answer.",
        unit="reqps",
    )
    for pattern, color in {
        "2": GREEN,
        "3": GREY,
        "4": ORANGE,
        "5": VERMILION,
        "e": PURPLE,
    }.items():
        panel.override_by_regexp(f"/^{pattern}/", [fixed_color(color)])
    return stacked(panel)


def _failures() -> bargauge.Panel:
    return bars(
        "Failed requests",
        [Line(queries.failed_requests(), "{{verb}} {{resource}}: {{code}}", VERMILION)],
        description="Per second, now. 403: the operator's rights were changed; the runbook of "
        "FineTuneOperatorReconcileErrors has more.",
        unit="reqps",
    ).no_value("No request fails")


def _latency() -> timeseries.Panel:
    return graph(
        "Time of a request",
        _quantiles(queries.request_duration),
        description="Until the API server has answered; without watches.",
        unit="s",
    ).no_value("No request was made")


def _watch_ages() -> timeseries.Panel:
    panel = graph(
        "Watch age",
        [Line(queries.watch_ages(), "{{resource}}")],
        description="Since each watch is known to have missed nothing, by an event, a bookmark or "
        "a list. A bookmark comes each minute.",
        unit="s",
    )
    return colored(panel, {"finetunejobs": BLUE, "jobs": ORANGE, "pods": GREEN})


def _watch_errors() -> bargauge.Panel:
    return bars(
        "Broken watches",
        [Line(queries.watch_errors(), "{{resource}}", ORANGE)],
        description="Watches of Jobs and pods that ended by an error in the time range. Each is "
        "opened again; a few are normal.",
        unit="short",
    ).no_value("No watch has ended by an error")


def _unread() -> bargauge.Panel:
    return bars(
        "What cannot be read",
        [
            Line(queries.broken_namespaces(), "broken namespaces", VERMILION),
            Line(queries.unreadable_jobs(), "unreadable jobs", ORANGE),
            Line(queries.stale_caches(), "stale caches", SKY),
        ],
        description="Namespaces whose Jobs or pods cannot be listed, FineTuneJobs that this "
        "version cannot read, and reconciles in the time range that listed what the watches had "
        "missed.",
        unit="short",
    ).no_value("No operator is scraped")


def _cpu() -> timeseries.Panel:
    return graph(
        "CPU",
        [Line(queries.cpu("max"), "busiest", BLUE), Line(queries.cpu("min"), "idlest", SKY)],
        description="CPUs in use, of the operators that are scraped. It is one process: 1 is all.",
        unit="short",
    )


def _memory() -> timeseries.Panel:
    return graph(
        "Memory",
        [Line(queries.memory(), "largest", BLUE)],
        description="Resident memory of the largest operator.",
        unit="bytes",
    )


def _files() -> timeseries.Panel:
    return graph(
        "Open files",
        [Line(queries.open_files(), "of the limit", BLUE)],
        description="Share of its file descriptors that a process has open; each connection is "
        "one.",
        unit="percentunit",
    )


def _quantiles(query: Callable[[float], str]) -> list[Line]:
    return [Line(query(share), legend, color) for legend, (share, color) in QUANTILES.items()]
