"""How the dashboard's panels look: sizes, colours, legends. It knows no metric."""

from collections.abc import Sequence

from grafana_foundation_sdk.builders import common as build_common
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.builders import prometheus, stat, timeseries
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24
GREEN, RED, BLUE = "#56a64b", "#e02f44", "#5794f2"
PHASE_COLORS = {
    "Pending": "#8e8e8e",
    "Queued": "#b877d9",
    "Preparing": "#8ab8ff",
    "Starting": BLUE,
    "Training": "#ff9830",
    "Suspended": "#6e6e6e",
    "Complete": GREEN,
    "Failed": RED,
}


def query(expression: str, *, legend: str = "__auto") -> prometheus.Dataquery:
    """A query over the dashboard's time range."""
    return (
        prometheus.Dataquery()
        .expr(expression)
        .legend_format(legend)
        .datasource(SOURCE)
        .range()
        .ref_id("A")
    )


def setting(name: str, value: object) -> model.DynamicConfigValue:
    """One property of an override."""
    return model.DynamicConfigValue(id_val=name, value=value)


def fixed_color(color: str) -> model.DynamicConfigValue:
    """The override that gives a series its colour."""
    return setting("color", {"mode": "fixed", "fixedColor": color})


def percent() -> list[model.DynamicConfigValue]:
    """The overrides of a column that holds a ratio."""
    return [
        setting("unit", "percentunit"),
        setting("decimals", 1),
        setting("min", 0),
        setting("max", 1),
        setting("color", {"mode": "continuous-blues"}),
    ]


def tile(title: str, target: prometheus.Dataquery, *, color: str) -> stat.Panel:
    """One big number with its recent course; six of them fill a row."""
    reduce = build_common.ReduceDataOptions().calcs(["lastNotNull"])
    fixed = build.FieldColor().mode(model.FieldColorModeId.FIXED).fixed_color(color)
    return (
        stat.Panel()
        .title(title)
        .datasource(SOURCE)
        .with_target(target)
        .reduce_options(reduce)
        .color_scheme(fixed)
        .graph_mode(common.BigValueGraphMode.AREA)
        .color_mode(common.BigValueColorMode.VALUE)
        .no_value("-")
        .height(4)
        .span(WIDTH // 6)
    )


def graph(title: str, targets: Sequence[prometheus.Dataquery], *, width: int) -> timeseries.Panel:
    """Lines over time, from zero, with a legend below and all values in the tooltip."""
    panel = timeseries.Panel().title(title).datasource(SOURCE).height(8).span(width)
    for letter, target in zip("ABC", targets, strict=False):
        panel.with_target(target.ref_id(letter))
    legend = (
        build_common.VizLegendOptions()
        .show_legend(True)
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .calcs([])
    )
    tooltip = (
        build_common.VizTooltipOptions()
        .mode(common.TooltipDisplayMode.MULTI)
        .sort(common.SortOrder.DESCENDING)
    )
    return (
        panel.line_width(2)
        .fill_opacity(8)
        .show_points(common.VisibilityMode.NEVER)
        .min(0)
        .legend(legend)
        .tooltip(tooltip)
    )
