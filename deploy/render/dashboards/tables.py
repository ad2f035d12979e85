"""Tables of FineTuneJobs: each row a series, each column a label or a query's value."""

from dataclasses import dataclass, field

from grafana_foundation_sdk.builders import common as build_common
from grafana_foundation_sdk.builders import table
from grafana_foundation_sdk.models import dashboard as model
from grafana_foundation_sdk.models.prometheus import PromQueryFormat

from deploy.render.dashboards.style import SOURCE, WIDTH, prometheus_query, setting

HIDDEN = (
    setting("custom.hideFrom", {"viz": True, "legend": True, "tooltip": True}),
    setting("custom.hidden", True),  # its name before Grafana 12.2
)
_LABELS = ("cluster", "namespace", "name", "phase", "reason")
TIME_AGO = (setting("unit", "dateTimeFromNow"),)


@dataclass(frozen=True)
class Column:
    """A column: of the label, or of the query's value; and how it looks. Without title: none."""

    title: str
    label: str = ""
    query: str = ""
    look: tuple[model.DynamicConfigValue, ...] = field(default=())


def width(pixels: int) -> tuple[model.DynamicConfigValue, ...]:
    """The look of a column with a fixed width."""
    return (setting("custom.width", pixels),)


def rows(title: str, columns: list[Column], *, description: str, sort: str) -> table.Panel:
    """A table of the series of all queries; those with the same labels are one row."""
    panel = table.Panel().title(title).description(description).datasource(SOURCE)
    names = {column.label: column.title for column in columns if column.label}
    valued = [column for column in columns if column.query]
    for letter, column in zip("ABCDEFGHIJ", valued, strict=False):
        target = prometheus_query(column.query).ref_id(letter).instant()
        panel.with_target(target.format(PromQueryFormat.TABLE))
        names[f"Value #{letter}" if len(valued) > 1 else "Value"] = column.title
    # The text for a table without rows is not for a cell without value.
    panel.override_by_regexp("/.*/", [setting("noValue", "-")])
    order = [column.title for column in columns]
    shown = {name: title for name, title in names.items() if title}
    hidden = [name for name in ("Time", *_LABELS, *names) if name not in shown]
    for column in columns:
        if column.look:
            panel.override_by_name(column.title, list(column.look))
    organize = {
        "excludeByName": dict.fromkeys(hidden, True),
        "indexByName": {name: order.index(title) for name, title in shown.items()},
        "renameByName": shown,
    }
    return (
        panel.with_transformation(model.DataTransformerConfig(id_val="merge", options={}))
        .with_transformation(model.DataTransformerConfig(id_val="organize", options=organize))
        .sort_by([build_common.TableSortByFieldState().display_name(sort).desc(True)])
        .unit("short")
        .span(WIDTH)
    )
