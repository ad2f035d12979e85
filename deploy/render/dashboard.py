"""Renders the Grafana dashboard "FineTuneJobs" (Grafana 10 or later): what it shows, and where.

Its PromQL is in dashboard_queries.py, its look in dashboard_style.py.
"""

import json
from itertools import count
from pathlib import Path

from grafana_foundation_sdk.builders import common as build_common
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import stat, table, timeseries
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.render import dashboard_queries as queries
from deploy.render.dashboard_style import (
    BLUE,
    GREEN,
    PHASE_COLORS,
    RED,
    SOURCE,
    WIDTH,
    fixed_color,
    graph,
    percent,
    query,
    setting,
    tile,
)

ROOT = Path(__file__).parents[2]
PLACES = (
    ROOT / "deploy/grafana/finetune-jobs.json",
    ROOT / "charts/finetune-operator/files/dashboards/finetune-jobs.json",
)
UID = "finetune-jobs"
WAITING = ("Pending", "Queued", "Suspended")
RUNNING = ("Preparing", "Starting", "Training")
JOB_LEGEND = "{{namespace}}/{{name}}"
Panel = stat.Panel | table.Panel | timeseries.Panel


def render() -> str:
    """The dashboard as JSON."""
    board = _board()
    number = count(1)
    jobs: tuple[Panel, ...] = (*_tiles(), _accuracy(), _progress(), _job_table(), _jobs_by_phase())
    for panel in jobs:
        board.with_panel(panel.id(next(number)))
    for title, row in (("Attempts and failures", _failures()), ("Operator", _operator())):
        board.with_row(build.Row(title).id(next(number)))
        for graph_panel in row:
            board.with_panel(graph_panel.id(next(number)))
    return json.dumps(board.build(), cls=JSONEncoder, indent=2, sort_keys=True) + "\n"


def _board() -> build.Dashboard:
    datasource = build.DatasourceVariable("datasource").label("Data source").type("prometheus")
    return (
        build.Dashboard("FineTuneJobs")
        .uid(UID)
        .description("Accuracy, progress and failures of fine-tuning jobs, and their operator.")
        .tags(["finetune-operator", "machine-learning"])
        .editable()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .time("now-3h", "now")
        .refresh("10s")
        .with_variable(datasource)
        .with_variable(_variable("namespace", label="Namespace", values=queries.namespaces()))
        .with_variable(_variable("job", label="Job", values=queries.job_names()))
    )


def _variable(name: str, *, label: str, values: str) -> build.QueryVariable:
    everything = model.VariableOption(selected=True, text=["All"], value=["$__all"])
    return (
        build.QueryVariable(name)
        .label(label)
        .query({"query": values, "refId": name})
        .datasource(SOURCE)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
        .multi(True)
        .include_all(True)
        .all_value(".*")
        .current(everything)
    )


def _tiles() -> tuple[stat.Panel, ...]:
    version = query(queries.operator_version(), legend="{{version}}").instant()
    best = tile("Best accuracy", query(queries.best_accuracy()), color=GREEN)
    return (
        tile("Waiting", query(queries.jobs_in(*WAITING)), color=PHASE_COLORS["Queued"]),
        tile("Running", query(queries.jobs_in(*RUNNING)), color=PHASE_COLORS["Training"]),
        tile("Complete", query(queries.jobs_in("Complete")), color=GREEN),
        tile("Failed", query(queries.jobs_in("Failed")), color=RED),
        best.unit("percentunit").decimals(1),
        tile("Operator", version, color=BLUE)
        .text_mode(common.BigValueTextMode.NAME)
        .graph_mode(common.BigValueGraphMode.NONE)
        .no_value("not running"),
    )


def _accuracy() -> timeseries.Panel:
    targets = [query(queries.accuracy(), legend=JOB_LEGEND)]
    return (
        graph("Accuracy", targets, width=WIDTH // 2)
        .description("On the validation images. The last value of a complete job is its result.")
        .unit("percentunit")
        .max(1)
    )


def _progress() -> timeseries.Panel:
    targets = [query(queries.progress(), legend=JOB_LEGEND)]
    return graph("Progress", targets, width=WIDTH // 2).unit("percentunit").max(1)


def _job_table() -> table.Panel:
    columns = {
        "Progress": queries.progress(),
        "Accuracy": queries.accuracy(),
        "Attempts": queries.attempts(),
    }
    panel = table.Panel().title("Jobs").datasource(SOURCE).height(10).span(WIDTH // 2)
    names = {"namespace": "Namespace", "name": "Job"}
    for letter, (title, expression) in zip("ABC", columns.items(), strict=True):
        target = query(expression).ref_id(letter).instant().format(PromQueryFormat.TABLE)
        panel.with_target(target)
        names[f"Value #{letter}"] = title
    order = {name: position for position, name in enumerate(names)}
    organize = {"excludeByName": {"Time": True}, "indexByName": order, "renameByName": names}
    link = {
        "title": "Show only this job",
        "url": f"/d/{UID}?${{datasource:queryparam}}"
        "&var-namespace=${__data.fields.Namespace}&var-job=${__value.raw}",
    }
    bar = {"type": "gauge", "mode": "gradient"}
    return (
        panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(model.DataTransformerConfig(id_val="organize", options=organize))
        .override_by_name("Job", [setting("links", [link])])
        .override_by_name("Progress", [*percent(), setting("custom.cellOptions", bar)])
        .override_by_name("Accuracy", percent())
        .sort_by([build_common.TableSortByFieldState().display_name("Accuracy").desc(True)])
    )


def _jobs_by_phase() -> timeseries.Panel:
    targets = [query(queries.jobs_by_phase(), legend="{{phase}}")]
    panel = graph("Jobs by phase", targets, width=WIDTH // 2).height(10)
    for phase, color in PHASE_COLORS.items():
        panel.override_by_name(phase, [fixed_color(color)])
    stacking = build_common.StackingConfig().mode(common.StackingMode.NORMAL)
    return panel.stacking(stacking).fill_opacity(60).line_width(1).decimals(0)


def _failures() -> tuple[timeseries.Panel, ...]:
    ended = [query(queries.ended_attempts(), legend="{{reason}}")]
    finished = [
        query(queries.completed_jobs(), legend="Complete"),
        query(queries.failed_jobs(), legend="{{reason}}"),
    ]
    panels = (
        graph("Ended attempts, by reason", ended, width=WIDTH // 2),
        graph("Finished jobs, by reason", finished, width=WIDTH // 2),
    )
    return tuple(
        panel.description("Counted since the operator started.")
        .line_interpolation(common.LineInterpolation.STEP_AFTER)
        .override_by_name("Complete", [fixed_color(GREEN)])
        .decimals(0)
        for panel in panels
    )


def _operator() -> tuple[timeseries.Panel, ...]:
    quantiles = [
        query(queries.reconcile_duration(quantile), legend=f"p{quantile * 100:.0f}")
        for quantile in (0.5, 0.95, 0.99)
    ]
    rates = [
        query(queries.reconciles(), legend="reconciles"),
        query(queries.reconcile_errors(), legend="errors"),
    ]
    depth = [query(queries.queue_depth(), legend="jobs waiting for a worker")]
    age = [query(queries.watch_age(), legend="since the last event")]
    width = WIDTH // 4
    return (
        graph("Reconcile duration", quantiles, width=width).unit("s"),
        graph("Reconciles", rates, width=width)
        .unit("ops")
        .override_by_name("errors", [fixed_color(RED)]),
        graph("Queue", depth, width=width),
        graph("Watch age", age, width=width).unit("s"),
    )


def main() -> None:
    """Write the dashboard into its places."""
    for place in PLACES:
        place.write_text(render())


if __name__ == "__main__":
    main()
