"""The names of all metrics that can be scraped: of the operator, the trainers, and others."""

import re

from deploy.render.operator_yaml import ROOT

NOTE = ROOT / "docs/design/20261129-observability.md"
# Of dcgm-exporter, and Prometheus itself.
OTHERS = {"DCGM_FI_DEV_GPU_UTIL", "DCGM_FI_DEV_POWER_USAGE", "ALERTS"}
# Of prometheus-client's ProcessCollector.
PROCESS = {
    "process_cpu_seconds_total",
    "process_max_fds",
    "process_open_fds",
    "process_resident_memory_bytes",
}


def metric_names() -> set[str]:
    """All names, those of histograms as they are declared."""
    return _agreed() | PROCESS | OTHERS


def _agreed() -> set[str]:
    """The names of the note; `_x` there stands for a name that begins as the one before it."""
    names: set[str] = set()
    last = ""
    for name in re.findall(r"`((?:finetune)?_[a-z_]+?)(?:\{[a-z]+\})?`", NOTE.read_text()):
        if not name.startswith("_"):
            last = name
            names.add(name)
        parts = last.split("_")
        names |= {"_".join(parts[:size]) + name for size in range(2, len(parts))}
    return names
