"""What the three dashboards have in common: variables, links, refresh; and their JSON."""

import json
from itertools import count
from typing import Any

from grafana_foundation_sdk.builders import bargauge, stat, statetimeline, table, timeseries
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models import dashboard as model

from deploy.render.dashboards.queries import variables
from deploy.render.dashboards.style import SOURCE

FLEET, JOB, OPERATOR = "finetune-fleet", "finetune-job", "finetune-operator"
TITLES = {
    FLEET: "FineTuneJobs / Fleet",
    JOB: "FineTuneJobs / Job",
    OPERATOR: "FineTuneJobs / Operator",
}
DOCS = "https://github.com/finetune-operator/finetune-operator/blob/main/docs"
SELECTED = "${datasource:queryparam}&${cluster:queryparam}"
Panel = bargauge.Panel | stat.Panel | statetimeline.Panel | table.Panel | timeseries.Panel


def board(uid: str, description: str) -> build.Dashboard:
    """A dashboard without panels, with the variables that all have."""
    datasource = build.DatasourceVariable("datasource").label("Data source").type("prometheus")
    dashboard = (
        build.Dashboard(TITLES[uid])
        .uid(uid)
        .description(description)
        .tags(["finetune-operator", "machine-learning"])
        .readonly()
        .tooltip(model.DashboardCursorSync.CROSSHAIR)
        .refresh("30s")
        .with_variable(datasource)
        .with_variable(all_of(variable("cluster", "Cluster", variables.clusters())))
    )
    for other in TITLES:
        if other != uid:
            dashboard.link(_link(TITLES[other], f"/d/{other}").include_vars(True).keep_time(True))
    return dashboard.link(_link("Runbook", f"{DOCS}/operations.md#runbook").target_blank(True))


def variable(name: str, label: str, values: str) -> build.QueryVariable:
    """A variable with one of the values."""
    return (
        build.QueryVariable(name)
        .label(label)
        .query({"query": values, "refId": name})
        .datasource(SOURCE)
        .refresh(model.VariableRefresh.ON_TIME_RANGE_CHANGED)
        .sort(model.VariableSort.ALPHABETICAL_ASC)
    )


def all_of(values: build.QueryVariable) -> build.QueryVariable:
    """The variable with any of its values, at first all: ".*" matches a missing label, too."""
    everything = model.VariableOption(selected=True, text=["All"], value=["$__all"])
    return values.multi(True).include_all(True).all_value(".*").current(everything)


def to_json(dashboard: build.Dashboard, sections: dict[str, list[Panel]]) -> dict[str, Any]:
    """The dashboard with these panels, each section but the first under a title."""
    number = count(1)
    for title, panels in sections.items():
        if title:
            dashboard.with_row(build.Row(title).id(next(number)))
        for panel in panels:
            dashboard.with_panel(panel.id(next(number)))
    result: dict[str, Any] = json.loads(json.dumps(dashboard.build(), cls=JSONEncoder))
    return result


def _link(title: str, url: str) -> build.DashboardLink:
    link = build.DashboardLink(title).type(model.DashboardLinkType.LINK).url(url)
    return link.icon("dashboard").tooltip("")
