"""The Job dashboard: one FineTuneJob, how well it learns, and why it ended."""

from typing import Any

from grafana_foundation_sdk.builders import stat, statetimeline, table, timeseries
from grafana_foundation_sdk.models import common

from deploy.render.dashboards import annotations
from deploy.render.dashboards.board import DOCS, JOB, Panel, board, to_json, variable
from deploy.render.dashboards.queries import job as queries
from deploy.render.dashboards.queries import jobs, variables
from deploy.render.dashboards.style import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PHASE_COLORS,
    PURPLE,
    SKY,
    SOURCE,
    TEXT,
    VERMILION,
    WIDTH,
    Line,
    fixed_color,
    graph,
    levels,
    prometheus_query,
    setting,
    stacked,
    text_tile,
    tile,
    value_mappings,
)
from deploy.render.dashboards.tables import TIME_AGO, Column, rows, width

NO_POD = "No pod is scraped: see the description"
NO_GPU = "No GPU is measured: see the description"
NEEDS_POD = (
    " Needs the trainers' metrics (prometheus.podMonitor.enabled of the chart), and is of the time "
    "when pods run."
)
NEEDS_NVML = " Needs the trainers' metrics, and a GPU with NVML in the pod."
NEEDS_DCGM = (
    " Needs dcgm-exporter with the names of pods, under a scrape job whose name ends with "
    "dcgm-exporter."
)


def render() -> dict[str, Any]:
    """The dashboard."""
    dashboard = (
        board(JOB, "One FineTuneJob: how well it learns, what it waits for, why it ended.")
        .time("now-3h", "now")
        .with_variable(variable("namespace", "Namespace", variables.namespaces()))
        .with_variable(variable("finetunejob", "FineTuneJob", variables.job_names()))
    )
    sections: dict[str, list[Panel]] = {
        "": [*_tiles(), _timeline(), _details()],
        "How well it learns": [_accuracy(), _loss(), _learning_rate(), _throughput(), _data_wait()],
        "Its pods": [_step_time(), _time_shares(), _checkpoints(), _memory()],
        "Its GPUs": [_gpu_use(), _gpu_memory(), _dcgm_use(), _dcgm_power()],
    }
    result = to_json(dashboard, sections)
    result["annotations"] = {"list": annotations.of_a_job()}
    return result


def _tiles() -> tuple[stat.Panel, ...]:
    phase = text_tile(
        "Phase", queries.phase(), legend="{{phase}}", description="As kubectl get shows it."
    )
    for name, color in PHASE_COLORS.items():
        phase.override_by_name(name, [fixed_color(color)])
    return (
        phase.no_value("no such job"),
        text_tile(
            "Why",
            queries.reason(),
            legend="{{reason}}",
            description="The reason of status.failure: what it waits for, or why it ended. "
            f"[What it means, and what to do]({DOCS}/troubleshooting.md)",
        )
        .thresholds(levels(GREEN, {1: ORANGE}))
        .no_value("nothing is wrong"),
        _percentage(
            "Accuracy", jobs.accuracy(), "On the validation images, of the last epoch."
        ).no_value("no epoch yet"),
        _percentage(
            "Progress", jobs.progress(), "Of the whole run, preparation included."
        ).no_value("not yet"),
        tile(
            "Time left", jobs.remaining(), description="As the trainer estimates.", unit="s"
        ).no_value("no estimate"),
        tile(
            "Attempts",
            jobs.attempts(),
            description="Started so far; more than one means that it was disrupted or has failed.",
        )
        .thresholds(levels(TEXT, {2: ORANGE}))
        .no_value("none yet"),
    )


def _percentage(title: str, query: str, description: str) -> stat.Panel:
    return tile(title, query, description=description, unit="percentunit").decimals(1)


def _timeline() -> statetimeline.Panel:
    phases = {
        str(number): (phase, color)
        for number, (phase, color) in enumerate(PHASE_COLORS.items(), start=1)
    }
    query = prometheus_query(queries.phase_number(tuple(PHASE_COLORS)), legend="Phase")
    return (
        statetimeline.Panel()
        .title("Phase and attempt")
        .description("What the job was doing when, and in which attempt.")
        .datasource(SOURCE)
        .with_target(query)
        .with_target(prometheus_query(jobs.attempts(), legend="Attempt").ref_id("B"))
        .override_by_name("Phase", [setting("mappings", [value_mappings(phases)])])
        .override_by_name("Attempt", [fixed_color(GREY)])
        .unit("short")
        .no_value("No such job in the time range")
        .show_value(common.VisibilityMode.AUTO)
        .merge_values(True)
        .row_height(0.8)
        .fill_opacity(80)
        .line_width(1)
        .height(4)
        .span(WIDTH)
    )


def _details() -> table.Panel:
    columns = [
        Column("", query=queries.info()),
        Column("Model", "model"),
        Column("Recipe", "recipe"),
        Column("Data set", "dataset"),
        Column("Queue", "queue"),
        Column("GPUs", query=jobs.gpus(), look=width(70)),
        Column("Ran for", query=jobs.ran_for(), look=(setting("unit", "s"), *width(110))),
        Column("Epoch", query=jobs.epoch(), look=width(80)),
        Column("Failures", query=jobs.failures(), look=width(90)),
        Column("Disruptions", query=jobs.disruptions(), look=width(110)),
        Column("Saved", query=jobs.saved(), look=(*TIME_AGO, *width(140))),
        Column("Created", query=jobs.created(), look=(*TIME_AGO, *width(140))),
    ]
    about = (
        "What it trains and where it is. Data set is the digest's first 12 characters; Saved is "
        "the newest checkpoint, while it runs. Failures count against backoffLimit."
    )
    panel = rows("Details", columns, description=about, sort="Created")
    return panel.height(4).no_value("No such job")


def _accuracy() -> timeseries.Panel:
    lines = [
        Line(jobs.accuracy(), "validation", BLUE),
        Line(jobs.train_accuracy(), "training", ORANGE),
    ]
    about = (
        "After each epoch. Training far above validation is overfitting: the network has learned "
        "its photos by heart. The last value of a complete job is its result."
    )
    panel = graph("Accuracy", lines, description=about, unit="percentunit")
    return panel.max(1).height(9).span(WIDTH // 2).no_value("No epoch has ended yet")


def _loss() -> timeseries.Panel:
    lines = [Line(jobs.train_loss(), "training loss", ORANGE)]
    about = (
        "Mean cross-entropy of the training images, after each epoch, in nats. It is to fall; a "
        "jump upwards or NaN means that the learning rate is too high."
    )
    panel = graph("Loss", lines, description=about, unit="short")
    return panel.height(9).span(WIDTH // 2).no_value("No epoch has ended yet")


def _learning_rate() -> timeseries.Panel:
    lines = [Line(jobs.learning_rate(), "learning rate", PURPLE)]
    about = "Of the last update of each epoch."
    panel = graph("Learning rate", lines, description=about, unit="short")
    return panel.no_value("No epoch has ended yet")


def _throughput() -> timeseries.Panel:
    lines = [Line(jobs.images_per_second(), "images per second", GREEN)]
    about = "Training images per second of each epoch, in all pods together."
    panel = graph("Throughput", lines, description=about, unit="short")
    return panel.no_value("No epoch has ended yet")


def _data_wait() -> timeseries.Panel:
    lines = [Line(jobs.data_wait(), "waiting for images", VERMILION)]
    about = (
        "Share of each epoch in which the fit waited for images. Much of it: storage or CPUs are "
        "too slow for the GPUs. Not there where a recipe trains the last layer only."
    )
    panel = graph("Wait for data", lines, description=about, unit="percentunit")
    return panel.max(1).no_value("No epoch has ended yet, or the trainer does not report it")


def _step_time() -> timeseries.Panel:
    lines = [
        Line(queries.step_seconds("max"), "slowest pod", BLUE),
        Line(queries.step_seconds("min"), "fastest pod", SKY),
    ]
    about = "Seconds of one step, without the wait for its images." + NEEDS_POD
    panel = graph("Time of a step", lines, description=about, unit="s")
    return panel.span(WIDTH // 4).no_value(NO_POD)


def _time_shares() -> timeseries.Panel:
    lines = [
        Line(queries.share_of_time("step"), "steps", BLUE),
        Line(queries.share_of_time("data_wait"), "waiting for images", VERMILION),
        Line(queries.share_of_time("checkpoint"), "saving checkpoints", GREY),
    ]
    about = "What the pods do, on average; the rest is validation and what is between." + NEEDS_POD
    panel = graph("Where the time goes", lines, description=about, unit="percentunit")
    return stacked(panel).max(1).span(WIDTH // 4).no_value(NO_POD)


def _checkpoints() -> timeseries.Panel:
    lines = [Line(queries.checkpoint_seconds(), "one checkpoint", PURPLE)]
    about = "Seconds that it took to save, where something was saved. Long: a slow workspace."
    panel = graph("Time of a checkpoint", lines, description=about + NEEDS_POD, unit="s")
    return (
        panel.span_nulls(True)
        .span(WIDTH // 4)
        .no_value("No checkpoint was saved, or no pod is scraped")
    )


def _memory() -> timeseries.Panel:
    lines = [
        Line(queries.memory(), "fullest pod", BLUE),
        Line(queries.memory_limit(), "limit", VERMILION, dashed=True),
    ]
    about = "At its limit a pod is killed, and the attempt ends with OutOfMemory." + NEEDS_POD
    panel = graph("Memory", lines, description=about, unit="bytes")
    return panel.span(WIDTH // 4).no_value(NO_POD)


def _gpu_use() -> timeseries.Panel:
    lines = [
        Line(queries.gpu_use("avg"), "mean", BLUE),
        Line(queries.gpu_use("min"), "least used", ORANGE),
    ]
    about = "Share of the time in which a GPU computed." + NEEDS_NVML
    panel = graph("GPU use", lines, description=about, unit="percentunit")
    return panel.max(1).span(WIDTH // 4).no_value(NO_GPU)


def _gpu_memory() -> timeseries.Panel:
    lines = [
        Line(queries.gpu_memory(), "fullest GPU", BLUE),
        Line(queries.gpu_memory_total(), "its size", VERMILION, dashed=True),
    ]
    about = "Memory in use on the fullest GPU." + NEEDS_NVML
    panel = graph("GPU memory", lines, description=about, unit="bytes")
    return panel.span(WIDTH // 4).no_value(NO_GPU)


def _dcgm_use() -> timeseries.Panel:
    lines = [
        Line(queries.dcgm_gpu_use("avg"), "mean", BLUE),
        Line(queries.dcgm_gpu_use("min"), "least used", ORANGE),
    ]
    about = "Share of the time in which a GPU computed." + NEEDS_DCGM
    panel = graph("GPU use (dcgm-exporter)", lines, description=about, unit="percent")
    return panel.max(100).span(WIDTH // 4).no_value(NO_GPU)


def _dcgm_power() -> timeseries.Panel:
    lines = [Line(queries.dcgm_power(), "all GPUs", PURPLE)]
    about = "Power of the job's GPUs." + NEEDS_DCGM
    panel = graph("GPU power (dcgm-exporter)", lines, description=about, unit="watt")
    return panel.span(WIDTH // 4).no_value(NO_GPU)
