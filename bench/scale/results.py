"""The figures of a run as JSON and as tables, with the machine, the date and the versions."""

import datetime
import os
import platform
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from importlib.metadata import version
from typing import Any

from bench.scale.run import OPERATOR, Figures
from bench.scale.work import SAME
from tests.cluster import programs

PROCESSES = {
    OPERATOR: "operator",
    "kube-apiserver": "API server",
    "kube-controller-manager": "controllers",
    "kube-scheduler": "scheduler",
    "etcd": "etcd",
}
"""The processes whose CPU is the cost of a job; KWOK is in the place of kubelets."""
COLUMNS = (
    "",
    "jobs",
    "all pods s",
    "all done s",
    *(f"{name} ms/job" for name in PROCESSES.values()),
    "together ms/job",
    "requests/job",
    "one alone: pod ms",
    "MiB at start, peak, after",
    "restart: pod s",
)


def about() -> dict[str, Any]:
    """Return where and when this was measured, and what."""
    git = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    commit = subprocess.run(git, check=True, capture_output=True, text=True).stdout.strip()
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return {
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "commit": commit,
        "cpus": len(os.sched_getaffinity(0)),
        "memoryGiB": round(memory / 2**30),
        "versions": {
            "Kubernetes": programs.KUBERNETES_VERSION,
            "KWOK": programs.KWOK.version.removeprefix("v"),
            "Python": platform.python_version(),
            "kopf": version("kopf"),
        },
    }


def markdown(facts: dict[str, Any], rows: Sequence[Figures]) -> str:
    """Return the text for people: times and costs, then the requests of the largest burst."""
    versions = ", ".join(f"{name} {number}" for name, number in facts["versions"].items())
    where = f"{facts['cpus']} CPUs, {facts['memoryGiB']} GiB, {facts['date']}, {facts['commit']}"
    costs = table(COLUMNS, [_costs(row, _floor(row, rows)) for row in rows])
    return f"{where}; {versions}.\n\n{costs}\n\n{_requests(rows)}\n"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table of Markdown; all columns but the first are numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _floor(row: Figures, rows: Sequence[Figures]) -> Figures | None:
    return next((each for each in rows if each.work == SAME.name and each.jobs == row.jobs), None)


def _costs(row: Figures, floor: Figures | None) -> list[str]:
    cpu = {name: 1000 * row.cpu_seconds.get(name, 0) / row.jobs for name in PROCESSES}
    memory = ", ".join(f"{value:.0f}" for value in row.memory_mib.values())
    return [
        row.work,
        f"{row.jobs:,}",
        _compared(row.pods_seconds, floor.pods_seconds if floor else None),
        _compared(row.done_seconds, floor.done_seconds if floor else None),
        *(f"{value:.1f}" for value in cpu.values()),
        f"{sum(cpu.values()):.1f}",
        f"{sum(row.requests.values()) / row.jobs:.1f}",
        f"{row.quiet_milliseconds:.0f}",
        memory or "-",
        "-" if row.restart_seconds is None else f"{row.restart_seconds:.1f}",
    ]


def _compared(seconds: float, floor: float | None) -> str:
    return f"{seconds:.1f}" + (f" ({seconds / floor:.1f}x)" if floor else "")


def _requests(rows: Sequence[Figures]) -> str:
    """Return the requests a job of the largest burst: all of them, and the operator's own."""
    most = max(row.jobs for row in rows)
    largest = [row for row in rows if row.jobs == most]
    answered = {row.work: row.requests for row in largest}
    sent = {row.work: row.operator_requests for row in largest if row.operator_requests}
    tables = [_per_job("answered by the API server", answered, jobs=most)]
    if sent:
        tables.append(_per_job("sent by the operator", sent, jobs=most))
    return "\n\n".join(tables)


def _per_job(title: str, columns: Mapping[str, Mapping[str, int]], *, jobs: int) -> str:
    keys = sorted({key for counts in columns.values() for key in counts})
    lines = [
        [key, *(f"{counts.get(key, 0) / jobs:.2f}" for counts in columns.values())] for key in keys
    ]
    return table((f"{title}, a job of {jobs:,}", *columns), lines)
