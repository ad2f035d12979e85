"""Where the time of the demo job goes, from the start of the trainer to its end, stage by stage.

`python -m bench.demo` trains efficientnet-lite0 on the demo photos (see tests.demo_photos) as a pod
does: `finetune-trainer supervise`, a new workspace, an output with MXNet and ONNX files. Each stage
gets its time by the clock and its CPU time, of all processes. `--imports` shows what each process
imports instead, by package.
"""

import argparse
import ctypes
import json
import os
import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from bench.scale.processes import TICKS
from bench.scale.results import table
from tests.demo_photos import lay_out

PR_SET_CHILD_SUBREAPER = 36
MODEL = "efficientnet-lite0"
STAGE = re.compile(r"finetune-trainer: stage (\w+)$")
IMPORT = re.compile(r"import time: +(\d+) \| +\d+ \| +(\w+)")
NOT_IN_IMAGE = ("OMP_NUM_THREADS", "XDG_CACHE_HOME")


class Moment(msgspec.Struct):
    """A line of the log, and the time until then."""

    text: str
    seconds: float
    cpu_seconds: float


class Part(msgspec.Struct):
    """A stage, or what comes before and after all stages."""

    name: str
    seconds: float
    cpu_seconds: float


def main(arguments: Sequence[str]) -> None:
    """Run the demo job, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument(
        "--log", action="store_true", help="print the log, each line with its moment"
    )
    parser.add_argument("--imports", action="store_true")
    parser.add_argument("--json", type=Path, help="write all runs to this file")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="finetune-bench-") as name:
        root = Path(name)
        lay_out(root / "claims" / "photos")
        (root / "claims" / "models").mkdir()
        convert = [sys.executable, "-m", "finetune_trainer", "models", "convert", MODEL]
        subprocess.run([*convert, "--output", root / "models"], check=True, capture_output=True)
        if options.imports:
            _show_imports(root)
            return
        runs: list[list[Moment]] = []
        for number in range(options.runs):
            runs.append([])
            for moment in _moments(root, number):
                runs[-1].append(moment)
                if options.log:
                    print(_line(moment), flush=True)
    if options.json:
        options.json.write_bytes(msgspec.json.format(msgspec.json.encode(runs)) + b"\n")
    print(_table([_parts(run) for run in runs]))


def _moments(root: Path, number: int) -> Iterator[Moment]:
    """Run the trainer; yield the moment of each line of its log, then that of its end."""
    began = time.monotonic()
    with subprocess.Popen(
        [sys.executable, "-m", "finetune_trainer", "supervise"],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env=_environment(root, number),
        preexec_fn=_be_like_process_1,
    ) as process:
        assert process.stdout
        lines = []
        for line in process.stdout:
            cpu = sum(map(_cpu_seconds, _family(process.pid)))
            lines.append(line)
            yield Moment(line.rstrip(), time.monotonic() - began, cpu)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        cpu = _cpu_seconds(process.pid)
    if process.returncode:
        raise SystemExit("".join(lines[-20:]))
    yield Moment("end", time.monotonic() - began, cpu)


def _environment(root: Path, number: int) -> Mapping[str, str]:
    """Return the variables of a pod."""
    job = {
        "name": "photos", "namespace": "demo",
        "uid": f"run-{number}", "attempt": 1, "podUid": "pod",
        "model": {"name": MODEL},
        "dataset": {"source": {"uri": "pvc://photos"}},
        "output": {"uri": "pvc://models"},
    }  # fmt: skip
    inherited = {name: value for name, value in os.environ.items() if name not in NOT_IN_IMAGE}
    return inherited | {
        "FINETUNE_JOB": json.dumps(job),
        "FINETUNE_PORT": "0",
        "FINETUNE_WORKSPACE": str(root / f"workspace-{number}"),
        "FINETUNE_CLAIMS": str(root / "claims"),
        "FINETUNE_MODELS": str(root / "models"),
        "FINETUNE_TERMINATION_LOG": str(root / "termination-log"),
        "PYTHONUNBUFFERED": "1",
    }


def _be_like_process_1() -> None:
    """Orphans become children of this process, as in a container: their CPU time is counted."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def _family(pid: int) -> Iterator[int]:
    """Yield a process and all below it."""
    yield pid
    try:
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    except FileNotFoundError:
        return
    for child in children:
        yield from _family(int(child))


def _cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, and of the ended ones that it has waited for."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    return sum(map(int, fields[11:15])) / TICKS


def _parts(moments: Sequence[Moment]) -> list[Part]:
    """Return the stages of a run, after the start of process 1 and before its end."""
    starts = [("start", Moment("", 0.0, 0.0))]
    for moment in moments:
        if match := STAGE.match(moment.text):
            starts.append((match[1], moment))
        elif moment.text.startswith("finetune-trainer: accuracy"):
            starts.append(("end", moment))
    ends = [moment for _, moment in starts[1:]] + [moments[-1]]
    return [
        Part(name, end.seconds - start.seconds, end.cpu_seconds - start.cpu_seconds)
        for (name, start), end in zip(starts, ends, strict=True)
    ]


def _table(runs: Sequence[Sequence[Part]]) -> str:
    """Return the medians of all runs, and of their sums."""
    rows = [
        _row(parts[0].name, [p.seconds for p in parts], [p.cpu_seconds for p in parts])
        for parts in zip(*runs, strict=True)
    ]
    sums = (
        [sum(p.seconds for p in run) for run in runs],
        [sum(p.cpu_seconds for p in run) for run in runs],
    )
    return table(
        ("stage", "seconds", "(all runs)", "CPU seconds", "(all runs)"),
        [*rows, _row("together", *sums)],
    )


def _row(name: str, seconds: Sequence[float], cpu_seconds: Sequence[float]) -> list[str]:
    columns = [name]
    for values in (seconds, cpu_seconds):
        columns += [f"{statistics.median(values):.2f}", " ".join(f"{v:.2f}" for v in values)]
    return columns


def _line(moment: Moment) -> str:
    return f"{moment.seconds:7.2f} s {moment.cpu_seconds:6.2f} s of CPU  {moment.text}"


def _show_imports(root: Path) -> None:
    """Print the milliseconds of the imports of each process, by package."""
    environment = {**_environment(root, 0), "PYTHONPROFILEIMPORTTIME": "1"}
    command = [sys.executable, "-m", "finetune_trainer", "supervise"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    log, name = [*done.stderr.splitlines(), *done.stdout.splitlines()], "start"
    found: dict[str, Counter[str]] = {}
    for line in log:
        if match := STAGE.match(line):
            name = match[1]
        elif match := IMPORT.match(line):
            found.setdefault(name, Counter())[match[2]] += int(match[1])
    for name, packages in found.items():
        shown = ", ".join(f"{package} {us / 1000:.0f}" for package, us in packages.most_common(12))
        print(f"{name}: {packages.total() / 1000:.0f} ms: {shown}")


if __name__ == "__main__":
    main(sys.argv[1:])
