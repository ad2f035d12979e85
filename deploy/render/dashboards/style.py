"""How panels look: sizes, colours, legends. It knows no metric.

The colours are those of Okabe and Ito, which the colour-blind can tell from each other. What has a
fixed set of names has fixed colours.
"""

from dataclasses import dataclass

from grafana_foundation_sdk.builders import bargauge, prometheus, stat, timeseries
from grafana_foundation_sdk.builders import common as build_common
from grafana_foundation_sdk.builders import dashboard as build
from grafana_foundation_sdk.models import common
from grafana_foundation_sdk.models import dashboard as model

SOURCE = model.DataSourceRef(type_val="prometheus", uid="${datasource}")
WIDTH = 24
BLUE, SKY, GREEN, ORANGE = "#0072B2", "#56B4E9", "#009E73", "#E69F00"
VERMILION, PURPLE, YELLOW, GREY = "#D55E00", "#CC79A7", "#F0E442", "#999999"
TEXT = "text"  # Grafana's own: black or white
PHASE_COLORS = {
    "Pending": GREY,
    "Queued": PURPLE,
    "Starting": ORANGE,
    "Preparing": SKY,
    "Training": BLUE,
    "Suspended": YELLOW,
    "Complete": GREEN,
    "Failed": VERMILION,
}


@dataclass(frozen=True)
class Line:
    """A query of a graph, with the name of its line; one with a colour may be dashed: a limit."""

    query: str
    legend: str
    color: str = ""
    dashed: bool = False


def prometheus_query(expression: str, *, legend: str = "__auto") -> prometheus.Dataquery:
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


def value_mappings(texts: dict[str, tuple[str, str]]) -> model.ValueMap:
    """Values that are shown as a text in a colour."""
    return model.ValueMap(
        options={
            value: model.ValueMappingResult(text=text, color=color, index=index)
            for index, (value, (text, color)) in enumerate(texts.items())
        }
    )


def phase_mappings() -> model.ValueMap:
    """Phases as texts, each in its colour."""
    return value_mappings({phase: (phase, color) for phase, color in PHASE_COLORS.items()})


def levels(below: str, steps: dict[float, str]) -> build.ThresholdsConfig:
    """The colour of a value: `below`, or that of the highest step that it reaches."""
    thresholds = [model.Threshold(value=None, color=below)]
    thresholds += [model.Threshold(value=at, color=color) for at, color in steps.items()]
    return build.ThresholdsConfig().mode(model.ThresholdsMode.ABSOLUTE).steps(thresholds)


def tile(title: str, query: str, *, description: str, unit: str = "short") -> stat.Panel:
    """One big number of now, in the colour of text; six of them fill a row."""
    return (
        stat.Panel()
        .title(title)
        .description(description)
        .datasource(SOURCE)
        .with_target(prometheus_query(query).instant())
        .reduce_options(build_common.ReduceDataOptions().calcs(["lastNotNull"]))
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.THRESHOLDS))
        .thresholds(levels(TEXT, {}))
        .graph_mode(common.BigValueGraphMode.NONE)
        .color_mode(common.BigValueColorMode.VALUE)
        .unit(unit)
        .height(3)
        .span(WIDTH // 6)
    )


def text_tile(title: str, query: str, *, legend: str, description: str) -> stat.Panel:
    """A label of the newest series, in big letters."""
    return (
        tile(title, query, description=description)
        .targets([prometheus_query(query, legend=legend).instant()])
        .text_mode(common.BigValueTextMode.NAME)
    )


def bars(title: str, lines: list[Line], *, description: str, unit: str) -> bargauge.Panel:
    """A bar for each series of now, named beside it: no colour has to be told from another."""
    panel = bargauge.Panel().title(title).description(description).datasource(SOURCE)
    for letter, line in zip("ABCDEF", lines, strict=False):
        target = prometheus_query(line.query, legend=line.legend).ref_id(letter)
        panel.with_target(target.instant())
        if line.color:
            panel.override_by_query(letter, [fixed_color(line.color)])
    return (
        panel.reduce_options(build_common.ReduceDataOptions().calcs(["lastNotNull"]))
        .orientation(common.VizOrientation.HORIZONTAL)
        .display_mode(common.BarGaugeDisplayMode.BASIC)
        .value_mode(common.BarGaugeValueMode.TEXT)
        .text(build_common.VizTextDisplayOptions().title_size(12).value_size(16))
        .color_scheme(build.FieldColor().mode(model.FieldColorModeId.FIXED).fixed_color(SKY))
        .show_unfilled(False)
        .unit(unit)
        .min(0)
        .height(7)
        .span(WIDTH // 3)
    )


def graph(title: str, lines: list[Line], *, description: str, unit: str) -> timeseries.Panel:
    """Lines over time, from zero, with a legend below and all values in the tooltip."""
    panel = timeseries.Panel().title(title).description(description).datasource(SOURCE)
    for letter, line in zip("ABCDEF", lines, strict=False):
        panel.with_target(prometheus_query(line.query, legend=line.legend).ref_id(letter))
        if line.color:
            panel.override_by_query(letter, _line_look(line))
    tooltip = build_common.VizTooltipOptions().mode(common.TooltipDisplayMode.MULTI)
    return (
        panel.line_width(2)
        .fill_opacity(0)
        .show_points(common.VisibilityMode.AUTO)
        .point_size(4)
        .unit(unit)
        .min(0)
        .legend(_legend_below())
        .tooltip(tooltip.sort(common.SortOrder.DESCENDING))
        .height(7)
        .span(WIDTH // 3)
    )


def stacked(panel: timeseries.Panel) -> timeseries.Panel:
    """Areas on top of each other: their sum is seen, too."""
    stacking = build_common.StackingConfig().mode(common.StackingMode.NORMAL).group("A")
    return panel.stacking(stacking).fill_opacity(70).line_width(1)


def counted(panel: timeseries.Panel) -> timeseries.Panel:
    """Whole numbers, which jump from one to the next."""
    return panel.decimals(0).line_interpolation(common.LineInterpolation.STEP_AFTER)


def colored(panel: timeseries.Panel, colors: dict[str, str]) -> timeseries.Panel:
    """Lines by name, each in its colour."""
    for name, color in colors.items():
        panel.override_by_name(name, [fixed_color(color)])
    return panel


def _line_look(line: Line) -> list[model.DynamicConfigValue]:
    dash = setting("custom.lineStyle", {"fill": "dash", "dash": [8, 8]})
    return [fixed_color(line.color), *([dash] if line.dashed else [])]


def _legend_below() -> build_common.VizLegendOptions:
    return (
        build_common.VizLegendOptions()
        .show_legend(True)
        .display_mode(common.LegendDisplayMode.LIST)
        .placement(common.LegendPlacement.BOTTOM)
        .calcs([])
    )
