"""The Fleet dashboard: what runs, what waits and why, what fails and why."""

from typing import Any

from grafana_foundation_sdk.builders import bargauge, stat, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models.dashboard import DynamicConfigValue

from deploy.render.dashboards.board import (
    DOCS,
    FLEET,
    JOB,
    SELECTED,
    Panel,
    all_of,
    board,
    to_json,
    variable,
)
from deploy.render.dashboards.queries import fleet as queries
from deploy.render.dashboards.queries import jobs, variables
from deploy.render.dashboards.style import (
    BLUE,
    GREEN,
    ORANGE,
    PHASE_COLORS,
    PURPLE,
    SKY,
    TEXT,
    VERMILION,
    WIDTH,
    Line,
    bars,
    colored,
    counted,
    fixed_color,
    graph,
    levels,
    phase_mappings,
    setting,
    stacked,
    tile,
    value_mappings,
)
from deploy.render.dashboards.tables import HIDDEN, TIME_AGO, Column, rows, width

WAITING = ("Pending", "Queued", "Starting")
RUNNING = ("Preparing", "Training")
MINUTE = 60


def render() -> dict[str, Any]:
    """The dashboard."""
    dashboard = (
        board(FLEET, "All FineTuneJobs: what runs, what waits and why, what fails and why.")
        .time("now-6h", "now")
        .with_variable(all_of(variable("namespace", "Namespace", variables.namespaces())))
        .with_variable(all_of(_job_names()))
    )
    panels: list[Panel] = [*_tiles(), _alerts(), _waiting(), _failed(), _jobs()]
    return to_json(
        dashboard,
        {"": panels, "Over time": [_phases(), _gpus()], "In the time range": [*_ended()]},
    )


def _job_names() -> build.QueryVariable:
    names = variable("finetunejob", "FineTuneJob", variables.job_names())
    return names.description(
        "Chooses rows of the tables, GPUs and the longest wait. All else counts the namespaces."
    )


def _tiles() -> tuple[stat.Panel, ...]:
    return (
        tile(
            "Operator",
            queries.leaders(),
            description="Whether an operator leads; of several clusters the worst. "
            "Without one no job is started and no status is written.",
        ).mappings([value_mappings({"0": ("none leads", VERMILION), "1": ("works", GREEN)})]),
        tile(
            "Failed",
            queries.failed_jobs(),
            description="Jobs that failed in the time range, deleted ones too.",
        ).thresholds(levels(GREEN, {1: VERMILION})),
        tile(
            "Longest wait",
            queries.longest_wait(),
            description="Of the jobs that are Pending, Queued or Starting now.",
            unit="s",
        )
        .thresholds(levels(TEXT, {20 * MINUTE: ORANGE, 60 * MINUTE: VERMILION}))
        .no_value("none waits"),
        tile(
            "Waiting",
            queries.jobs_in(*WAITING),
            description="Jobs that are Pending, Queued or Starting now.",
        ),
        tile(
            "Running",
            queries.jobs_in(*RUNNING),
            description="Jobs that are Preparing or Training now.",
        ),
        tile(
            "Complete",
            queries.completed_jobs(),
            description="Jobs that completed in the time range, deleted ones too.",
        ).thresholds(levels(GREEN, {})),
    )


def _alerts() -> table.Panel:
    columns = [
        Column("Alert", "alertname", look=(_link("Runbook", f"{DOCS}/operations.md#runbook"),)),
        Column("Severity", "severity", look=width(100)),
        _job_column(),
        _reason_column(),
        _namespace_column(),
        Column("", query=queries.firing_alerts()),
    ]
    about = (
        "Alerts of this project that fire now, in all namespaces. Empty also where Prometheus has "
        "not loaded the alert rules (prometheus.rules.enabled of the chart)."
    )
    panel = rows("Alerts", columns, description=about, sort="Severity")
    return panel.height(5).no_value("No alert fires")


def _waiting() -> table.Panel:
    columns = [
        _job_column(),
        _reason_column(),
        Column("For", query=queries.waited(), look=(setting("unit", "s"), *width(100))),
        _phase_column(),
        _namespace_column(),
    ]
    about = "Jobs that are Pending, Queued or Starting now; the reason is that of status.failure."
    panel = rows("What waits, and why", columns, description=about, sort="For")
    return panel.height(6).span(WIDTH // 2).no_value("No job waits")


def _failed() -> table.Panel:
    columns = [
        _job_column(),
        _reason_column(),
        Column("Ended", query=queries.failed(), look=(*TIME_AGO, *width(150))),
        _namespace_column(),
    ]
    about = "Jobs that failed in the time range and have not been deleted."
    panel = rows("What failed, and why", columns, description=about, sort="Ended")
    return panel.height(6).span(WIDTH // 2).no_value("No job failed in the time range")


def _jobs() -> table.Panel:
    columns = [
        Column("Cluster", "cluster"),
        _job_column(_LIFETIME),
        _phase_column(),
        _reason_column(),
        Column("", query=queries.jobs()),
        Column("Progress", query=jobs.progress(), look=_progress_bar()),
        Column("Left", query=jobs.remaining(), look=(setting("unit", "s"), *width(90))),
        Column("Accuracy", query=jobs.accuracy(), look=(*_percent(), *width(90))),
        Column("Attempts", query=jobs.attempts(), look=width(80)),
        Column("GPUs", query=jobs.gpus(), look=width(60)),
        Column("Created", query=jobs.created(), look=(*TIME_AGO, *width(150))),
        Column("Until", query=jobs.until(), look=HIDDEN),
        _namespace_column(),
    ]
    about = (
        "The newest first. A job's name leads to its curves, from its creation to its end. "
        "Accuracy is that of the validation images; Left is the trainer's estimate."
    )
    panel = rows("Jobs", columns, description=about, sort="Created")
    return panel.height(9).no_value("No FineTuneJob in the selected namespaces")


def _phases() -> timeseries.Panel:
    panel = graph(
        "Jobs by phase",
        [Line(queries.jobs_by_phase(), "{{phase}}")],
        description="FineTuneJobs that exist, by phase.",
        unit="short",
    )
    return counted(stacked(colored(panel, PHASE_COLORS))).span(WIDTH // 2)


def _gpus() -> timeseries.Panel:
    panel = graph(
        "GPUs asked for, by phase",
        [Line(queries.gpus_by_phase(), "{{phase}}")],
        description="GPUs of unfinished jobs. Preparing, Starting and Training may hold theirs; "
        "Pending, Queued and Suspended hold none.",
        unit="short",
    )
    colors = {name: PHASE_COLORS[name] for name in PHASE_COLORS if name not in _FINISHED}
    return (
        counted(stacked(colored(panel, colors)))
        .span(WIDTH // 2)
        .no_value("No unfinished job in the time range")
    )


def _ended() -> tuple[bargauge.Panel, ...]:
    return (
        bars(
            "Failed jobs, by reason",
            [Line(queries.failed_jobs_by_reason(), "{{reason}}", VERMILION)],
            description="Jobs that failed in the time range. Many of one reason at a time are a "
            "fault of what they share: image, network, storage, nodes.",
            unit="short",
        ).no_value("No job failed in the time range"),
        bars(
            "Ended attempts, by reason",
            [Line(queries.ended_attempts_by_reason(), "{{reason}}", SKY)],
            description="Attempts that ended in the time range, those that are retried too.",
            unit="short",
        ).no_value("No attempt ended in the time range"),
        bars(
            "Time to start, and to run",
            [
                Line(queries.time_in_queue(0.5), "queued: median", PURPLE),
                Line(queries.time_in_queue(0.95), "queued: 95 %", PURPLE),
                Line(queries.time_to_first_step(0.5), "started: median", SKY),
                Line(queries.time_to_first_step(0.95), "started: 95 %", SKY),
                Line(queries.run_time(0.5), "ran: median", BLUE),
                Line(queries.run_time(0.95), "ran: 95 %", BLUE),
            ],
            description="Time in a queue, from creation to the first step, and from start to "
            "completion: half of the jobs stayed below the median, 95 % below the other.",
            unit="s",
        ).no_value("No job started in the time range"),
    )


_FINISHED = ("Complete", "Failed")
_NARROW = setting("custom.minWidth", 120)  # a phone shows three columns
_LIFETIME = "from=${__data.fields.Created.numeric}&to=${__data.fields.Until.numeric}"


def _namespace_column() -> Column:
    return Column("Namespace", "namespace")


def _job_column(time_range: str = "${__url_time_range}") -> Column:
    url = (
        f"/d/{JOB}?{SELECTED}&var-namespace=${{__data.fields.Namespace}}"
        f"&var-finetunejob=${{__value.raw}}&{time_range}"
    )
    return Column("Job", "name", look=(_link("Show this job", url), _NARROW))


def _phase_column() -> Column:
    background = {"type": "color-background", "mode": "basic"}
    look = (setting("mappings", [phase_mappings()]), setting("custom.cellOptions", background))
    return Column("Phase", "phase", look=(*look, *width(100)))


def _reason_column() -> Column:
    explained = _link("What it means, and what to do", f"{DOCS}/troubleshooting.md")
    return Column("Reason", "reason", look=(explained, _NARROW))


def _progress_bar() -> tuple[DynamicConfigValue, ...]:
    bar = {"type": "gauge", "mode": "basic"}
    return (*_percent(), setting("custom.cellOptions", bar), fixed_color(SKY), *width(220))


def _percent() -> tuple[DynamicConfigValue, ...]:
    limits = (setting("min", 0), setting("max", 1))
    return (setting("unit", "percentunit"), setting("decimals", 1), *limits)


def _link(title: str, url: str) -> DynamicConfigValue:
    return setting("links", [{"title": title, "url": url}])
