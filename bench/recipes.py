"""Accuracy and time of each recipe, with the spread over seeds, in one table.

`python -m bench.recipes` trains efficientnet-lite0 on the demo photos (see tests.demo_photos) as
`finetune-trainer run` does, once for each seed, which is that of the split and of the training.
`--data fashion` takes 1,200 product photos of 10 classes instead, the first 120 of each in Debian's
dataset-fashion-mnist (28 x 28, enlarged): chosen before anything was tuned, and nothing was tuned
on them. `--shuffled` gives the photos each other's labels: an honest accuracy is then chance.
"""

import argparse
import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import yaml
from PIL import Image

from bench.pack import FASHION, fashion
from tests.demo_photos import lay_out

NAMES = ("top trouser pullover dress coat", "sandal shirt sneaker bag boot")
OF_EACH = 120


@dataclass(frozen=True)
class Entry:
    """A row of the table."""

    name: str
    training: dict[str, object]
    seeds: int = 3


ENTRIES = (
    Entry("tutorial", {"recipe": "tutorial"}),
    Entry("features", {"recipe": "features"}, seeds=5),
    Entry("progressive", {"recipe": "progressive"}),
    Entry("full", {"recipe": "full"}),
    Entry("auto 15 s", {"recipe": "auto", "timeBudgetSeconds": 15}, seeds=5),
    Entry("auto 60 s", {"recipe": "auto", "timeBudgetSeconds": 60}, seeds=5),
    Entry("auto 300 s", {"recipe": "auto", "timeBudgetSeconds": 300}),
)


@dataclass(frozen=True)
class Measured:
    """One run."""

    accuracy: float
    fit_seconds: float
    all_seconds: float
    recipe: str


def main(arguments: Sequence[str]) -> None:
    """Train, and print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", choices=["demo", "fashion"], default="demo")
    parser.add_argument("--only", nargs="*", choices=[entry.name for entry in ENTRIES])
    parser.add_argument("--seeds", type=int, nargs="*", help="instead of each row's own")
    parser.add_argument("--shuffled", action="store_true")
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory(prefix="finetune-bench-") as name:
        photos = Path(name, "photos")
        (lay_out if options.data == "demo" else _lay_out_fashion)(photos)
        if options.shuffled:
            _shuffle(photos)
        print(f"{'recipe':12} seeds  accuracy         fit s  all s  what ran", flush=True)
        for entry in ENTRIES:
            if not options.only or entry.name in options.only:
                seeds = options.seeds or range(entry.seeds)
                _show(entry.name, [_run(Path(name), photos, entry, seed) for seed in seeds])


def _show(name: str, runs: list[Measured]) -> None:
    accuracies = [run.accuracy for run in runs]
    spread = statistics.stdev(accuracies) if len(runs) > 1 else 0.0
    fit = statistics.median(run.fit_seconds for run in runs)
    everything = statistics.median(run.all_seconds for run in runs)
    ran = ", ".join(f"{run.recipe} {run.accuracy:.3f}" for run in runs)
    print(
        f"{name:12} {len(runs):5}  {statistics.mean(accuracies):.4f} +- {spread:.4f}"
        f"  {fit:5.1f}  {everything:5.1f}  {ran}",
        flush=True,
    )


def _run(root: Path, photos: Path, entry: Entry, seed: int) -> Measured:
    directory = root / f"{entry.name}-{seed}"
    directory.mkdir()
    manifest = directory / "job.yaml"
    spec = {
        "model": {"name": "efficientnet-lite0"},
        "dataset": {"source": {"uri": "pvc://photos"}, "split": {"seed": seed}},
        "training": entry.training | {"seed": seed},
        "trainer": {"gpusPerNode": 0},
        "workspace": {"claimName": "workspace"},
        "output": {"uri": "pvc://models"},
    }
    kind = {"apiVersion": "finetune-operator.dev/v1alpha1", "kind": "FineTuneJob"}
    manifest.write_text(yaml.safe_dump(kind | {"metadata": {"name": "bench"}, "spec": spec}))
    command = [sys.executable, "-m", "finetune_trainer", "run", str(manifest)]
    command += ["--data", str(photos), "--workspace", str(directory / "workspace")]
    command += ["--output", str(directory / "output")]
    began, at, lines = time.monotonic(), {}, []
    environment = {name: value for name, value in os.environ.items() if name != "OMP_NUM_THREADS"}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as process:
        assert process.stdout is not None
        for line in process.stdout:
            lines.append(line)
            if line.startswith("stage "):
                at[line.split()[1]] = time.monotonic()
    if process.returncode:
        raise SystemExit("".join(lines[-20:]))
    metrics, fitted = (
        json.loads(next(directory.rglob(name)).read_text())
        for name in ("metrics.json", "fitted.json")
    )
    measured = Measured(
        float(metrics["accuracy"]),
        at["evaluate"] - at["fit"],
        time.monotonic() - began,
        fitted["recipe"],
    )
    shutil.rmtree(directory)
    return measured


def _lay_out_fashion(photos: Path) -> None:
    if not FASHION.exists():
        raise SystemExit("needs Debian's dataset-fashion-mnist: apt-get install it")
    pictures, labels = fashion("train-images-idx3"), fashion("train-labels-idx1")
    for label, name in enumerate(" ".join(NAMES).split()):
        (photos / name).mkdir(parents=True)
        for number, index in enumerate(np.flatnonzero(labels == label)[:OF_EACH]):
            enlarged = Image.fromarray(255 - pictures[index]).resize(
                (256, 256), Image.Resampling.BICUBIC
            )
            enlarged.convert("RGB").save(photos / name / f"{number:03}.jpg", quality=92)


def _shuffle(photos: Path) -> None:
    """Exchange the photos' labels at random."""
    files = sorted(path for path in photos.rglob("*") if path.is_file())
    places = [(path.parent, number) for number, path in enumerate(files)]
    random.Random(0).shuffle(places)
    for path, (folder, number) in zip(files, places, strict=True):
        path.rename(folder / f"shuffled-{number}{path.suffix}")


if __name__ == "__main__":
    main(sys.argv[1:])
