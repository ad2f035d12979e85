"""CPU and memory of a process, as the kernel counts them."""

import os
import re
from pathlib import Path

TICKS = os.sysconf("SC_CLK_TCK")
USER, SYSTEM = 11, 12
"""Where the times are in /proc/PID/stat after the command; children have fields of their own."""


def cpu_seconds(pid: int) -> float:
    """Return the time of the process on all cores, without its children."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[USER]) + int(fields[SYSTEM])) / TICKS


def memory_mib(pid: int, field: str = "VmRSS") -> float:
    """Return the resident memory; VmHWM: the most there ever was."""
    status = Path(f"/proc/{pid}/status").read_text()
    (kib,) = re.findall(rf"^{field}:\s+(\d+) kB$", status, re.MULTILINE)
    return int(kib) / 1024
